"""The tests of the library and of the service, on the installed packages, with the Python and the libraries of Debian 13.

Those of Debian 12 they meet on the machine that runs all tests.
"""

from pathlib import Path

import pytest
from hosts import Host

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


@pytest.mark.parametrize("suite", ["trixie"], indirect=True, scope="session")
def test_the_services_dialogues_hold_on_the_installed_packages(spare: Host) -> None:
    spare.install("python3-pytest", "python3-hypothesis", "python3-aiosmtpd", "python3-yaml", "gcc", "libc6-dev")
    spare.run("mkdir", "-p", "/root/packaging/debian", "/root/tests", "/root/daemon")
    spare.copy(ROOT / "packaging/arena.toml", ROOT / "packaging/openapi.yaml", to="/root/packaging")
    spare.copy(ROOT / "packaging/debian/arenad.service", to="/root/packaging/debian")
    spare.copy(ROOT / "daemon/letters", to="/root/daemon")
    spare.copy(TESTS / "conftest.py", TESTS / "service", TESTS / "unit", to="/root/tests")
    spare.run("userdel", "alice")  # to those tests she is nobody of this system
    try:
        done = spare.shell(
            "cd /root && export PYTHONPATH=/usr/share/arenad;"
            # The document is the same everywhere, and what attacks by it needs a Python of its own.
            "python3 -m pytest -q -p no:cacheprovider --import-mode=importlib --ignore=tests/service/test_openapi.py tests",
            check=False,
        )
    finally:
        spare.add_user("alice")
    assert done.returncode == 0, done.stdout[-6000:]
