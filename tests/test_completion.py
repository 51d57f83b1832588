"""Completion by the tab key: in real shells, from the files that the package ships, and nothing of Python until it is asked."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from pam_arena.cli import arena_key, arenactl

sys.path.insert(0, str(Path(__file__).with_name("host")))
from terminal import Terminal  # found by the line above: tests/ is no package

SHIPPED = Path(__file__).parents[1] / "packaging/completion"
COMMANDS: dict[str, click.Command] = {"arenactl": arenactl.main, "arena-key": arena_key.main}
PROGRAM = """#!{python}
import sys
open({log!r}, "a").write("started\\n")
from pam_arena.cli.{module} import main
sys.exit(main(prog_name={name!r}))
"""


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The commands in a folder of PATH; each start leaves a line in the file returned."""
    log = tmp_path / "started"
    log.touch()
    (tmp_path / "bin").mkdir()
    for name in COMMANDS:
        program = tmp_path / "bin" / name
        text = PROGRAM.format(python=sys.executable, log=str(log), module=name.replace("-", "_"), name=name)
        program.write_text(text)
        program.chmod(0o755)
    return log


def shell(started: Path, *argv: str) -> Terminal:
    """An interactive shell that knows the commands, at its first prompt."""
    return Terminal(["env", "-i", f"PATH={started.parent}/bin:/usr/bin:/bin", "TERM=dumb", f"HOME={started.parent}", *argv])


def press_tab(terminal: Terminal, typed: str) -> None:
    os.write(terminal.master, typed.encode() + b"\t")


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, started: Path) -> Iterator[Terminal]:
    home = started.parent
    if request.param == "bash":
        for name in COMMANDS:
            with (home / "rc").open("a") as out:
                out.write(f"source {SHIPPED}/bash/{name}\n")
        (home / "rc").open("a").write("PS1='ready> '\n")
        one = shell(started, "bash", "--noprofile", "--rcfile", str(home / "rc"), "-i")
    else:
        shutil.copytree(SHIPPED / "zsh", home / "functions")
        (home / ".zshrc").write_text(f"fpath=({home}/functions $fpath)\nautoload -U compinit; compinit -u -D\nPS1='ready> '\n")
        one = shell(started, "zsh", "-o", "no_global_rcs", "-i")
    one.expect("ready> ", timeout=30)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("arenactl aud", "arenactl audit "),
        ("arenactl audit ver", "arenactl audit verify "),
        ("arenactl audit list --fol", "arenactl audit list --follow "),
        ("arena-key pi", "arena-key pin "),
    ],
)
def test_a_word_is_completed(terminal: Terminal, started: Path, typed: str, completed: str) -> None:
    assert started.read_text() == ""  # a shell that starts pays nothing
    press_tab(terminal, typed)
    terminal.expect(completed[len(typed) :], timeout=30)
    assert started.read_text() == "started\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_shipped_file_is_what_click_generates(name: str) -> None:
    made = BashComplete(COMMANDS[name], {}, name, f"_{name.upper().replace('-', '_')}_COMPLETE")
    assert (SHIPPED / "bash" / name).read_text().strip() == (made.source_template % made.source_vars()).strip()
    zsh = (SHIPPED / "zsh" / f"_{name}").read_text()
    assert zsh.startswith(f"#compdef {name}\n")
    assert f"_{name.upper().replace('-', '_')}_COMPLETE=zsh_complete {name}" in zsh
