"""The store is damaged: pages, files, rows, the key. Nobody gets in by it, the reason is said, and what is put back works.

Each damage is done to the files of a real arenad, which is then started over them and asked for everything that must not
open, and afterwards once more over the files as they were.
"""

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.doctor import check
from arenad.store.engine import make_engine, open_store, read_only
from arenad.store.schema import holder, token
from arenad.vault import Vault
from attrs import define
from crowd import CHEAP, HOTP, LONG, PIN, Person, cheap_service, enrol, make_people
from desk_service import DeskService
from race import Runner, race

from pam_arena.errors import StoreError
from pam_arena.secret import Secret

PAGES = 1000 if LONG else 3  # that are damaged, of all there are, in each way
PEOPLE, ASKED = 60, 4
SUCCESS, SYSTEM_ERR, DENIED, UNAVAILABLE = 0, 4, 7, 9
SIDES = ("", "-wal", "-shm")


@define
class House:
    """An arenad that is stopped, its files as they were then, and holders, each with a code that opened."""

    service: Service
    people: list[Person]
    whole: dict[str, bytes]
    used: int = 1  # codes that each used

    @property
    def store(self) -> Path:
        return self.service.folder / "arena.db"

    def restore(self) -> None:
        """All files as they were."""
        for suffix in SIDES:
            self.store.with_name(self.store.name + suffix).unlink(missing_ok=True)
        for name, content in self.whole.items():
            (self.service.folder / name).write_bytes(content)

    def ask(self, *typed: tuple[Person, str, str]) -> list[int]:
        """PAM's code for each (holder, PIN, code)."""
        return race([Runner(self.service.socket_path, one.name, "", pin, code) for one, pin, code in typed])

    def is_shut(self) -> Counter[int]:
        """What comes of all that must not open, and of fresh codes."""
        wrong, fresh = [], []
        for one in self.people[:ASKED]:
            wrong += [(one, PIN, one.code(0)), (one, PIN, one.wrong_code()), (one, "7391", one.code(self.used))]
            fresh.append((one, PIN, one.code(self.used + 1)))
        found = self.ask(*wrong)
        assert SUCCESS not in found
        found += self.ask(*fresh)
        assert set(found) <= {SUCCESS, SYSTEM_ERR, DENIED, UNAVAILABLE}
        return Counter(found)

    def start(self) -> str:
        """Start it; '' if it runs, else what it said. A refusal ends with status 1 and leaves the file as it is."""
        before = self.store.read_bytes() if self.store.exists() else None
        told = len(self.service.journal.read_text())
        try:
            self.service.start()
        except AssertionError:
            assert self.service.process is not None
            assert self.service.process.wait(10) == 1
            assert (self.store.read_bytes() if self.store.exists() else None) == before
            said = self.service.journal.read_text()[told:]
            assert "<2>" in said
            return said
        return ""

    def works(self) -> None:
        """With everything put back: what was used stays used, and a fresh code opens."""
        self.restore()
        assert self.start() == ""
        one = self.people[0]
        assert self.ask((one, PIN, one.code(0))) == [DENIED]
        assert self.ask((one, PIN, one.code(1))) == [SUCCESS]
        self.service.kill()
        self.restore()

    def look(self) -> str:
        """What doctor's check says of the store, '' if nothing."""
        try:
            with read_only(open_store(self.service.url)) as connection:
                return check(connection)
        except (StoreError, sa.exc.SQLAlchemyError) as error:
            return str(error)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    service = cheap_service(tmp_path_factory.mktemp("damage"))
    people = make_people("h", PEOPLE, HOTP, 1)
    enrol(service, people)
    service.start()
    house = House(service, people, {})
    assert set(house.ask(*((one, PIN, one.code(0)) for one in people))) == {SUCCESS}
    assert service.stop() == 0
    house.whole = {"arena.db": house.store.read_bytes(), "arena.key": (service.folder / "arena.key").read_bytes()}
    yield house
    service.close()


@pytest.fixture
def house(made: House) -> Iterator[House]:
    made.restore()
    yield made
    if made.service.process is not None and made.service.process.poll() is None:
        made.service.kill()
    made.restore()


def spoil_head(page: bytes) -> bytes:
    """What kind of page it is, and where its rows are."""
    return bytes(byte ^ 0xFF for byte in page[:12]) + page[12:]


def spoil_rows(page: bytes) -> bytes:
    """The last quarter, where the rows begin."""
    keep = len(page) * 3 // 4
    return page[:keep] + bytes(byte ^ 0xFF for byte in page[keep:])


def spoil_all(page: bytes) -> bytes:
    """As a disk that forgot to write it."""
    return bytes(len(page))


def pages_of(path: Path) -> tuple[int, list[int]]:
    """(bytes of a page, the numbers of those that hold something that a table or index needs)."""
    with closing(sqlite3.connect(path)) as store:
        (size,) = store.execute("PRAGMA page_size").fetchone()
        (count,) = store.execute("PRAGMA page_count").fetchone()
        (free,) = store.execute("PRAGMA freelist_count").fetchone()
        assert free == 0
    return size, list(range(1, count + 1))


