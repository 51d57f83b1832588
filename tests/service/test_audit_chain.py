"""The audit: whole or not, and which row it is; old rows end without breaking the chain."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from arenad.audit import Event, append
from arenad.config import Audit, Config
from arenad.desk import audits
from arenad.desk.caller import Caller
from arenad.outbox import Outbox
from arenad.retention import drop_due
from arenad.store.audits import Link, read_anchor, read_head, row_size
from arenad.store.engine import make_engine, open_store, read_only
from arenad.store.migrate import migrate
from arenad.store.schema import audit, meta
from arenad.vault import Vault

from pam_arena.errors import Refusal
from pam_arena.secret import Secret

DAY = 86400
NOW = 1_800_000_000
CALLER = Caller("uid:0", Vault(Secret(bytes(32))), Config(), NOW, Outbox(Config(), Path("/nowhere"), Path("/nowhere")))


class Chain:
    """A store, and what is done to its audit: by arenad, or by somebody who may write the file."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/arena.db"
        migrate(self.url)
        self.engine = make_engine(self.url)

    def add(self, *days_ago: int) -> None:
        """A row for each."""
        with self.engine.begin() as connection:
            for number, days in enumerate(days_ago):
                event = Event("login", f"user{number}", outcome="denied", ref=f"R{days}-{number}", service="sshd")
                append(connection, NOW - days * DAY, event)

    def forge(self, *statements: str) -> None:
        """Change the file behind arenad's back."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def verify(self) -> dict[str, Any]:
        with read_only(open_store(self.url)) as connection:
            return audits.verify(connection, CALLER)

    def check(self, *heads: str) -> dict[str, Any]:
        with read_only(open_store(self.url)) as connection:
            return audits.check_heads(connection, CALLER, {"heads": list(heads)})

    def heads(self) -> list[str]:
        """Every link there is."""
        with read_only(open_store(self.url)) as connection:
            return [str(Link(row.id, row.hash)) for row in connection.execute(sa.select(audit).order_by(audit.c.id))]

    def drop(self, policy: Audit, chunk: int = 1000, now: float = NOW) -> int:
        """Drop all that is due; returns in how many transactions."""
        times = 0
        while True:
            with self.engine.begin() as connection:
                if not drop_due(connection, policy, now, chunk):
                    return times
            times += 1


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    one = Chain(tmp_path)
    one.add(*range(30, 20, -1))
    yield one


def test_a_whole_chain_is_good(chain: Chain) -> None:
    found = chain.verify()
    assert (found["verdict"], found["rows"], found["first"], found["head"]) == ("good", 10, 1, chain.heads()[-1])
    assert chain.check(*chain.heads(), chain.heads()[3].partition(":")[2])["problems"] == []


def test_an_empty_chain_is_good(tmp_path: Path) -> None:
    assert Chain(tmp_path).verify()["verdict"] == "good"


SWAP = (
    "UPDATE audit SET id = 99 WHERE id = {0}",
    "UPDATE audit SET id = {0} WHERE id = {1}",
    "UPDATE audit SET id = {1} WHERE id = 99",
)


@pytest.mark.parametrize(
    ("forgery", "row", "kind"),
    [
        (["UPDATE audit SET outcome = 'granted' WHERE id = 4"], 4, "changed"),
        (["UPDATE audit SET at = at + 1 WHERE id = 1"], 1, "changed"),
        (["UPDATE audit SET ref = NULL WHERE id = 10"], 10, "changed"),
        (["UPDATE audit SET hash = zeroblob(32) WHERE id = 10"], 10, "changed"),
        (["DELETE FROM audit WHERE id = 5"], 5, "missing"),
        (["DELETE FROM audit WHERE id = 1"], 1, "missing"),
        (["DELETE FROM audit WHERE id IN (5, 6)"], 5, "missing"),
        (["DELETE FROM audit WHERE id = 9", "UPDATE audit SET id = 9 WHERE id = 10"], 9, "changed"),
        ([one.format(5, 6) for one in SWAP], 5, "reordered"),
        ([one.format(2, 9) for one in SWAP], 2, "reordered"),
        ([one.format(1, 2) for one in SWAP], 1, "reordered"),
        (["UPDATE audit SET id = 0 WHERE id = 10"], 0, "reordered"),
    ],
)
def test_the_first_broken_row_is_named_with_what_is_wrong(chain: Chain, forgery: list[str], row: int, kind: str) -> None:
    chain.forge(*forgery)
    found = chain.verify()
    assert (found["verdict"], found["row"], found["kind"]) == ("broken", row, kind)
    assert str(row) in str(found["problem"])


def test_a_tail_that_was_cut_off_is_found_by_an_earlier_head(chain: Chain) -> None:
    head = chain.heads()[-1]
    chain.forge("DELETE FROM audit WHERE id > 8")
    assert chain.verify()["verdict"] == "good"
    assert "row 10 is missing: the audit ends at row 8" in chain.check(head)["problems"][0]
    assert "no row has the hash" in chain.check(head.partition(":")[2])["problems"][0]


def test_a_chain_that_was_written_anew_is_found_by_an_earlier_head(chain: Chain) -> None:
    head = chain.heads()[-1]
    chain.forge("DELETE FROM audit WHERE id > 8")
    chain.add(22, 21, 20)
    assert chain.verify()["verdict"] == "good"
    assert "row 10 is another than it was" in chain.check(head)["problems"][0]


@pytest.mark.parametrize("head", ["", "4", "4:abc", "x:" + "0" * 64, "0:" + "0" * 64, "-1:" + "0" * 64, "0" * 63])
def test_what_is_no_head_is_refused(chain: Chain, head: str) -> None:
    with pytest.raises(Refusal, match="ID:HASH or HASH"):
        chain.check(head)


def test_old_rows_go_in_chunks_and_the_rest_still_verifies(chain: Chain) -> None:
    before = chain.heads()
    assert chain.drop(Audit(keep=25.5 * DAY, max_size=0), chunk=2) == 3
    found = chain.verify()
    assert (found["verdict"], found["first"], found["dropped"], found["rows"]) == ("good", 6, 5, 8)
    with read_only(open_store(chain.url)) as connection:
        assert str(read_anchor(connection)) == before[4]
        events = connection.execute(sa.select(audit.c.event, audit.c.detail).order_by(audit.c.id.desc()).limit(3)).all()
    assert [row.event for row in events] == ["audit-drop"] * 3
    assert events[0].detail == "rows 5 to 5, " + before[4].partition(":")[2]
    # The heads that were dropped cannot be seen again, the others can.
    assert chain.check(*before) == {"checked": 6, "too_old": 4, "failed": [], "problems": []}


def test_a_second_time_nothing_is_due_and_no_row_is_added(chain: Chain) -> None:
    policy = Audit(keep=25.5 * DAY, max_size=0)
    chain.drop(policy)
    assert chain.drop(policy) == 0
    assert chain.drop(Audit(keep=0, max_size=0)) == 0


def test_the_newest_row_is_never_dropped(chain: Chain) -> None:
    chain.drop(Audit(keep=DAY, max_size=0), now=NOW + 1000 * DAY)
    with read_only(open_store(chain.url)) as connection:
        assert read_head(connection).id == 12
    found = chain.verify()
    assert (found["verdict"], found["first"]) == ("good", 11)


def test_rows_beyond_the_size_go_oldest_first(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.add(*[1] * 1500)
    with read_only(open_store(chain.url)) as connection:
        one = row_size(connection, 1000)
    chain.drop(Audit(keep=0, max_size=2**17))
    found = chain.verify()
    assert found["verdict"] == "good"
    assert 0.97 * 2**17 < int(str(found["rows"])) * one <= 2**17
    assert chain.drop(Audit(keep=0, max_size=2**17)) == 0


def test_the_size_of_a_row_is_what_sqlite_takes_for_it(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.add(*[1] * 3000)
    with read_only(open_store(chain.url)) as connection:
        one = row_size(connection, 1000)
        used = "SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%audit%'"
        taken = int(connection.exec_driver_sql(used).scalar() or 0) / 3000
    assert 0.75 < one / taken < 1.25


@pytest.mark.parametrize(
    ("forgery", "problem"),
    [
        (lambda head: ["DELETE FROM audit WHERE id <= 7"], "rows 6 to 7 are missing"),
        (
            lambda head: [
                "DELETE FROM audit WHERE id <= 7",
                f"UPDATE meta SET value = CAST('{head}' AS BLOB) WHERE name = 'audit-anchor'",
            ],
            "no row of the audit says that they were dropped",
        ),
        (lambda head: ["DELETE FROM meta WHERE name = 'audit-anchor'"], "rows 1 to 5 are missing"),
        (lambda head: ["DELETE FROM audit"], "every row after row 5 is missing"),
    ],
    ids=["rows", "rows-and-anchor", "anchor", "all"],
)
def test_rows_taken_away_under_the_name_of_retention_are_found(
    chain: Chain, forgery: Callable[[str], list[str]], problem: str
) -> None:
    before = chain.heads()
    chain.drop(Audit(keep=25.5 * DAY, max_size=0))
    chain.forge(*forgery(before[6]))
    found = chain.verify()
    assert (found["verdict"], problem in str(found["problem"])) == ("broken", True), found


def test_rows_that_end_while_they_are_verified_are_no_break(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk is between two reads when retention ends what it stands on."""
    monkeypatch.setattr(audits, "_CHUNK", 3)
    walk = audits._Walk(connection := read_only(open_store(chain.url)))
    walk.last = Link.read(chain.heads()[2])
    chain.drop(Audit(keep=25.5 * DAY, max_size=0))
    assert walk.go() is None
    connection.close()
    assert (walk.anchor.id, walk.checked) == (5, 6)


