"""The one list of C sources and flags.

setup.py reads two things from here: `ffibuilder` (the cffi extension pam_arena._shim, for tests alone) and `PAM_MODULE`
(the stand-alone pam_arena.so), both made from SOURCES. Paths are relative to the repository's root, where setuptools
runs.
"""

import re
from pathlib import Path

import cffi

SOURCES = ["c_shim/wire.c", "c_shim/channel.c", "c_shim/pam_arena.c"]
DEPENDS = [
    "c_shim/protocol.h",
    "c_shim/wire.h",
    "c_shim/channel.h",
    "c_shim/module.map",
    "c_shim/shim.cdef",
    "c_shim/ffi_build.py",
]
# fmt: off
CFLAGS = [
    "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wformat=2", "-Wconversion", "-Werror",
    "-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection",
    "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3",
]
# fmt: on
LDFLAGS = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]

# The names of protocol.h, so that Python's numbers can be held against C's.
PROTOCOL_NAMES = re.findall(r"^\s*(?:#define )?(ARENA_[A-Z_0-9]+)(?: +=? ?0?x?\d)", Path("c_shim/protocol.h").read_text(), re.M)

ffibuilder = cffi.FFI()
ffibuilder.cdef(Path("c_shim/shim.cdef").read_text() + "".join(f"#define {name} ...\n" for name in PROTOCOL_NAMES))
ffibuilder.set_source(
    "pam_arena._shim",
    '#include "protocol.h"\n#include "wire.h"\n#include "channel.h"\n',
    sources=SOURCES,
    depends=DEPENDS,
    include_dirs=["c_shim"],
    libraries=["pam"],
    # What cffi and Python's headers write is not ours to mend.
    extra_compile_args=[*CFLAGS, "-Wno-error", "-Wno-conversion", "-Wno-sign-conversion"],
    extra_link_args=LDFLAGS,
)

PAM_MODULE = {
    "name": "pam_arena.security.pam_arena",
    "sources": SOURCES,
    "depends": DEPENDS,
    "include_dirs": ["c_shim"],
    "libraries": ["pam"],
    "extra_compile_args": CFLAGS,
    # -z defs: any symbol that libpam and libc do not define, a Python one say, fails the link rather than a login.
    "extra_link_args": [
        *LDFLAGS,
        "-Wl,-z,defs",
        "-Wl,--as-needed",
        "-Wl,--version-script=c_shim/module.map",
    ],
}
