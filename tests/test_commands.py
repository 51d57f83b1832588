"""What all commands of arenactl have in common, whoever wrote them."""

from collections.abc import Iterator

import click
import pytest

from pam_arena.cli import arenactl

# The last word of those that take something away which no other command gives back as it was.
TAKES_AWAY = {"leave", "replace", "reset", "restore", "retire"}


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, *words, name)
    else:
        yield words, command


EVERY = dict(commands(arenactl.main))


def option(command: click.Command, spelled: str) -> click.Option | None:
    return next((one for one in command.params if isinstance(one, click.Option) and spelled in one.opts), None)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_a_command_prints_as_table_json_or_csv(words: tuple[str, ...]) -> None:
    form = option(EVERY[words], "-o")
    assert form is not None
    assert isinstance(form.type, click.Choice)
    assert list(form.type.choices) == ["table", "json", "csv"]
    assert form.default == "table"


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_a_command_that_takes_something_away_asks_unless_told_not_to(words: tuple[str, ...]) -> None:
    asks = option(EVERY[words], "--yes")
    assert asks is not None or words[-1] not in TAKES_AWAY
    assert asks is None or asks.is_flag


def test_the_words_are_those_of_commands() -> None:
    assert {("pin", "reset"), ("restore",)} <= set(EVERY)
