"""The manual pages of the commands: each command and option that there is, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pam_arena.cli import arena_key, arenactl

MANUAL = Path(__file__).parents[1] / "packaging/debian/man"
COMMANDS = {"arenactl": arenactl.main, "arena-key": arena_key.main}


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command under a group, by the words that call it."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, *words, name)
    else:
        yield words, command


def manual(name: str, section: str = "") -> str:
    """The text of a page or of one of its sections, without macros and escapes."""
    text = (MANUAL / f"{name}.1").read_text()
    if section:
        text = text.partition(f"\n.SH {section}\n")[2].partition("\n.SH ")[0]
    text = re.sub(r"\\f.", "", text).replace("\\-", "-").replace('"', "")
    return re.sub(r"^\.[A-Z]+ ", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_synopsis_lists_every_command_and_no_other(name: str) -> None:
    lines = manual(name, "SYNOPSIS").splitlines()
    listed = [tuple(line.split()[1:]) for line in lines if line.startswith(f"{name} ")]
    assert sorted(listed) == sorted(words for words, _ in commands(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    text, explained = manual(name), manual(name, "COMMANDS")
    for words, command in commands(COMMANDS[name]):
        assert re.search(rf"^{' '.join(words)}\b", explained, re.MULTILINE), words
        for option in (one for one in command.params if isinstance(one, click.Option)):
            assert any(spelled in text for spelled in option.opts), (words, option.opts)
        assert command.help, words
