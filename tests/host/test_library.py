"""The tests of the library and of the service, with the Python and the libraries of each Debian, on the installed packages."""

from pathlib import Path

from hosts import Host

TESTS = Path(__file__).parents[1]


def test_the_services_dialogues_hold_on_the_installed_packages(spare: Host) -> None:
    spare.install("python3-pytest", "python3-hypothesis", "python3-aiosmtpd")
    spare.run("mkdir", "-p", "/root/packaging", "/root/tests")
    spare.copy(TESTS.parent / "packaging/arena.toml", to="/root/packaging")
    spare.copy(TESTS / "conftest.py", TESTS / "service", TESTS / "unit", to="/root/tests")
    done = spare.shell(
        "cd /root && export PYTHONPATH=/usr/share/arenad;"
        "python3 -m pytest -q -p no:cacheprovider --import-mode=importlib tests",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
