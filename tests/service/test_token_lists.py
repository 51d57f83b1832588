"""token list: every filter, the forecast of drift, and the tables that a person reads."""

import json
import time

import pytest
import sqlalchemy as sa
from arenad.config import Code
from arenad.desk.forecast import UNKNOWN, YEAR, forecast, is_drifting
from arenad.store.engine import make_engine
from arenad.store.schema import State
from arenad.store.schema import token as token_table
from desk_service import DeskService
from golden import check_golden
from keys import DAY, empty, put

from pam_arena.otp import Kind, Mechanism

NOW = int(time.time())
STEP = 60


def stepped(days_ago: float, drift: int = 0) -> int:
    """The step that a key of 60 seconds showed so many days ago."""
    return int(NOW - days_ago * DAY) // STEP + drift


@pytest.fixture(scope="module")
def desk(house: DeskService) -> DeskService:
    """A drawer and a staff room. daemon and bin exist on this system; alice, bob and carol have left it."""
    service = house.service
    year = {"created_at": NOW - YEAR}
    put(service, "00100", State.STOCK)
    put(service, "00101", State.UNPROVEN)
    put(service, "00102", State.REQUESTED)
    put(service, "00200", State.ACTIVE, "daemon", **year, granted_step=stepped(1, 2), last_step=stepped(1, 2), drift=2)
    put(service, "00201", State.DISABLED, "daemon", **year, why="10 right codes with a wrong PIN")
    put(service, "00202", State.LOST, "daemon", **year, why="reported by uid:0")
    put(service, "00300", State.ACTIVE, "alice", **year, granted_step=stepped(200), last_step=stepped(200))
    put(service, "00301", State.EXPIRED, "bob")
    put(service, "00302", State.ACTIVE, "carol", valid_until=NOW + 10 * DAY, mechanism=Mechanism(kind=Kind.HOTP))
    put(service, "00400", State.RETIRED, why="replaced by 00200")
    # A step in 101 days, so that no second makes the speed round otherwise; last seen 264 days ago.
    put(service, "00500", State.ACTIVE, "bin", **year, granted_step=stepped(264, 1), last_step=stepped(264, 1), drift=1)
    return house


@pytest.mark.parametrize(
    ("query", "serials"),
    [
        ("", "00100 00101 00102 00200 00201 00202 00300 00301 00302 00400 00500"),
        ("holder=daemon", "00200 00201 00202"),
        ("state=expired", "00301"),
        ("state=lost", "00202"),
        ("serial=0020", "00200 00201 00202"),
        ("serial=%25", ""),
        ("kind=hotp", "00302"),
        ("expiring=10", "00302"),
        ("expiring=9", ""),
        ("orphans=yes", "00300 00301 00302"),
        ("unused_since=90d", "00201 00300 00500"),
        ("unused_since=230d", "00201 00500"),
        ("unused_since=2001-01-01", ""),
        ("drifting=yes", "00200 00500"),
        ("orphans=yes&state=active", "00300 00302"),
        ("after=00400", "00500"),
    ],
)
def test_every_filter(desk: DeskService, query: str, serials: str) -> None:
    assert [row["serial"] for row in desk.get(f"/tokens?{query}")] == serials.split()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("state=decoy", "allowed: stock, unproven, requested, active"),
        ("kind=yubi", "allowed: totp, hotp"),
        ("expiring=0", "1 to 36500 days"),
        ("expiring=-1", "1 to 36500 days"),
        ("expiring=9999999999", "1 to 36500 days"),
        ("unused_since=lately", "a number of days such as 90d"),
        ("orphans=1", "orphans: allowed: yes, no"),
        ("sort=serial", "filter 'sort': there are: holder, state"),
    ],
)
def test_a_filter_that_is_none_is_named(desk: DeskService, query: str, told: str) -> None:
    answer = desk.ask("GET", f"/tokens?{query}")
    assert (answer.status_code, told in answer.json()["error"]) == (409, True), answer.text


