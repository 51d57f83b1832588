"""Changing PAM's files: every byte comes back, and what somebody else changed since stays."""

import os
from pathlib import Path

import pytest

from pam_arena.cli.host import pam_change
from pam_arena.cli.host.pam_change import LINE, OWN_FILE, Manifest, apply, confirm, keep, load, load_all, plan, undo
from pam_arena.cli.host.session import Session, what_is_shared
from pam_arena.errors import NotFound, Refusal

COMMON = "auth required pam_unix.so\n"
SUDO = "#%PAM-1.0\n\nsession required pam_limits.so\n\n@include common-auth\n@include common-account"  # no newline at its end


@pytest.fixture
def pam(tmp_path: Path) -> Path:
    folder = tmp_path / "pam.d"
    folder.mkdir()
    (folder / "common-auth").write_text(COMMON)
    (folder / "sudo").write_text(SUDO)
    (folder / "su").write_text("auth sufficient pam_rootok.so\n@include common-auth # the rest\n")
    (folder / "sudo").chmod(0o640)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def enable(pam: Path, state: Path, service: str, *, arena_first: bool = False) -> Manifest:
    changes = plan(service, arena_first=arena_first, folder=pam)
    manifest = keep(Manifest(service, "password-first", 1, True, Session(process="1"), "alice"), changes, state)
    apply(manifest, changes)
    return manifest


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.parametrize("arena_first", [False, True])
@pytest.mark.parametrize("service", ["sudo", "su"])
def test_one_line_is_added_and_everything_comes_back(pam: Path, state: Path, service: str, arena_first: bool) -> None:
    before = snapshot(pam)
    manifest = enable(pam, state, service, arena_first=arena_first)
    lines = (pam / service).read_text().splitlines(keepends=True)
    place = lines.index(LINE)
    assert lines[place + 1 if arena_first else place - 1].startswith("@include common-auth")
    assert len(lines) == len(before[service][0].splitlines()) + 1
    assert undo(manifest, state) == []
    assert snapshot(pam) == before
    assert load_all(state) == []


def test_the_own_file_goes_with_the_last_service(pam: Path, state: Path) -> None:
    before = snapshot(pam)
    first, second = enable(pam, state, "sudo"), enable(pam, state, "su")
    assert undo(first, state) == []
    assert (pam / OWN_FILE).exists()
    assert undo(second, state) == []
    assert snapshot(pam) == before


def test_an_include_added_by_hand_keeps_the_own_file(pam: Path, state: Path) -> None:
    manifest = enable(pam, state, "sudo")
    (pam / "mine").write_text(LINE)
    assert undo(manifest, state) == []
    assert (pam / OWN_FILE).exists()


def test_what_was_changed_since_keeps_its_change_and_loses_our_line(pam: Path, state: Path) -> None:
    manifest = enable(pam, state, "sudo")
    (pam / "sudo").write_text((pam / "sudo").read_text() + "\n# mine\n")
    said = undo(manifest, state)
    assert "only the line" in said[0]
    assert (pam / "sudo").read_text() == SUDO + "\n# mine\n"
    kept = Path(said[-1].rpartition(" ")[2])
    assert any(path.read_text() == SUDO for path in kept.iterdir())


def test_a_file_that_changed_between_showing_and_writing_is_not_touched(pam: Path, state: Path) -> None:
    changes = plan("sudo", arena_first=False, folder=pam)
    manifest = keep(Manifest("sudo", "password-first", 1, True, Session(), "alice"), changes, state)
    (pam / "sudo").write_text("# replaced\n")
    with pytest.raises(Refusal, match="changed meanwhile"):
        apply(manifest, changes)
    assert undo(manifest, state) == [
        f"{pam}/sudo was changed since, and has our line no more: left as it is",
        f"the files as they were before are in {state}/sudo.1.kept",
    ]
    assert not (pam / OWN_FILE).exists()


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_in_the_middle_is_undone_from_the_manifest_alone(
    pam: Path, state: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the n-th rename."""
    before = snapshot(pam)
    changes = plan("sudo", arena_first=False, folder=pam)
    manifest = keep(Manifest("sudo", "password-first", 1, True, Session(), "alice"), changes, state)
    count = 0
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(28, os.strerror(28), str(target))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="No space"):
            apply(manifest, changes)
    found = load("sudo", state)
    assert found == manifest
    assert undo(found, state) == []
    assert snapshot(pam) == before


def test_a_confirmed_change_is_no_longer_pending(pam: Path, state: Path) -> None:
    manifest = enable(pam, state, "sudo")
    confirm(manifest, state)
    (found,) = load_all(state)
    assert not found.pending
    assert found.files == manifest.files


def test_sudo_takes_its_twin_along(pam: Path, state: Path) -> None:
    (pam / "sudo-i").write_text(SUDO)
    changed = {change.path.name for change in plan("sudo", arena_first=False, folder=pam)}
    assert changed == {OWN_FILE, "sudo", "sudo-i"}
    (pam / "sudo-i").write_text("@include sudo\n")
    assert "sudo-i" not in {change.path.name for change in plan("sudo", arena_first=False, folder=pam)}


@pytest.mark.parametrize(
    ("service", "error", "told"),
    [
        ("nowhere", NotFound, "no service 'nowhere'"),
        ("../passwd", NotFound, "no service"),
        ("common-auth", Refusal, "no service of its own"),
        ("asking", Refusal, "asks for a code already, by .*asking line 1"),
        ("bare", Refusal, "does not include common-auth"),
        ("link", Refusal, "link is a link: enable what it leads to, .*/sudo"),
    ],
)
def test_what_cannot_be_enabled_is_refused(pam: Path, service: str, error: type[Refusal], told: str) -> None:
    (pam / "asking").write_text("auth required pam_arena.so\n")
    (pam / "bare").write_text("auth required pam_unix.so\n")
    (pam / "link").symlink_to("sudo")
    with pytest.raises(error, match=told):
        plan(service, arena_first=False, folder=pam)


def test_an_own_file_of_somebody_else_is_not_replaced(pam: Path) -> None:
    (pam / OWN_FILE).write_text("auth sufficient pam_permit.so\n")
    with pytest.raises(Refusal, match="is not what arenactl writes"):
        plan("sudo", arena_first=False, folder=pam)


def test_a_broken_manifest_is_named(state: Path) -> None:
    (state / "sudo").mkdir()
    (state / "sudo/manifest.json").write_text("{}")
    with pytest.raises(Refusal, match=r"manifest\.json cannot be read"):
        load("sudo", state)


def test_the_folder_of_copies_is_roots_alone(tmp_path: Path) -> None:
    with pam_change.locked(tmp_path / "copies"):
        assert (tmp_path / "copies").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (Session("3", "7", "34816", "100"), "logind's session"),
        (Session("4", "7", "34817", "200"), "the audit session"),
        (Session("", "", "34816", "200"), "the terminal"),
        (Session("", "", "", "100"), "the shell"),
        (Session("4", "8", "34817", "200"), ""),
        (Session(), ""),
    ],
)
def test_a_session_is_another_only_if_nothing_is_shared(other: Session, shared: str) -> None:
    assert what_is_shared(Session("3", "7", "34816", "100"), other) == shared
