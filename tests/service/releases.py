"""Releases of another protocol version, made of these sources as the release that raises the number will be: one number
is another, in C and in Python, and nothing else.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from pam_arena.protocol import VERSION

ROOT = Path(__file__).parents[2]
RUN = "import sys\nfrom arenad.__main__ import main\nsys.exit(main())\n"


def set_version(path: Path, version: int) -> None:
    """Put another version into protocol.h or protocol.py."""
    old = path.read_text()
    new = re.sub(rf"^((?:#define ARENA_)?VERSION(?: =)?) {VERSION}$", rf"\g<1> {version}", old, flags=re.M)
    assert new != old or version == VERSION
    path.write_text(new)


def release(folder: Path, version: int) -> Path:
    """arenad and its library in a folder, speaking this version and the one before; returns what Python is to run."""
    bare = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "pam_arena", folder / "pam_arena", ignore=bare)
    shutil.copytree(ROOT / "daemon", folder / "arenad", ignore=bare)
    set_version(folder / "pam_arena/protocol.py", version)
    program = folder / "run.py"  # in whose folder Python looks first
    program.write_text(RUN)
    return program


def build_module(folder: Path, version: int) -> Path:
    """The PAM module of this version."""
    sources = folder / "c_shim"
    shutil.copytree(ROOT / "c_shim", sources)
    set_version(sources / "protocol.h", version)
    made = folder / f"pam_arena-{version}.so"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
    code = [sources / name for name in ("wire.c", "channel.c", "pam_arena.c")]
    script = f"-Wl,-z,defs,--version-script={sources / 'module.map'}"
    subprocess.run(["cc", *flags, *map(os.fspath, code), "-o", made, script, "-lpam"], check=True)
    return made
