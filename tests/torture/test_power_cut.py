"""The power fails: whatever of the store had not reached the disk may be lost, and what arenad had said stays true.

One run of logins is written down, with every write and sync of the store and every message. Then the power is cut at many
points of it: the disk that it could have left is made anew, and arenad's own code opens it and is asked the same codes.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from arena import Service
from arenad.clock import SystemClock
from arenad.config import Code, Config, Lock, Login
from arenad.login.attempt import Attempt
from arenad.login.decoys import prepare
from arenad.login.throttle import CONSOLE, Origin
from arenad.login.turns import Lane
from arenad.login.verifier import Verifier
from arenad.store.accounts import read_account, spend
from arenad.store.engine import open_store, read_only
from arenad.store.recovery import find_code
from arenad.store.schema import holder
from arenad.store.writer import Writer
from arenad.vault import Vault
from attrs import frozen
from crowd import CHEAP, HOTP, LONG, PIN, Person, broken_rows, cheap_service, enrol, make_people, run_together, uncounted
from powerlog import Disk, Record, Said, Talks, build_tracer, read_trace

from pam_arena.conversation import Outcome
from pam_arena.pin import Policy
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

CUTS = 500 if LONG else 60
CONTROL = 12  # cuts into a run whose commits are not synced
CLIENTS = 6
LOGINS = 40 if LONG else 10  # of each client, before and after a restart
PAGES = "40"  # after so many, SQLite moves its log into the store: a short run then has many such moments
FAST = "/dev/shm"
CONFIG = Config(login=Login(deny_after=0), lock=Lock(after=100, close_after=10000), code=Code(next_code_after=1000))


@frozen
class Run:
    """A traced run: the folder's files at its beginning, and all that happened."""

    folder: Path
    key: bytes
    people: dict[str, Person]
    at_first: dict[str, bytes]
    records: list[Record]


def record_run(folder: Path, **environment: str) -> Run:
    """Have people log in, stop arenad, have them log in again, and end it in the middle of things."""
    service = cheap_service(folder / "store")
    people = make_people("h", CLIENTS, HOTP, LOGINS) + make_people("new", CLIENTS, HOTP)
    enrol(service, people[:CLIENTS])
    enrol(service, people[CLIENTS:], None)
    at_first = {path.name: path.read_bytes() for path in service.folder.glob("arena.db*")}
    service.environment = {
        "LD_PRELOAD": str(build_tracer(folder)),
        "ARENA_TRACE": str(folder / "trace"),
        "ARENA_TRACE_FOLDER": str(service.folder),
        "ARENA_CHECKPOINT_PAGES": PAGES,
        **environment,
    }
    try:
        service.start()
        log_in_together(service, people, 0)
        assert service.stop() == 0
        service.start()
        log_in_together(service, people, LOGINS)
        service.kill()
    finally:
        service.close()
    return Run(service.folder, service.key, {one.name: one for one in people}, at_first, read_trace(folder / "trace"))


def log_in_together(service: Service, people: list[Person], first: int) -> None:
    """Each holder in a thread: right codes, wrong ones, and codes of the drawer; and one first login of another holder."""

    def run(number: int) -> None:
        one = people[number]
        for step in range(first, first + LOGINS):
            log_in(service, one, (PIN, one.wrong_code() if step % 3 == 1 else one.code(step)))
            if step % 5 == 4:
                log_in(service, one, (PIN, one.emergency[step - first]))
        if number % 2 == bool(first):
            new = people[CLIENTS + number]
            log_in(service, new, ("", new.code(0), PIN, PIN, PIN + new.code(1)))

    run_together(run, CLIENTS)


def log_in(service: Service, one: Person, answers: tuple[str, ...]) -> None:
    """Answer what is asked; what comes of it is in the trace."""
    left = list(answers)

    def ask(style: Style, _text: str) -> Secret | None:
        return Secret(left.pop(0).encode()) if style in (Style.HIDDEN, Style.SHOWN) else None

    service.client().converse(Start(Operation.AUTHENTICATE, "login", one.name), ask)
    assert not left


