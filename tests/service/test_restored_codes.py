"""What was typed before a restore, typed again after it: however far a key's clock ran off meanwhile, no used code opens."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import SLOW, Service
from arenad.restore import migrate
from arenad.store.engine import make_engine
from arenad.store.schema import State, origin, token
from backups import bring_back, save
from dialogues import DENIED, NEXT, PIN, Holder, change, grant, split

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

STEP = SLOW.period
GROWN = (-10, -3, 1, 3, 4, 5, 7, 10)  # steps that a key's clock ran ahead since the backup: login follows ten
FLOOR = 1 + 10  # steps: the window, and the reach of the next code
pytestmark = pytest.mark.usefixtures("cheap_backups")


def use_on_another_host(service: Service) -> None:
    """Take the store away: this is a machine now that never had one."""
    service.stop()
    for name in ("arena.db", "arena.db-wal", "arena.db-shm"):
        (service.folder / name).unlink(missing_ok=True)
    migrate(service.url)
    service.start()


def opens(service: Service, holder: Holder, first: str, second: str) -> bool:
    """Whether a passcode opens the door, with a next code if one is wanted."""
    answers = [PIN, PIN + first]

    def ask(style: Style, text: str) -> Secret | None:
        if style in (Style.INFO, Style.ERROR):
            assert DENIED in text
            return None
        return Secret((second if NEXT in text else answers.pop(0)).encode())

    # Neither a wait nor a disabled key is to stand in for what is tested.
    change(service, origin, failures=0, wait_until=0, closed=False)
    change(service, token, state=State.ACTIVE, wrong_pins=0)
    start = Start(Operation.AUTHENTICATE, "sshd", holder.name, rhost="192.0.2.7")
    return service.client().converse(start, ask).code == 0


def set_drift(service: Service, holder: Holder, steps: int) -> None:
    """As if it had been learnt at a login, or by the desk."""
    with make_engine(service.url).begin() as connection:
        connection.execute(sa.update(token).where(token.c.serial == f"K-{holder.name}").values(drift=steps))


@pytest.mark.parametrize("later", [0, 4], ids=lambda steps: f"{steps}-steps-later")
def test_on_another_host_no_used_code_opens_alone_or_with_the_next(service: Service, tmp_path: Path, later: int) -> None:
    holders = {grown: Holder(service, f"holder{grown + 10}") for grown in GROWN}
    restored_at = int(time.time()) - later * STEP
    save(service, tmp_path / "saved", restored_at - 1)
    used: dict[int, list[str]] = {}
    for grown, holder in holders.items():
        ahead = grown - later  # of this host's clock now
        set_drift(service, holder, ahead)
        used[grown] = [holder.code(ahead + step) for step in (-1, 0, 1)]
        for code in used[grown]:
            grant(service, holder.name, split(PIN, code))
    use_on_another_host(service)
    bring_back(service, tmp_path / "saved", now=restored_at)
    opened = {
        (grown, number)
        for grown, holder in holders.items()
        for number, first in enumerate(used[grown])
        if opens(service, holder, first, (used[grown] * 2)[number + 1])
    }
    assert not opened


def test_on_another_host_a_key_works_from_the_moment_that_the_restore_told(service: Service, tmp_path: Path) -> None:
    alice = Holder(service, "alice")
    save(service, tmp_path / "saved", int(time.time()) - (FLOOR + 2) * STEP)
    for steps_ago, works in ((FLOOR, False), (FLOOR + 1, True)):
        use_on_another_host(service)
        told = bring_back(service, tmp_path / "saved", now=int(time.time()) - steps_ago * STEP)
        assert (told["keys_by_time_work_at"] <= time.time()) == works
        assert opens(service, alice, alice.code(0), alice.code(1)) == works


def test_on_the_same_host_nobody_waits_for_what_its_own_store_knows(service: Service, tmp_path: Path) -> None:
    alice = Holder(service, "alice")
    grant(service, "alice", split(PIN, alice.code(-1)))
    save(service, tmp_path / "saved", int(time.time()) - 4 * STEP)
    change(service, token, drift=3)
    used = [alice.code(3 + step) for step in (-1, 0, 1)]
    for code in used:
        grant(service, "alice", split(PIN, code))
    bring_back(service, tmp_path / "saved", now=int(time.time()) - 3 * STEP)
    assert not any(opens(service, alice, first, second) for first, second in zip(used, used[1:] + used[:1], strict=True))
    assert opens(service, alice, alice.code(5), alice.code(6))


def test_a_store_made_anew_on_that_host_is_not_taken_for_one_that_knows(service: Service, tmp_path: Path) -> None:
    alice = Holder(service, "alice")
    grant(service, "alice", split(PIN, alice.code(-1)))
    save(service, tmp_path / "saved")
    change(service, token, drift=5)
    used = [alice.code(5), alice.code(6)]
    for code in used:
        grant(service, "alice", split(PIN, code))
    use_on_another_host(service)
    Holder(service, "alice")  # the same key, imported again while the backup was looked for
    bring_back(service, tmp_path / "saved")
    assert not opens(service, alice, *used)
