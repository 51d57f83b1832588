"""Builds two shared objects from one list of C sources (c_shim/ffi_build.py), and the catalogues of the texts."""

import os
import re
import runpy
import shlex
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SHIM = runpy.run_path(os.path.join("c_shim", "ffi_build.py"), run_name="__setup__")


class PamModule(Extension):
    """A shared object that is no Python extension: plain name, no Python headers."""


class BuildExt(build_ext):
    """Builds PamModules with one plain call of the C compiler."""

    def get_ext_filename(self, fullname):
        ext = self.ext_map.get(fullname) or self.ext_map.get(fullname.split(".")[-1])
        if isinstance(ext, PamModule):
            return os.path.join(*fullname.split(".")) + ".so"
        return super().get_ext_filename(fullname)

    def build_extension(self, ext):
        if not isinstance(ext, PamModule):
            super().build_extension(ext)
            return
        # CC, CPPFLAGS, CFLAGS and LDFLAGS from the environment alone: Python's recorded flags would add its headers
        # and (pyenv, conda) a RUNPATH into a home folder.
        env = {k: shlex.split(os.environ.get(k, "")) for k in ("CPPFLAGS", "CFLAGS", "LDFLAGS")}
        out = self.get_ext_fullpath(ext.name)
        self.mkpath(os.path.dirname(out))
        command = [*shlex.split(os.environ.get("CC", "cc")), "-shared", "-fPIC", "-O2", "-g"]
        command += [*env["CPPFLAGS"], *env["CFLAGS"], *ext.extra_compile_args]
        command += [*(f"-I{d}" for d in ext.include_dirs), *ext.sources, "-o", out]
        command += [*env["LDFLAGS"], *ext.extra_link_args, *(f"-l{name}" for name in ext.libraries)]
        self.spawn(command)


class BuildPy(build_py):
    """Compiles the catalogues beside their sources first."""

    def run(self):
        from babel.messages.mofile import write_mo
        from babel.messages.pofile import read_po

        for source in Path("pam_arena/locale").glob("*/LC_MESSAGES/arena.po"):
            with source.open("rb") as po, source.with_suffix(".mo").open("wb") as mo:
                write_mo(mo, read_po(po))
        super().run()


def daemon_packages():
    """The folder daemon/ is installed as `arenad`: python-daemon owns the name `daemon`."""
    return ["arenad", *(f"arenad.{name}" for name in find_packages("daemon"))]


setup(
    name="pam_arena",
    version=re.search(r'__version__ = "(.+)"', Path("pam_arena/__init__.py").read_text())[1],
    description="A PIN and a one-time code in front of every login",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["pam_arena", "pam_arena.*"]), "pam_arena.security", *daemon_packages()],
    package_dir={"arenad": "daemon", "pam_arena.security": "pam_arena/security"},
    package_data={"pam_arena": ["locale/*/LC_MESSAGES/*.mo"], "arenad.letters": ["*.txt"]},
    install_requires=[
        "alembic>=1.8",
        "aiohttp>=3.8",
        "argon2-cffi>=21.1",
        "attrs>=22.2",
        "click>=8.1",
        "cryptography>=38",
        "httpx>=0.23",
        "prometheus_client>=0.16",
        "pyotp>=2.6",
        "python-pam>=2.0",
        "python-pskc>=1.2",
        "rich>=13.3",
        "sdnotify>=0.3",
        "segno>=1.4",
        "SQLAlchemy>=1.4.46",
    ],
    cffi_modules=["c_shim/ffi_build.py:ffibuilder"],
    ext_modules=[PamModule(**SHIM["PAM_MODULE"])],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    zip_safe=False,
)
