"""Handing out a box of keys: many tokens to many people in one transaction, all or none."""

import json
from typing import TYPE_CHECKING

from aiohttp import web

from pam_arena.errors import ArenaError, Refusal

from ..store.imports import ROWS
from .assignment import assign_token
from .caller import Caller, Connection, Result
from .importing import large_body
from .imports import tell

if TYPE_CHECKING:
    from .routes import Desk


class _Undone(ArenaError):
    """A dry run's way out of its transaction."""

    def __init__(self, result: Result) -> None:
        super().__init__("a dry run")
        self.result = result


def assign_tokens(connection: Connection, caller: Caller, rows: list[tuple[str, str, str]], dry: bool) -> Result:
    """Assign tokens by (place, serial, user), as `token assign` does each. Raises Refusal with all that is wrong."""
    problems = []
    for at, serial, user in rows:
        try:
            assign_token(connection, caller, serial, user)
        except Refusal as refusal:
            problems.append(f"{at}, serial {serial}: {refusal}")
    if problems:
        raise Refusal(tell(problems, len(problems)))
    result = {"assigned": len(rows), "people": len({user for _, _, user in rows}), "dry_run": dry}
    if dry:
        raise _Undone(result)
    return result


def read_assignments(body: bytes) -> tuple[list[tuple[str, str, str]], bool]:
    """The rows of a request, and whether it is a dry run. Raises Refusal."""
    try:
        wanted = json.loads(body)
        rows = [(row["at"], row["serial"], row["user"]) for row in wanted["rows"]]
        dry = wanted.get("dry_run", False)
        known = wanted.keys() <= {"rows", "dry_run"} and all(row.keys() == {"at", "serial", "user"} for row in wanted["rows"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        rows, dry, known = [], False, False
    texts = all(isinstance(text, str) and len(text) <= 256 and text.isprintable() for row in rows for text in row)
    if not 0 < len(rows) <= ROWS or not (texts and known and isinstance(dry, bool)):
        raise Refusal(
            f"rows: a list of 1 to {ROWS} objects with at, serial and user is expected, and no more than dry_run beside it"
        )
    return rows, dry


def assignment_route(desk: "Desk") -> web.RouteDef:
    """The path of bulk assignment."""

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token assign")
        rows, dry = read_assignments(await large_body(request))
        try:
            return web.json_response(await desk.change(assign_tokens, caller, rows, dry))
        except _Undone as undone:
            return web.json_response(undone.result)

    return web.post("/assignments", handle)