def test_rows_that_end_behind_the_walk_are_no_break(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention ends rows that were verified already, and its own row comes at the end."""
    monkeypatch.setattr(audits, "_CHUNK", 3)
    walk = audits._Walk(connection := read_only(open_store(chain.url)))
    assert walk._go_on() is None
    chain.drop(Audit(keep=25.5 * DAY, max_size=0), chunk=2)
    assert walk.go() is None
    connection.close()
    assert (walk.anchor.id, walk.checked, walk.last.id) == (0, 13, 13)


def test_a_meta_row_is_all_that_an_anchor_takes(chain: Chain) -> None:
    chain.drop(Audit(keep=25.5 * DAY, max_size=0), chunk=1)
    with read_only(open_store(chain.url)) as connection:
        names = connection.execute(sa.select(meta.c.name).where(meta.c.name.like("audit%"))).scalars().all()
    assert names == ["audit-anchor"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24", 1795478400),
        ("2026-11-24 08:30", 1795509000),
        ("2026-11-24 08:30:15 UTC", 1795509015),
        ("2h", NOW - 7200),
        ("-3d", NOW - 3 * DAY),
    ],
)
def test_times_are_dates_or_spans(text: str, at: int) -> None:
    assert audits.read_time("since", text, NOW) == at


def test_a_time_that_is_none_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(Refusal, match="since: 'yestreen': allowed"):
        audits.read_time("since", "yestreen", NOW)
