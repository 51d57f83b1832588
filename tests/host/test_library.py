"""The tests of the library and of the service, on the installed packages, with the Python and the libraries of Debian 13.

Those of Debian 12 they meet on the machine that runs all tests.
"""

from pathlib import Path

import pytest
from hosts import Host

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("suite", ["trixie"], indirect=True, scope="session")
def test_the_services_dialogues_hold_on_the_installed_packages(spare: Host) -> None:
    spare.install("python3-pytest", "python3-hypothesis", "python3-aiosmtpd")
    spare.run("mkdir", "-p", "/root/packaging", "/root/tests")
    spare.copy(TESTS.parent / "packaging/arena.toml", to="/root/packaging")
    spare.copy(TESTS / "conftest.py", TESTS / "service", TESTS / "unit", to="/root/tests")
    done = spare.shell(
        "cd /root && export PYTHONPATH=/usr/share/arenad;"
        # openapi.yaml is no part of what differs, and its test needs a Python of its own.
        "python3 -m pytest -q -p no:cacheprovider --import-mode=importlib --ignore=tests/service/test_openapi.py tests",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