def test_the_forecast_is_the_speed_from_entry_to_the_last_right_code() -> None:
    code, since = Code(), 1_000_000_020
    last = since + YEAR
    found = forecast("totp", 2, 60, since, last // 60 + 2, code)
    assert found.steps_a_year == 2.0
    assert found.next_code_at is not None and found.resync_at is not None
    assert abs(found.next_code_at - (last + YEAR // 2)) <= 60
    assert abs(found.resync_at - (last + 5 * YEAR)) <= 600
    slow = forecast("totp", -2, 60, since, last // 60 - 2, code)
    assert (slow.steps_a_year, slow.next_code_at) == (-2.0, found.next_code_at)


def test_where_nothing_can_be_said_nothing_is() -> None:
    code, since = Code(), 1_000_000_020
    month = since + 30 * DAY
    assert forecast("hotp", 5, 60, since, 10**6, code) == UNKNOWN
    assert forecast("totp", 0, 60, since, -1, code) == UNKNOWN
    assert forecast("totp", 1, 60, since, (month - 120) // 60 + 1, code) == UNKNOWN
    assert forecast("totp", 1, 60, since, month // 60 + 1, code) != UNKNOWN
    assert forecast("totp", 0, 60, since, month // 60, code).steps_a_year == 0


def test_a_key_drifts_that_is_beyond_the_window_or_likely_to_be_by_now() -> None:
    found = forecast("totp", 1, 60, 0, YEAR // 60 + 1, Code())
    assert found.next_code_at is not None
    assert not is_drifting(1, found, 1, found.next_code_at - 1)
    assert is_drifting(1, found, 1, found.next_code_at)
    assert is_drifting(-2, UNKNOWN, 1, 0)
    assert not is_drifting(1, UNKNOWN, 1, 2**40)


def test_tables_are_read_at_80_columns(desk: DeskService) -> None:
    check_golden("token-list", desk.arenactl("token", "list"))
    check_golden("token-list-drifting", desk.arenactl("token", "list", "--drifting"))
    check_golden("token-show", desk.arenactl("token", "show", "carol"))


def test_programs_read_all_of_it(desk: DeskService) -> None:
    rows = json.loads(desk.arenactl("token", "list", "--expiring", "10", "-o", "json"))
    assert [(row["serial"], row["valid_until"]) for row in rows] == [("00302", NOW + 10 * DAY)]
    lines = desk.arenactl("token", "list", "--unused-since", "90d", "-o", "csv").splitlines()
    assert lines[0] == "serial,state,holder,kind,digits,period,why,drift,last_login_at,valid_until"
    assert lines[1] == "00201,disabled,daemon,totp,6,60,10 right codes with a wrong PIN,0,,"


def test_a_key_that_was_given_lately_is_not_unused(house: DeskService) -> None:
    empty(house.service)
    put(house.service, "K-1", State.STOCK, created_at=NOW - YEAR)
    put(house.service, "K-2", State.ACTIVE, "daemon", created_at=NOW - YEAR)
    house.do("/tokens/K-1/assign", {"holder": "daemon"})
    assert [row["serial"] for row in house.get("/tokens?unused_since=90d")] == ["K-2"]


def test_a_list_of_more_than_one_part_is_whole(house: DeskService) -> None:
    empty(house.service)
    values = {"kind": "totp", "algorithm": "sha1", "digits": 6, "period": 60, "seed": b"", "seed_version": 1}
    values |= {"state": "stock", "why": "", "last_step": -1, "granted_step": -1, "drift": 0, "wrong_pins": 0, "created_at": 1}
    with make_engine(house.service.url).begin() as connection:
        connection.execute(sa.insert(token_table), [{"serial": f"{n:06}", **values} for n in range(10_001)])
    assert len(house.get("/tokens")) == 10_000
    lines = house.arenactl("token", "list", "-o", "csv").splitlines()
    assert (len(lines), lines[-1].split(",")[0]) == (10_002, "010000")