def complaints(run: Run, files: dict[str, bytes], said: Said) -> list[str]:
    """What arenad, started over these files, would get wrong of what it had said."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        engine = open_store(f"sqlite:///{folder}/arena.db")
        with closing(Writer(engine)) as writer:
            vault = Vault(Secret(run.key))
            prepare(writer, vault, SystemClock(), CHEAP)
            found = []
            with read_only(engine) as connection:
                found += [*broken_rows(connection), *uncounted(connection, said.refs)]
                without = sa.select(holder.c.name).where(holder.c.pin.is_(None))
                found += [f"the PIN of {name} is gone" for name in said.pins & set(connection.execute(without).scalars())]
            found += writer.submit(lambda connection: list(unspent(connection, vault, run, said))).result()
            verifier = Verifier(engine, writer, vault, SystemClock(), CONFIG, CHEAP, 1)
            try:
                found += asyncio.run(working_codes(verifier, run, said))
            finally:
                verifier.close()
        engine.dispose()
    return found


def unspent(connection: sa.engine.Connection, vault: Vault, run: Run, said: Said) -> Iterator[str]:
    """Codes that opened before, and that the store would spend again."""
    now = int(time.time())
    for name, typed in said.opened:
        account = read_account(connection, name, now, CONSOLE, "")
        if (step := run.people[name].step_of(typed)) is None:
            code = find_code(connection, account.holder_id, vault.digest_code(typed, name))
            again = code is None or code.is_valid(now)
        else:
            again = spend(connection, account.slots[0], step, now)
        if again:
            yield f"a code of {name} could be spent again"


async def working_codes(verifier: Verifier, run: Run, said: Said) -> list[str]:
    """Holders whose last code opens again, and those whose next code does not open."""
    found = []
    for name, typed in dict(said.opened).items():
        if await verdict(verifier, name, typed) is not Outcome.DENIED:
            found.append(f"a code of {name} opens again")
    steps = [(name, run.people[name].step_of(typed)) for name, typed in said.opened]
    for name, step in {name: step for name, step in steps if step is not None}.items():
        if await verdict(verifier, name, run.people[name].code(step + 4)) is not Outcome.GRANTED:
            found.append(f"no code of {name} opens any more")
    return found


async def verdict(verifier: Verifier, name: str, typed: str) -> Outcome:
    """What arenad's verifier says of PIN + code from the console."""
    at, first, second = time.time(), Secret(PIN.encode()), Secret(typed.encode())
    attempt = Attempt(name, True, Origin(CONSOLE), Lane.FAVOURED, "login", "", "uid:0", Policy(), first, second, at, at)
    return (await verifier.verify(attempt)).verdict.outcome


def cut_points(run: Run, count: int, chance: random.Random) -> list[int]:
    """Where to cut: after messages, while something is not synced, and anywhere."""
    disk, sent, dirty = Disk(run.folder, run.at_first), [], []
    for number, record in enumerate(run.records, 1):
        disk.play(record)
        if record.kind == "S":
            sent.append(number)
        elif disk.unsynced:
            dirty.append(number)
    third = count // 3
    anywhere = range(len(run.records) + 1)
    points = [*chance.choices(sent, k=third), *chance.choices(dirty, k=third)]
    return sorted(points + chance.choices(anywhere, k=count - 2 * third))


def cut_everywhere(run: Run, count: int, chance: random.Random) -> Iterator[tuple[int, list[str], Said]]:
    """So many power cuts: the point, what was wrong afterwards, and what had been said by then."""
    disk, talks, played = Disk(run.folder, run.at_first), Talks(), 0
    for point in cut_points(run, count, chance):
        for record in run.records[played:point]:
            disk.play(record)
            if record.kind in "SR":
                talks.see(record)
        played = point
        yield point, complaints(run, disk.after_a_cut(chance), talks.said), talks.said


def test_what_arenad_said_before_a_power_cut_stays_true(
    fast_folder: Path, seeded: random.Random, count: Callable[[str], None]
) -> None:
    began, run = time.monotonic(), record_run(fast_folder)
    said = Said()
    for point, wrong, by_then in cut_everywhere(run, CUTS, seeded):
        said = by_then
        assert wrong == [], f"cut at {point} of {len(run.records)}"
    kinds = [record.kind for record in run.records]
    moved = {record.number for record in run.records if record.kind == "W" and record.number % 4096 == 0}
    assert moved and kinds.count("U") and said.opened and said.refs and said.pins
    count(
        f"{CUTS} power cuts into {kinds.count('W')} writes and {kinds.count('E')} syncs: none undid one of up to"
        f" {len(said.opened)} successes, {len(said.refs)} denials and {len(said.pins)} new PINs that were sent;"
        f" {time.monotonic() - began:.0f} s"
    )


def test_a_store_whose_commits_are_not_synced_is_caught(
    fast_folder: Path, seeded: random.Random, count: Callable[[str], None]
) -> None:
    run = record_run(fast_folder, ARENA_SYNCHRONOUS="1")
    caught = [wrong for _, wrong, _ in cut_everywhere(run, CONTROL, seeded) if wrong]
    assert caught
    count(f"{CONTROL} power cuts under synchronous=NORMAL: {len(caught)} were caught to break a promise")
