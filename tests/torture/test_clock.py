"""The host's clock is stepped, slewed, put to sleep, started at 1970 and sent to 2106 and back, under a real arenad.

Whatever it does: no code opens twice, each step of more than a minute is told and nothing else is, and whoever has key and
PIN is in again within the longest wait, or with what the desk has for them.
"""

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from arenad.store.engine import make_engine, open_store, read_only
from arenad.store.grants import give_grant
from arenad.store.recovery import add_codes
from arenad.store.schema import CodeKind, audit, holder, origin, recovery, session_grant
from click.testing import CliRunner
from clock_history import DAY, EDGES, HOUR, PEOPLE, TOTP, YEAR, History, one_history, people_of
from clocks import PERIOD, STEP, Fob, Host
from crowd import LONG, Person, enrol
from desk_service import DeskService

from pam_arena.cli import arenactl, desk_client

HISTORIES, EVENTS = (6, 80) if LONG else (2, 15)
WAITS = '[login]\ndeny_after = "0"\n'  # as shipped, but for the delay of denials


def test_no_history_of_a_clock_opens_a_code_twice_or_keeps_a_holder_out(tmp_path: Path, count: Callable[[str], None]) -> None:
    seed, began, tally = random.randrange(2**32), time.monotonic(), Counter[str]()
    for number in range(HISTORIES):
        print("seed", seed + number)
        tally += one_history(tmp_path / str(number), seed + number, EVENTS)
    came = [f"{tally[how]} {how}" for how in ("in at the end", "in after a resync", "in by a temporary code")]
    assert sum(tally[how] for how in ("in at the end", "in after a resync", "in by a temporary code")) == HISTORIES * PEOPLE
    count(
        f"{HISTORIES} histories: {tally['steps']} steps of the clock, {tally['alarms']} alarms, none too many;"
        f" {tally['in']} logins granted and {tally['out']} denied, {tally['typed again']} with used codes, none opened twice;"
        f" of {HISTORIES * PEOPLE} holders {', '.join(came)}; {time.monotonic() - began:.0f} s"
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    one = Host(tmp_path_factory.mktemp("clock") / "host", WAITS)
    yield one
    one.close()


@pytest.fixture(scope="module")
def desk(host: Host) -> Iterator[DeskService]:
    one = DeskService(host.service)
    yield one
    one.close()


numbers = itertools.count()


@pytest.fixture
def phone(host: Host) -> Iterator[Fob]:
    """A holder of their own whose phone shows what the host's clock says; the clock is right before and after."""
    person = Person(f"u{next(numbers)}", TOTP, random.randbytes(20))
    enrol(host.service, [person])
    yield Fob(person, follows=True)
    host.clock.set(host.clock.truth)
    host.look()


def step(host: Host, seconds: float) -> None:
    host.clock.step(seconds)
    host.look()


def test_a_key_that_was_used_ahead_of_time_is_named_and_comes_back(host: Host, desk: DeskService, phone: Fob) -> None:
    clock, serial = host.clock, phone.person.serial
    assert host.log_in(phone).granted
    clock.pass_by(HOUR)
    step(host, DAY)
    late = phone.shows(clock)
    assert host.log_in(phone).granted
    step(host, -DAY)
    for _ in range(12):  # right, and refused: that brings no wait
        clock.pass_by(PERIOD)
        refused = host.log_in(phone)
        assert not refused.granted
    why = desk.get(f"/why/{refused.ref}")
    assert why["reason"] == "later-code-used"
    assert "the clock was ahead; none works until" in why["what"]
    assert f"arenactl token resync {serial}" in why["remedy"]
    assert f"arenactl token resync {serial}" in desk.arenactl("why", refused.ref)
    (found,) = [one for one in desk.get("/doctor")["findings"] if one["thing"] == "clock"]
    assert found["severity"] == "problem"
    assert serial in found["found"]
    assert "1 keys: no code works before a time to come" in host.service.journal.read_text()
    shown = phone.shows(clock)
    desk.do(f"/tokens/{serial}/resync", {"codes": [phone.person.code(shown), phone.person.code(shown + 1)]})
    assert not host.log_in(phone, shown).granted
    clock.pass_by(2 * PERIOD)
    assert host.log_in(phone).granted
    # Its time comes: what was typed before does not open again, nor what lies around it; then all is as ever.
    clock.pass_by((late - phone.shows(clock)) * PERIOD)
    assert phone.shows(clock) == late
    for ahead in (-1, 0, 1):
        assert not host.log_in(phone, late + ahead).granted or ahead == 1
    clock.pass_by(3 * PERIOD)
    assert host.log_in(phone).granted


def test_a_resync_never_lowers_what_the_audit_does_not_explain(host: Host, desk: DeskService, phone: Fob) -> None:
    clock, serial = host.clock, phone.person.serial
    assert host.log_in(phone).granted
    path = f"/tokens/{serial}/resync"
    step(host, DAY)
    assert host.log_in(phone).granted
    step(host, -DAY)

    def two(first: int) -> dict[str, list[str]]:
        return {"codes": [phone.person.code(first), phone.person.code(first + 1)]}

    clock.pass_by(5 * PERIOD)
    here = phone.shows(clock)
    assert "try again in" in desk.refuse(path, two(here))
    clock.pass_by(60 * PERIOD)
    assert "not of now" in desk.refuse(path, two(here - 30))  # used up, or seen by others long ago
    here = phone.shows(clock)
    desk.do(path, two(here))
    # Once more, and what was burnt cannot be told apart from it.
    clock.pass_by(HOUR)
    step(host, 30 * DAY)
    clock.pass_by(PERIOD)
    assert host.log_in(phone).granted
    step(host, -30 * DAY)
    clock.pass_by(HOUR)
    assert "replace it" in desk.refuse(path, two(phone.shows(clock)))
    (code, *_) = desk.do(f"/holders/{phone.person.name}/codes/temporary")["codes"]
    assert host.log_in(phone, code=code).granted


@pytest.mark.parametrize("seconds", [-YEAR, -70, 70, 80 * YEAR])
def test_a_wait_lasts_as_long_as_is_written_whatever_the_clock_does(
    host: Host, desk: DeskService, phone: Fob, seconds: int
) -> None:
    clock, wrong = host.clock, phone.person.wrong_code()
    for _ in range(5):  # lock.after; then 60 s
        assert not host.log_in(phone, code=wrong).granted
    step(host, seconds)
    clock.pass_by(40)
    refused = host.log_in(phone)
    assert desk.get(f"/why/{refused.ref}")["reason"] == "waiting"
    clock.pass_by(PERIOD)
    assert host.log_in(phone).granted


def test_a_wait_that_a_step_back_draws_out_would_be_found(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", WAITS, fault="waits")
    try:
        (fob,) = people_of(host, 1)
        for _ in range(5):
            host.log_in(fob, code=fob.person.wrong_code())
        step(host, -HOUR)
        host.clock.pass_by(100)
        step(host, -30)
        refused = host.log_in(Fob(fob.person, follows=True))
        assert not refused.granted
        assert host.service.rows(audit)[-1]["reason"] == "waiting"
    finally:
        host.close()


def test_a_clock_before_1970_makes_no_wait_of_none(host: Host, phone: Fob) -> None:
    assert not host.log_in(phone, pin="9999").granted
    for wall in (-100_000, host.clock.truth):
        step(host, wall - host.clock.wall)
    assert {row["wait_until"] for row in host.service.rows(origin) if row["failures"] < 5} == {0}


def test_what_was_closed_stays_closed(host: Host, desk: DeskService, phone: Fob) -> None:
    fob = Fob(phone.person)
    with make_engine(host.service.url).begin() as connection:
        whose = sa.select(holder.c.id).where(holder.c.name == phone.person.name).scalar_subquery()
        connection.execute(
            sa.insert(origin).values(
                holder_id=whose, kind="console", key="", failures=50, wait_until=0, closed=True, granted_at=0
            )
        )
    for seconds in (YEAR, -2 * YEAR, YEAR):
        step(host, seconds)
        assert desk.get(f"/why/{host.log_in(fob).ref}")["reason"] == "closed"
    desk.do(f"/holders/{phone.person.name}/unlock")
    host.clock.pass_by(PERIOD)
    host.clock.set(host.clock.truth)
    assert host.log_in(fob).granted


def test_grants_and_mailed_codes_end_and_nothing_stays_open_or_young_for_years(host: Host, phone: Fob) -> None:
    clock = host.clock
    step(host, 80 * YEAR)
    now, name = int(clock.wall), phone.person.name
    with make_engine(host.service.url).begin() as connection:
        whose = connection.execute(sa.select(holder.c.id).where(holder.c.name == name)).scalar_one()
        give_grant(connection, whose, "sshd", "192.0.2.7", bytes(32), now, now + 8 * HOUR)
        add_codes(connection, whose, CodeKind.MAIL, [b"mailed"], now, now + 600)
        add_codes(connection, whose, CodeKind.EMERGENCY, [b"drawer"], now, None)
        known = {"holder_id": whose, "kind": "remote", "key": "192.0.2.7", "failures": 0, "wait_until": 0, "closed": False}
        connection.execute(sa.insert(origin).values(**known, granted_at=now))
        connection.execute(sa.update(holder).where(holder.c.id == whose).values(pin_set_at=now, new_pin_until=now + DAY))
    step(host, clock.truth - clock.wall)
    here = int(clock.wall)
    with read_only(open_store(host.service.url)) as connection:
        assert connection.execute(sa.select(session_grant)).all() == []
        kinds = connection.execute(sa.select(recovery.c.kind).where(recovery.c.holder_id == whose)).scalars().all()
        row = connection.execute(sa.select(holder).where(holder.c.id == whose)).one()
        granted_at = connection.execute(sa.select(origin.c.granted_at).where(origin.c.holder_id == whose)).scalar()
        noted = connection.execute(sa.select(audit).where(audit.c.event == "clock-step").order_by(audit.c.id.desc())).first()
    assert kinds == [CodeKind.EMERGENCY.value]
    assert granted_at is not None and granted_at <= here
    assert row.pin_set_at <= here and row.new_pin_until <= here + 14 * DAY
    assert noted is not None and "1 grants and 1 mailed codes ended" in noted.detail


def test_old_rows_of_the_audit_stay_for_a_day_after_a_step(host: Host, phone: Fob) -> None:
    assert host.log_in(phone).granted
    before = len(host.service.rows(audit))
    step(host, 80 * YEAR)
    look_for_old_rows(host)
    assert len(host.service.rows(audit)) == before + 1  # the step itself
    host.restart()  # nor does a start help
    look_for_old_rows(host)
    assert len(host.service.rows(audit)) == before + 1
    host.clock.pass_by(DAY + 1)
    look_for_old_rows(host)
    assert "audit-drop" in {row["event"] for row in host.service.rows(audit)}


def look_for_old_rows(host: Host) -> None:
    """Have it look, and wait until it has: it does so when nothing happens, and then sleeps."""
    assert host.service.process is not None
    host.service.process.send_signal(signal.SIGHUP)
    host.service.wait_for_state("READY=1")
    for _ in range(30):  # of 20 ms: longer than it waits for a rest
        host.look()


def test_a_start_with_a_clock_of_1970_is_told_and_so_is_its_end(host: Host, phone: Fob) -> None:
    assert host.log_in(phone).granted
    before, clock = host.alarms, host.clock
    host.service.stop()
    clock.start_over()
    clock.set(12)
    host.service.start()
    assert host.alarms == before + 1
    assert "behind the newest row of the audit" in host.service.journal.read_text()
    fob = Fob(phone.person)
    assert not host.log_in(fob).granted
    clock.pass_by(30)
    step(host, clock.truth - clock.wall)
    assert host.alarms == before + 2
    clock.pass_by(PERIOD)
    assert host.log_in(fob).granted


@pytest.mark.parametrize("at", EDGES if LONG else EDGES[::2])
def test_every_date_can_be_shown(host: Host, desk: DeskService, phone: Fob, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host.clock.set(at)
    host.look()
    host.log_in(phone)  # before 1970 no code has a step
    refused = host.log_in(phone)
    name, serial = phone.person.name, phone.person.serial
    monkeypatch.setattr(desk_client, "DESK_SOCKET", desk.path)
    for form in ("table", "json"):
        for words in (
            *(["status"], ["token", "list"], ["token", "show", serial], ["holder", "list"], ["holder", "show", name]),
            *(["audit", "list"], ["why", refused.ref], ["grant", "list"], ["request", "list"], ["report", "observe"]),
        ):
            done = CliRunner().invoke(arenactl.main, [*words, "-o", form])
            assert done.exit_code == 0, (words, done.output, done.exception)
    assert desk.ask("GET", "/metrics").status_code == 200
    assert desk.get("/doctor")["findings"]
    assert "internal error" not in host.service.journal.read_text()


@pytest.mark.parametrize(("fault", "seen"), [("floor", "opened twice"), ("watch", "alarms for")])
def test_a_planted_fault_is_found(tmp_path: Path, fault: str, seen: str) -> None:
    host = Host(tmp_path / "host", fault=fault)
    desk = DeskService(host.service)
    try:
        (fob,) = people_of(host, 1)
        fob.follows = True
        history = History(host, desk, random.Random(1), [fob])
        with pytest.raises(AssertionError, match=seen):
            first = fob.shows(host.clock)
            for seconds in (0.0, DAY, -DAY):
                host.clock.step(seconds)
                host.look()
                history.alarms += abs(seconds) > STEP
                host.log_in(fob)
            host.log_in(fob, first)
            history.hold()
        desk.get("/status")
    finally:
        desk.close()
        host.close()
