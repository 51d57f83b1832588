"""What the C sources may be made of: short functions, no state between calls, and no call that a login must not make."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "pam_arena/security/pam_arena.so"
SOURCES = sorted((ROOT / "c_shim").glob("*.c"))

# All that the module calls: no environment, thread, signal, file, child or other socket; printing is pam_syslog's.
PAM = {"pam_get_item", "pam_get_user", "pam_getenv", "pam_set_item", "pam_strerror", "pam_syslog"}
SOCKET = {"clock_gettime", "close", "connect", "getsockopt", "poll", "recv", "send", "socket"}
MEMORY = {"explicit_bzero", "free", "memchr", "memcpy", "memset", "strcmp", "strlen", "strncmp", "strnlen"}
OTHER = {"__errno_location", "getuid", "strerror"}
# What the compiler puts in of itself: stack protection, and what it makes of the calls above.
COMPILER = {"__stack_chk_fail", "__memcpy_chk", "__memset_chk", "__explicit_bzero_chk", "__recv_chk", "__poll_chk"}
WEAK = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__"}


def names(*command: str) -> list[tuple[str, str]]:
    """Kind and name of each symbol."""
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [(line.split()[-2], line.split()[-1].split("@")[0]) for line in out.splitlines() if line]


def test_the_module_calls_what_it_needs_and_nothing_else() -> None:
    called = {name for _, name in names("nm", "--dynamic", "--undefined-only", str(MODULE))}
    assert called <= PAM | SOCKET | MEMORY | OTHER | COMPILER | WEAK
    assert called >= PAM | {"connect", "getsockopt", "getuid"}
    assert called & {"explicit_bzero", "__explicit_bzero_chk"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_nothing_is_kept_between_calls(source: Path, tmp_path: Path) -> None:
    # Without PIE: a constant with an address in it would else stand among the data, until the loader has relocated it.
    flags = ["-std=c11", "-D_GNU_SOURCE", "-fno-common", "-fno-pie", "-O0"]
    compiled = str(tmp_path / "one.o")
    subprocess.run(["cc", *flags, "-I", str(source.parent), "-c", str(source), "-o", compiled], check=True)
    kinds = {kind for kind, _ in names("nm", compiled)}
    assert kinds <= set("TtrRU"), "a static or global variable that can change"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_function_fits_on_a_screen(source: Path) -> None:
    # clang-format, which test_lint.py holds the sources to, puts a function's braces at the margin.
    lengths = [len(body.splitlines()) for body in re.findall(r"^\{\n.*?^\}", source.read_text(), re.M | re.S)]
    assert len(lengths) > 4
    assert max(lengths) <= 60
