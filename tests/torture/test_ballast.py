"""The disk is full: the ballast lets people in ten thousand times, the journal says how often still, and it comes back.

Everybody logs in through a real arenad on a small disk that something else has filled to the last block.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from arena import Service
from arenad.store.ballast import LOGIN_BYTES, SPARE, logins_left, size_for
from arenad.store.engine import open_store, read_only
from crowd import LONG, PIN, REF, Person, broken_rows, cheap_service, enrol, make_people, run_together, uncounted
from desk_service import DeskService
from disks import fill, tmpfs

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

LOGINS = 10_000  # that arenad.service's own ballast is for
ROUNDS = 26 if LONG else 1  # of right codes of each holder; as many wrong ones
PEOPLE = 200
CLIENTS = 4
SUCCESS, DENIED, UNAVAILABLE = 0, 7, 9


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a store, its ballast, and what arenad leaves to others when it makes it."""
    with tmpfs(tmp_path / "disk", size_for(LOGINS) + SPARE + 8 * 2**20) as disk:
        yield disk


def log_in(service: Service, name: str, code: str, address: str) -> tuple[int, set[str]]:
    """PAM's code, and the references of a denial."""
    said: list[str] = []

    def ask(style: Style, text: str) -> Secret | None:
        if style in (Style.HIDDEN, Style.SHOWN):
            return Secret(PIN.encode() if text.startswith("PIN") else code.encode())
        said.append(text)
        return None

    start = Start(Operation.AUTHENTICATE, "sshd", name, rhost=address)
    return service.client().converse(start, ask).code, set(REF.findall("".join(said)))


def everybody(service: Service, people: Sequence[Person], rounds: range) -> set[str]:
    """Each holder with a right code and a wrong one in each round, from addresses never seen before; references of denials."""
    refs: set[str] = set()
    numbered = list(enumerate(people))

    def run(client: int) -> None:
        for step in rounds:
            for number, one in numbered[client::CLIENTS]:
                assert log_in(service, one.name, one.code(step), f"2001:db8:{step:x}::{number:x}")[0] == SUCCESS
                code, refused = log_in(service, one.name, one.wrong_code(), f"2001:db8:{step:x}:1::{number:x}")
                assert code == DENIED
                refs.update(refused)
            service.hear()

    run_together(run, CLIENTS)
    return refs


def wait_for_ballast(service: Service, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while logins_left(service.folder / "arena.db", LOGINS) < LOGINS:
        assert time.monotonic() < end, service.journal.read_text()
        service.hear()
        time.sleep(0.05)


def of_store(desk: DeskService) -> dict[str, str]:
    """What doctor finds of the disk: severity by sentence."""
    found = desk.get("/doctor")["findings"]
    return {one["found"]: one["severity"] for one in found if "disk" in one["found"] or "ballast" in one["found"]}


def test_a_full_disk_lets_people_in_ten_thousand_times_and_heals(disk: Path, count: Callable[[str], None]) -> None:
    service = cheap_service(disk / "store", ballast=LOGINS)
    service.journal = disk.with_name("journal")
    people = make_people("somebody", PEOPLE)
    enrol(service, people)
    service.start()
    desk = DeskService(service, disk.with_name("desk-journal"))
    try:
        wait_for_ballast(service)
        ballast = service.folder / "ballast"
        assert ballast.stat().st_blocks * 512 >= ballast.stat().st_size == size_for(LOGINS)
        assert f"ballast for {LOGINS} logins" in " ".join(of_store(desk))

        everybody(service, people[:8], range(1))
        fill(disk / "rubbish")
        before = (service.folder / "arena.db").stat().st_size
        began = time.monotonic()
        refs = everybody(service, people, range(1, 1 + ROUNDS))
        took, done = time.monotonic() - began, 2 * ROUNDS * PEOPLE
        grown = (service.folder / "arena.db").stat().st_size - before
        left = logins_left(service.folder / "arena.db", LOGINS)
        assert 0 < left < LOGINS
        assert len(refs) == done // 2
        if LONG:
            assert done >= LOGINS and grown / done < LOGIN_BYTES
        assert "the disk is full; the ballast" in service.journal.read_text()
        assert any(f"about {left} logins" in found and severity == "problem" for found, severity in of_store(desk).items())
        assert desk.get("/status")["ballast"] == {"logins": left, "wanted": LOGINS}

        service.kill()  # and it starts on a full disk
        service.start()
        assert log_in(service, people[0].name, people[0].code(1), "")[0] == DENIED
        assert log_in(service, people[0].name, people[0].code(1 + ROUNDS), "")[0] == SUCCESS

        (disk / "rubbish").unlink()
        service.stop()
        service.start()
        wait_for_ballast(service)
        everybody(service, people[1:9], range(1 + ROUNDS, 2 + ROUNDS))
        with read_only(open_store(service.url)) as connection:
            assert list(broken_rows(connection)) == []
            assert list(uncounted(connection, refs)) == []
    finally:
        desk.close()
        service.close()
    count(
        f"{done} logins on a full disk ({done // 2} opened, {done // 2} denied and counted), none without a verdict: {grown}"
        f" bytes of store, room for about {left} of {LOGINS} left; {took:.0f} s"
    )
