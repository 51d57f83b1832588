"""An upgrade with apt, from an older version, on a host where people log in meanwhile."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, SHELL, Holder, password, play
from hosts import AUTH_ERR, OLDER, SUCCESS, TESTHOST, Host, build_older

PACKAGES = ("libpam-arena", "arenad", "python3-pam-arena")
CROWD = 16
EVERY = 0.35  # seconds between the logins that arrive


@pytest.fixture(scope="module")
def older_host(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with the older version, enabled as README.Debian says."""
    one = Host(f"older-{suite}-{os.getpid()}", suite)
    one.install(*build_older(tmp_path_factory.mktemp("older")))
    one.keep_pam()
    one.password_first()
    yield one
    one.stop()


def versions(host: Host) -> set[str]:
    return set(host.run("dpkg-query", "-W", "-f", "${Version}\n", *PACKAGES).stdout.split())


def kept(host: Host) -> str:
    """What an upgrade is to leave alone."""
    return host.shell("cat /etc/pam.d/* /etc/arena/arena.toml /etc/arena/arena.toml.d/*; stat -c %i /run/arena/*.sock").stdout


def main_pid(host: Host, unit: str) -> str:
    return host.run("systemctl", "show", "-P", "MainPID", unit).stdout


def test_an_upgrade_refuses_nobody_and_forgets_nothing(older_host: Host, debs: list[Path]) -> None:
    host = older_host
    assert versions(host) == {OLDER}
    (host.root / "etc/arena/arena.toml.d/school.toml").write_text('help = "4242"\n[service.default]\ndeadline = "0"\n')
    host.shell("echo '# ours' >>/etc/arena/arena.toml; systemctl reload arenad.service")
    slow, standing = Holder(host, period=3600), Holder(host)  # no caller waits for the next code of the first: no deadline
    used = slow.fob.fresh()
    assert host.authenticate(slow.name, "", used, PIN, PIN, PIN + slow.fob.ahead())[0] == SUCCESS
    standing.enter()
    crowd = [Holder(host, kind="hotp") for _ in range(CROWD)]  # who need not wait for a display: they come at any time
    for holder in crowd:
        assert host.authenticate(holder.name, "", holder.fob.ahead(), PIN, PIN, PIN + holder.fob.ahead())[0] == SUCCESS
    host.arenactl("status")  # starts the desk's service
    before, daemons = kept(host), [main_pid(host, unit) for unit in ("arenad.service", "arena-desk.service")]

    def arrive(holder: Holder) -> tuple[int, float]:
        code, seconds, _ = host.authenticate(holder.name, "", PIN + holder.fob.ahead())
        return code, seconds

    arrivals: list[Future[tuple[int, float]]] = []
    with standing.ssh() as waiting, ThreadPoolExecutor(CROWD) as pool:
        for prompt, answer, label in [password(), (ASK_PIN, PIN, "PIN")]:
            waiting.expect(prompt)
            waiting.send(answer, label)
        waiting.expect(ASK_CODE)
        upgrade = Popen([TESTHOST, "apt", host.name, *debs], stdout=PIPE, stderr=STDOUT, text=True)
        for holder in cycle(crowd):
            arrivals.append(pool.submit(arrive, holder))
            try:
                said, _ = upgrade.communicate(timeout=EVERY)
                break
            except TimeoutExpired:
                continue
        assert upgrade.returncode == 0, said
        verdicts = [one.result() for one in arrivals]
        waiting.send(standing.fob.fresh, "code")
        waiting.expect("Permission denied")  # longer than 3 s at the prompt: ended
    assert [code for code, _ in verdicts] == [SUCCESS] * len(verdicts)
    journal = host.run("journalctl", "-u", "arenad", "-n", "30", "-o", "short-monotonic", "--no-pager").stdout
    assert max(seconds for _, seconds in verdicts) > 1, f"nobody came while arenad was down: {verdicts}\n{said}{journal}"
    assert versions(host).isdisjoint({OLDER, ""})
    assert kept(host) == before
    assert not set(daemons) & {main_pid(host, "arenad.service"), main_pid(host, "arena-desk.service")}
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert json.loads(host.arenactl("config", "show", "-o", "json").stdout)["help"] == "4242"

    assert host.authenticate(slow.name, PIN, used)[0] == AUTH_ERR
    assert host.authenticate(slow.name, PIN, slow.fob.used())[0] == AUTH_ERR
    play(standing.ssh(), [password(), *standing.steps()], SHELL)
