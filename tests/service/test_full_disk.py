"""No room on the disk, and no ballast: no verdict, the reason in the journal, nothing lost, and none of it lasts."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from arena import Service

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

PAM_SUCCESS, PAM_AUTHINFO_UNAVAIL = 0, 9


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))


def test_a_full_disk_gives_no_verdict_and_loses_nothing(small_disk: Path) -> None:
    service = Service(small_disk, '[login]\ndeny_after = "0"\n')
    try:
        service.start()
        token = service.enrol("alice", "A-1")

        def first_login(*answers: str) -> int:
            left = list(answers)

            def ask(style: Style, _text: str) -> Secret | None:
                return Secret(left.pop(0).encode()) if style is Style.HIDDEN else None

            return service.client().converse(Start(Operation.AUTHENTICATE, "login", "alice"), ask).code

        fill(small_disk / "rubbish")
        assert first_login("", token.code()) == PAM_AUTHINFO_UNAVAIL
        assert "disk is full" in service.journal.read_text()
        (small_disk / "rubbish").unlink()
        assert first_login("", token.code(), "2846", "2846", "2846" + token.code(1)) == PAM_SUCCESS
    finally:
        service.close()
