"""Every gate that needs no running service: formatters, type checker, static analysers."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def passes(*command: str | Path) -> None:
    """Run a gate in the project's folder; what it says is the failure's text."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def tracked(*patterns: str) -> list[str]:
    """The files that git has, or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def shell_scripts() -> list[str]:
    """Files that a shell interprets, by their first line."""
    first = ((name, (ROOT / name).read_bytes().partition(b"\n")[0]) for name in tracked())
    return [name for name, line in first if line in (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")]


def test_ruff_finds_nothing() -> None:
    passes(
        BIN / "ruff",
        "check",
        "--quiet",
        ".",
        "packaging/arenad",
        "packaging/arenactl",
        "packaging/arena-key",
        "tests/host/demo",
    )


def test_python_is_formatted() -> None:
    passes(
        BIN / "ruff",
        "format",
        "--check",
        ".",
        "packaging/arenad",
        "packaging/arenactl",
        "packaging/arena-key",
        "tests/host/demo",
    )


def test_types_are_strict() -> None:
    passes(
        BIN / "mypy",
        "--strict",
        "--python-executable",
        ROOT / ".venv-lint/bin/python",
        "--no-error-summary",
        "pam_arena",
        "daemon",
    )


def test_c_is_formatted() -> None:
    passes("clang-format", "--dry-run", "-Werror", *tracked("c_shim/*.c", "c_shim/*.h"))


@pytest.mark.parametrize("source", tracked("c_shim/*.c"))
def test_gcc_analyzes_c_without_a_finding(source: str) -> None:
    flags = runpy.run_path(str(ROOT / "c_shim/ffi_build.py"), run_name="__lint__")["CFLAGS"]
    passes("gcc", "-fanalyzer", "-Werror", "-O2", *flags, "-Ic_shim", "-c", source, "-o", "/dev/null")


def test_shell_scripts_are_clean() -> None:
    scripts = shell_scripts()
    assert "tests/host/testhost" in scripts
    assert "packaging/debian/libpam-arena.prerm" in scripts
    passes("shellcheck", *scripts)
