"""What all commands share: groups that name their commands to who asked for one they have not, and any locale."""

import sys
from io import TextIOWrapper
from typing import Any

import click


class Group(click.Group):
    """A group whose unknown commands are a usage error with the list of the known ones."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no command {args[0]!r}; there are: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def survive_any_locale() -> None:
    """Have what the locale cannot write shown as `?`: a name or a sentence must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
