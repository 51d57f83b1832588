"""A backup over HTTP: a thread writes it into a pipe, and it goes out as it comes; the end only once it is in the audit."""

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from aiohttp import web

from pam_arena.errors import ArenaError, StoreError
from pam_arena.secret import Secret

from ..backup import back_up
from ..sealedfile import CHUNK
from ..store.marks import KEY_EXPORTED, note_time
from .body import read_body
from .caller import Caller, Connection

if TYPE_CHECKING:
    from .routes import Desk

log = logging.getLogger(__name__)


def backup_route(desk: "Desk") -> web.RouteDef:
    """POST /backup, with a passphrase: the sealed file. One that broke off has no end, and restores nothing."""

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "backup")
        passphrase = Secret(str((await read_body(request, passphrase=str)).get("passphrase", "")).encode())
        reader, writer = os.pipe()
        making = asyncio.create_task(asyncio.to_thread(_make, desk, writer, passphrase, caller.now))
        saved = os.fdopen(reader, "rb")
        try:
            return await _send(request, desk, caller, saved, making)
        finally:
            await asyncio.to_thread(saved.close)  # whoever still writes gets EPIPE
            with suppress(ArenaError):
                await making

    return web.post("/backup", handle)


def _make(desk: "Desk", writer: int, passphrase: Secret, now: int) -> dict[str, Any]:
    try:
        with os.fdopen(writer, "wb") as out:
            return back_up(desk.config_path, out, passphrase, desk.master, now)
    except OSError as error:
        raise StoreError(f"the backup broke off: {error.strerror}") from None


async def _send(
    request: web.Request, desk: "Desk", caller: Caller, saved: BinaryIO, making: "asyncio.Task[dict[str, Any]]"
) -> web.StreamResponse:
    held = await asyncio.to_thread(saved.read, CHUNK)
    if len(held) < CHUNK:  # all of it, or what came before a failure, which can still be told
        await making
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    try:
        while more := await asyncio.to_thread(saved.read, CHUNK):
            await response.write(held)
            held = more
        await desk.change(_note, caller, await making)
    except ArenaError as error:
        log.error("%s", error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write(held)
    await response.write_eof()
    return response


def _note(connection: Connection, caller: Caller, about: dict[str, Any]) -> None:
    caller.note(connection, "backup", detail=f"{about['holders']} holders, {about['tokens']} tokens")
    note_time(connection, KEY_EXPORTED, caller.now)  # it has the key in it
