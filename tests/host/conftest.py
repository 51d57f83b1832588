"""Throw-away hosts, one a suite and session, with the packages of dist/ on them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from holders import Holder  # found by the line above: tests/ is no package
from hosts import Host, build_packages

USERS = ("alice", "bob", "carol", "dave", "erin", "frank")


@pytest.fixture(scope="session")
def debs() -> list[Path]:
    """The three packages, of the sources as they are now."""
    return build_packages()


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian releases that must work."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def host(suite: str, debs: list[Path]) -> Iterator[Host]:
    """A host for logins: the packages installed, users with passwords, PAM as Debian ships it."""
    one = Host(f"arena-{suite}-{os.getpid()}", suite)
    one.install(*debs)
    one.keep_pam()
    for user in USERS:
        one.add_user(user, groups="sudo")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def plain(host: Host) -> Host:
    """The host as it asks at first: sshd for the password before the passcode. Root has "the root password"."""
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    return host


@pytest.fixture(scope="module")
def holder(plain: Host) -> Holder:
    """A holder on it whose PIN is created."""
    one = Holder(plain, kind="hotp")
    one.enrol()
    return one


@pytest.fixture(scope="module")
def spare(suite: str, debs: list[Path]) -> Iterator[Host]:
    """A host whose packages a test may remove."""
    one = Host(f"spare-{suite}-{os.getpid()}", suite)
    one.install(*debs)
    one.keep_pam()
    one.add_user("alice")
    yield one
    one.stop()
