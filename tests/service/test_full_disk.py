"""No room on the disk, and no ballast or none left: no verdict, the reason in the journal, nothing lost, and it heals."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arena import Service, Token
from arenad.store.ballast import SLICE, SPARE, size_for
from desk_service import DeskService
from dialogues import PIN, Holder
from disks import fill, tmpfs
from journald import Journald

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

PAM_SUCCESS, PAM_AUTHINFO_UNAVAIL = 0, 9
LOGINS = 100


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many bytes."""
    with ExitStack() as mounted:
        yield lambda size: mounted.enter_context(tmpfs(tmp_path / "small", size))


def log_in(service: Service, *answers: str) -> int:
    left = list(answers)

    def ask(style: Style, _text: str) -> Secret | None:
        return Secret(left.pop(0).encode()) if style is Style.HIDDEN else None

    return service.client().converse(Start(Operation.AUTHENTICATE, "login", "alice"), ask).code


def first_login(service: Service, token: Token) -> int:
    return log_in(service, "", token.code(), PIN, PIN, PIN + token.code(1))


def problems(desk: DeskService) -> str:
    """What doctor finds wrong with the store."""
    found = [one for one in desk.get("/doctor")["findings"] if one["thing"] == "store" and one["severity"] != "good"]
    return "; ".join(one["found"] for one in found)


def test_a_full_disk_without_ballast_gives_no_verdict_and_loses_nothing(make_disk: Callable[[int], Path]) -> None:
    disk = make_disk(2 * 2**20)
    service = Service(disk, '[login]\ndeny_after = "0"\n')
    service.journal = disk.with_name("journal")
    try:
        service.start()
        token = service.enrol("alice", "A-1")
        fill(disk / "rubbish")
        assert log_in(service, "", token.code()) == PAM_AUTHINFO_UNAVAIL
        assert "disk is full" in service.journal.read_text()
        (disk / "rubbish").unlink()
        assert first_login(service, token) == PAM_SUCCESS
    finally:
        service.close()


def test_a_disk_without_room_for_the_ballast_is_named_and_used(make_disk: Callable[[int], Path]) -> None:
    service = Service(make_disk(4 * 2**20), '[login]\ndeny_after = "0"\n', ballast=LOGINS)
    try:
        service.start()
        token = service.enrol("alice", "A-1")
        assert first_login(service, token) == PAM_SUCCESS
        wait_for(lambda: "ballast cannot be made whole (No space left on device)" in service.journal.read_text())
        desk = DeskService(service)
        assert f"about 0 logins left, of {LOGINS}" in problems(desk)
        desk.close()
    finally:
        service.close()


def test_a_ballast_that_is_used_up_is_said_and_made_again(make_disk: Callable[[int], Path]) -> None:
    disk = make_disk(size_for(LOGINS) + SPARE + 4 * 2**20)
    service = Service(disk, '[login]\ndeny_after = "0"\n', ballast=LOGINS)
    service.journal = disk.with_name("journal")
    journald = Journald(service.journald)
    alice = Holder(service, mechanism=Mechanism(kind=Kind.HOTP))
    try:
        service.start()
        assert journald.receive_row("ballast")["ARENA_OUTCOME"] == "made"
        fill(disk / "rubbish")
        # As after some thousand logins.
        os.truncate(disk / "ballast", 2 * SLICE)
        fill(disk / "more")
        opened, told = 0, []
        while log_in(service, PIN, alice.code(opened)) == PAM_SUCCESS:
            opened += 1
            while (entry := journald.receive())["ARENA_EVENT"] != "login":  # journald takes no more than ten unread ones
                told.append(entry)
        assert opened > 2
        told.append(journald.receive_row("disk-full"))
        told = [entry for entry in told if entry["ARENA_EVENT"] == "disk-full"]
        assert [one["ARENA_OUTCOME"] for one in told] == ["in-use", "in-use", "empty"]
        assert (told[0]["PRIORITY"], "make room" in told[0]["MESSAGE"], told[-1]["ARENA_DETAIL"]) == ("2", True, "0")
        assert "disk is full" in service.journal.read_text()
        (disk / "rubbish").unlink()
        assert log_in(service, PIN, alice.code(opened - 1)) != PAM_SUCCESS
        assert log_in(service, PIN, alice.code(opened + 1)) == PAM_SUCCESS
        service.stop()
        (disk / "more").unlink()
        service.start()
        wait_for(lambda: (disk / "ballast").stat().st_blocks * 512 == size_for(LOGINS))
        desk = DeskService(service)
        assert "ballast" not in problems(desk)
        desk.close()
    finally:
        journald.close()
        service.close()


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)
