"""What the built module shows and wants, and how much C there is to read."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "pam_arena/security/pam_arena.so"


def run(*command: str) -> str:
    return subprocess.run([*command, str(MODULE)], check=True, capture_output=True, text=True).stdout


def dynamic(tag: str) -> list[str]:
    return re.findall(rf"\({tag}\).*?\[(.+?)\]", run("readelf", "--dynamic", "--wide"))


def test_it_exports_the_four_entry_points_alone() -> None:
    lines = [line.split() for line in run("nm", "--dynamic", "--defined-only").splitlines()]
    assert sorted((kind, name.split("@")[0]) for _, kind, name in lines) == [
        ("T", "pam_sm_acct_mgmt"),
        ("T", "pam_sm_authenticate"),
        ("T", "pam_sm_chauthtok"),
        ("T", "pam_sm_setcred"),
    ]


def test_it_wants_libpam_and_libc_alone() -> None:
    assert sorted(dynamic("NEEDED")) == ["libc.so.6", "libpam.so.0"]


def test_it_looks_for_libraries_nowhere_of_its_own() -> None:
    assert dynamic("RUNPATH") == []
    assert dynamic("RPATH") == []


def test_it_knows_nothing_of_python() -> None:
    assert not re.search(r"\bPy[A-Z_]", run("nm", "--dynamic"))


def test_it_is_hardened_as_debian_wants() -> None:
    assert "BIND_NOW" in run("readelf", "--dynamic", "--wide")
    segments = run("readelf", "--segments", "--wide")
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW  ", segments)
    assert "__stack_chk_fail" in run("nm", "--dynamic")


def test_the_c_side_is_read_in_an_hour() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "c_shim").glob("*.[ch]")}
    assert set(lines) >= {"pam_arena.c", "channel.c", "wire.c", "protocol.h"}
    assert sum(lines.values()) < 1000
    assert lines["pam_arena.c"] < 400
