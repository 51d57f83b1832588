"""systemd restarts, reloads and re-executes while people log in through the module: nobody is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import steady
from holders import Holder
from hosts import Host

LONG = bool(os.environ.get("ARENA_LONG"))
RESTARTS = 200 if LONG else 12  # in a row: more than the five in 10 s that systemd lets most units have
RELOADS = 500 if LONG else 50
EVERY = 0.25  # seconds between logins: argon2id costs what it costs
CROWD = 24


@pytest.fixture(scope="module")
def crowd(host: Host, tmp_path_factory: pytest.TempPathFactory) -> list[Holder]:
    """Holders whom no display keeps waiting."""
    steady.prepare(host, tmp_path_factory.mktemp("driver"))
    some = [Holder(host, kind="hotp") for _ in range(CROWD)]
    for holder in some:
        holder.enrol()
    return some


@pytest.mark.parametrize(
    ("what", "times", "command"),
    [
        ("systemctl restart arenad", RESTARTS, "systemctl restart arenad.service"),
        ("systemctl reload arenad", RELOADS, "systemctl reload arenad.service"),
        ("systemctl daemon-reexec and restart", 2, "systemctl daemon-reexec; systemctl restart arenad.service"),
    ],
    ids=["restart", "reload", "reexec"],
)
def test_nobody_is_refused(
    host: Host, crowd: list[Holder], count: Callable[[str], None], what: str, times: int, command: str
) -> None:
    loop = f"for ((n = 0; n < {times}; n++)); do {command} || exit 1; done"
    words: list[str | Path] = [Path(steady.TESTHOST), "exec", host.name, "bash", "-euc", loop]
    report = steady.log_in_during(host, crowd, EVERY, words)
    count(f"{times} times {what}: {report}")
    steady.check(host, report)
    assert host.run("systemctl", "is-active", "arenad.service", "arenad.socket").stdout == "active\n" * 2
