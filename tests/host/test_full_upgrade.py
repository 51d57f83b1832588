"""Debian 12 becomes Debian 13 by apt full-upgrade, and pam_arena a later version with it, while people log in."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import steady
from holders import PIN, Holder
from hosts import AUTH_ERR, OLDER, SUCCESS, TESTHOST, Host, build_older

EVERY = 1.0  # seconds between logins
CROWD = 12
ARCHIVE = "/var/local/arena"
FORCE = ("confdef", "confold", "unsafe-io")
OPTIONS = ["-o", "Dpkg::Use-Pty=0", *(word for one in FORCE for word in ("-o", f"Dpkg::Options::=--force-{one}"))]


@pytest.fixture(scope="module")
def bookworm(suite: str, debs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Debian 12 with the older version, and an archive on the host that has the later one."""
    assert suite == "bookworm"
    one = Host(f"full-{os.getpid()}", suite)
    one.install(*build_older(tmp_path_factory.mktemp("older")))
    one.run("mkdir", "-p", ARCHIVE)
    one.copy(*debs, to=ARCHIVE)
    one.shell(f"cd {ARCHIVE} && apt-ftparchive packages . >Packages")
    (one.root / "etc/apt/sources.list.d/arena.list").write_text(f"deb [trusted=yes] file:{ARCHIVE} ./\n")
    steady.prepare(one, tmp_path_factory.mktemp("driver"))
    one.run("pam-auth-update", "--enable", "arena")
    yield one
    one.stop()


def versions(host: Host) -> set[str]:
    return set(host.run("dpkg-query", "-W", "-f", "${Version}\n", "libpam-arena", "arenad", "python3-pam-arena").stdout.split())


@pytest.mark.parametrize("suite", ["bookworm"], scope="session")
def test_debian_12_becomes_13_and_nobody_is_refused(bookworm: Host, count: Callable[[str], None]) -> None:
    host = bookworm
    (host.root / "etc/arena/arena.toml.d/school.toml").write_text('[service.default]\ndeadline = "0"\n')
    host.run("systemctl", "reload", "arenad.service")
    crowd = [Holder(host, kind="hotp") for _ in range(CROWD)]
    for holder in crowd:
        holder.enrol()
    assert versions(host) == {OLDER}
    used = crowd[0].fob.used()

    host.run("sed", "-i", "s/bookworm/trixie/g", "/etc/apt/sources.list")
    upgrade = f"apt-get -qq update && apt-get -qqy --no-install-recommends {' '.join(OPTIONS)} full-upgrade"
    report = steady.log_in_during(host, crowd, EVERY, [TESTHOST, "hostnet", host.name, "sh", "-c", upgrade])
    assert (host.root / "etc/debian_version").read_text().startswith("13")
    assert versions(host).isdisjoint({OLDER, ""})
    count(f"Debian 12 to 13: {report}")
    assert not report.refused, f"{report}\n{report.complaints[-3000:]}\n{host.journal('arenad')[-3000:]}"
    # While dpkg puts another libc in place, for a moment no program starts at all: not for us to mend.
    assert report.unborn <= 3, f"{report}\n{report.complaints[-3000:]}"
    assert report.come > 10, report.said

    # The service runs on the new system's Python, and so does all else; nothing that was known is forgotten.
    host.run("systemctl", "restart", "arenad.service")
    assert host.run("systemctl", "is-active", "arenad.service", "arenad.socket", "arena-desk.socket").stdout == "active\n" * 3
    assert re.search(r"3\.13", host.run("python3", "--version").stdout)
    assert host.authenticate(crowd[0].name, "", PIN + used)[0] == AUTH_ERR
    assert host.authenticate(crowd[0].name, "", PIN + crowd[0].fob.ahead())[0] == SUCCESS
    assert json.loads(host.arenactl("status", "-o", "json").stdout)["holders with a PIN"] == CROWD
    assert host.run("systemctl", "list-units", "--failed", "--no-legend", "--plain", "arena*").stdout == ""
