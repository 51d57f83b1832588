"""An upgrade with apt from the release before, and the way back, on a host where people log in meanwhile."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import steady
from holders import ASK_CODE, ASK_PIN, PIN, SHELL, Holder, password, play
from hosts import AUTH_ERR, OLDER, SUCCESS, TESTHOST, Host, build_older

PACKAGES = ("libpam-arena", "arenad", "python3-pam-arena")
CROWD = 24  # so many that nobody comes again while their last login may still wait
EVERY = 0.3  # seconds between the logins that arrive


@pytest.fixture(scope="module")
def older_host(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with the older version, enabled as README.Debian says."""
    one = Host(f"older-{suite}-{os.getpid()}", suite)
    one.install(*build_older(tmp_path_factory.mktemp("older")))
    one.keep_pam()
    one.password_first()
    steady.prepare(one, tmp_path_factory.mktemp("driver"))
    yield one
    one.stop()


def versions(host: Host) -> set[str]:
    return set(host.run("dpkg-query", "-W", "-f", "${Version}\n", *PACKAGES).stdout.split())


def kept(host: Host) -> str:
    """What an upgrade is to leave alone."""
    return host.shell("cat /etc/pam.d/* /etc/arena/arena.toml /etc/arena/arena.toml.d/*; stat -c %i /run/arena/*.sock").stdout


def main_pid(host: Host, unit: str) -> str:
    return host.run("systemctl", "show", "-P", "MainPID", unit).stdout


def people(host: Host) -> list[Holder]:
    """Holders with a PIN who need not wait for a display: they come at any time."""
    crowd = [Holder(host, kind="hotp") for _ in range(CROWD)]
    for holder in crowd:
        holder.enrol()
    return crowd


def change_packages(host: Host, crowd: list[Holder], packages: list[Path], *options: str) -> steady.Report:
    """apt puts these packages in place of others while people log in."""
    report = steady.log_in_during(host, crowd, EVERY, [TESTHOST, "apt", host.name, *options, *packages])
    steady.check(host, report)
    assert report.come >= 10, f"nearly nobody came meanwhile: {report}\n{report.said}"
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""
    return report


def test_an_upgrade_refuses_nobody_and_forgets_nothing(
    older_host: Host, debs: list[Path], count: Callable[[str], None]
) -> None:
    host = older_host
    assert versions(host) == {OLDER}
    (host.root / "etc/arena/arena.toml.d/school.toml").write_text('help = "4242"\n[service.default]\ndeadline = "0"\n')
    host.shell("echo '# ours' >>/etc/arena/arena.toml; systemctl reload arenad.service")
    slow, standing = Holder(host, period=3600), Holder(host)  # no caller waits for the next code of the first: no deadline
    used = slow.fob.fresh()
    assert host.authenticate(slow.name, "", used, PIN, PIN, PIN + slow.fob.ahead())[0] == SUCCESS
    standing.enter()
    crowd = people(host)
    host.arenactl("status")  # starts the desk's service
    before, daemons = kept(host), [main_pid(host, unit) for unit in ("arenad.service", "arena-desk.service")]

    with standing.ssh() as waiting:
        for prompt, answer, label in [password(), (ASK_PIN, PIN, "PIN")]:
            waiting.expect(prompt)
            waiting.send(answer, label)
        waiting.expect(ASK_CODE)
        report = change_packages(host, crowd, debs)
        waiting.send(standing.fob.fresh, "code")
        waiting.expect("Permission denied")  # longer than 3 s at the prompt: ended
    count(f"upgrade with apt: {report}")
    assert versions(host).isdisjoint({OLDER, ""})
    assert kept(host) == before
    assert not set(daemons) & {main_pid(host, "arenad.service"), main_pid(host, "arena-desk.service")}
    assert json.loads(host.arenactl("config", "show", "-o", "json").stdout)["help"] == "4242"

    assert host.authenticate(slow.name, PIN, used)[0] == AUTH_ERR
    assert host.authenticate(slow.name, PIN, slow.fob.used())[0] == AUTH_ERR
    play(standing.ssh(), [password(), *standing.steps()], SHELL)


def test_the_way_back_and_again_refuses_nobody_and_forgets_nothing(
    older_host: Host, debs: list[Path], count: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    host, older = older_host, build_older(tmp_path_factory.mktemp("older"))
    assert versions(host).isdisjoint({OLDER, ""})
    crowd, standing = people(host), Holder(host)
    standing.enter()
    for packages, way in ((older, "downgrade"), (debs, "upgrade after it")):
        before, used = kept(host), [(holder.name, holder.fob.used()) for holder in crowd[:3]]
        report = change_packages(host, crowd, packages, "--allow-downgrades")
        count(f"{way} with apt: {report}")
        assert (versions(host) == {OLDER}) is (packages is older)
        assert kept(host) == before
        for name, code in used:
            assert host.authenticate(name, PIN, code)[0] == AUTH_ERR
        play(standing.ssh(), [password(), *standing.steps()], SHELL)