@pytest.mark.parametrize("spoil", [spoil_head, spoil_rows, spoil_all])
def test_a_damaged_page_lets_nobody_in(house: House, spoil: Callable[[bytes], bytes], count: Callable[[str], None]) -> None:
    size, pages = pages_of(house.store)
    whole, told = house.whole["arena.db"], Counter[str]()
    outcomes: Counter[int] = Counter()
    # The later ones first: the earlier are those of tables that every start reads.
    chosen = sorted({pages[0], *pages[:: -max(1, len(pages) // PAGES)]})
    for number in chosen:
        at = (number - 1) * size
        house.restore()
        house.store.write_bytes(whole[:at] + spoil(whole[at : at + size]) + whole[at + size :])
        # Rows can be changed so that SQLite, which has no checksums, sees nothing.
        seen = house.look()
        assert seen or spoil is spoil_rows, f"page {number}"
        told["doctor"] += bool(seen)
        if house.start():
            told["start"] += 1
            continue
        before = len(house.service.journal.read_text())
        found = house.is_shut()
        outcomes += found
        if found[SYSTEM_ERR] or found[UNAVAILABLE]:
            assert "no verdict: " in house.service.journal.read_text()[before:]
        house.service.kill()
    house.works()
    count(
        f"{spoil.__name__} of {len(chosen)} of {len(pages)} pages: {told['start']} refused at the start, {told['doctor']} named"
        f" by doctor's check; of {outcomes.total()} logins {outcomes[SUCCESS]} opened, each with a fresh code"
    )


def newer(house: House) -> None:
    with closing(sqlite3.connect(house.store)) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
        store.execute("UPDATE meta SET value = CAST('9999' AS BLOB) WHERE name = 'opens-from'")


def foreign(house: House) -> None:
    house.store.unlink()
    with closing(sqlite3.connect(house.store)) as store, store:
        store.execute("CREATE TABLE recipes (name TEXT)")


def cut(house: House, share: float) -> None:
    os.truncate(house.store, int(len(house.whole["arena.db"]) * share))


def key(house: House, content: bytes | None) -> None:
    path = house.service.folder / "arena.key"
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda house: house.store.unlink(), "there is no store at"),
        (lambda house: cut(house, 0), "is empty: make a new one"),
        (lambda house: cut(house, 0.001), "cannot be opened: "),
        (lambda house: house.store.write_bytes(b"not a database, whatever it was before" * 99), "is not a database"),
        (newer, "newer than this release's"),
        (foreign, "belongs to another program"),
        (lambda house: key(house, None), "there is no master key"),
        (lambda house: key(house, b"short"), "has 5 bytes"),
        (lambda house: key(house, os.urandom(32)), "was made under master key"),
    ],
    ids=["missing", "empty", "cut to its head", "rubbish", "newer", "foreign", "no key", "short key", "wrong key"],
)
def test_what_cannot_be_used_is_refused_by_name_and_works_once_it_is_put_back(
    house: House, damage: Callable[[House], None], told: str
) -> None:
    damage(house)
    assert told in house.start()
    house.works()


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_store_that_was_cut_lets_nobody_in(house: House, share: float) -> None:
    cut(house, share)
    assert house.look()
    if not house.start():
        house.is_shut()
        house.service.kill()
    house.works()


def test_the_log_of_another_store_lets_nobody_in(house: House, tmp_path: Path) -> None:
    other = cheap_service(tmp_path / "other")
    people = make_people("h", PEOPLE, HOTP)  # of the same names
    enrol(other, people)
    try:
        other.start()
        assert race([Runner(other.socket_path, one.name, "", PIN, one.code(0)) for one in people]) == [SUCCESS] * PEOPLE
        other.kill()  # its log stays
        shutil.copy(other.folder / "arena.db-wal", house.store.with_name("arena.db-wal"))
        if not house.start():
            house.is_shut()
            theirs = [(one, PIN, one.code(step)) for one in people[:ASKED] for step in (0, 1)]
            assert SUCCESS not in house.ask(*theirs)
            house.service.kill()
        house.works()
    finally:
        other.close()


def test_sealed_values_that_were_moved_open_nothing_and_are_named(house: House) -> None:
    """The seed, PIN and PIN length of one are another's; a seed that a token had before is put back."""
    a, b, c, d, e = house.people[:5]
    vault = Vault(Secret(house.service.key))
    other_pin = vault.seal_pin(CHEAP.hash("7391", os.urandom(16)), b.name)
    with make_engine(house.service.url).begin() as connection:

        def set_holder(one: Person, **values: bytes) -> None:
            connection.execute(sa.update(holder).where(holder.c.name == one.name).values(**values))

        def seed_of(one: Person) -> bytes:
            return bytes(connection.execute(sa.select(token.c.seed).where(token.c.serial == one.serial)).scalar_one())

        def set_token(one: Person, **values: object) -> None:
            connection.execute(sa.update(token).where(token.c.serial == one.serial).values(**values))

        set_holder(a, pin=other_pin)
        lengths = sa.select(holder.c.pin_length).where(holder.c.name == a.name)
        set_holder(c, pin_length=bytes(connection.execute(lengths).scalar_one()))
        set_token(d, seed=seed_of(b))
        set_token(e, seed_version=2)  # the token got a new seed since, and its old one is put back
    assert house.start() == ""
    typed = [(a, "7391", a.code(1)), (a, PIN, a.code(1)), (c, PIN, c.code(1)), (d, PIN, b.code(1)), (d, PIN, d.code(1))]
    typed += [(e, PIN, e.code(1))]
    assert SUCCESS not in house.ask(*typed)
    assert house.ask((b, PIN, b.code(1))) == [SUCCESS]
    told = house.service.journal.read_text()
    named = [f"PIN of {a.name}", f"PIN's length of {c.name}", f"seed of token {d.serial}", f"seed of token {e.serial}"]
    for what in named:
        assert f"no verdict: the {what} does not open" in told
    desk = DeskService(house.service)
    try:
        (found,) = [one for one in desk.get("/doctor")["findings"] if "do not open" in one["found"]]
    finally:
        desk.close()
        Path(desk.path).unlink()
    assert found["severity"] == "problem"
    assert all(what.replace("token ", "") in found["found"] for what in named)
    house.service.kill()
    house.works()
