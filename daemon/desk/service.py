"""desk.sock: HTTP and JSON in front of the verbs. Started by its socket, leaves when nobody asked for a while.

Who asks is read from the socket (SO_PEERCRED), never from the request. Errors are JSON too: {"error": text, "exit": n}.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from pathlib import Path

import sdnotify
from aiohttp import web

from pam_arena.errors import ArenaError, Refusal, SeedError, StoreError

from ..config import COUNTS
from ..journal import Journal
from ..keyfile import noted_key
from ..outbox import settle_held
from ..sockets import activated_socket
from ..store.engine import Reader, open_store, store_path, unwritable
from ..store.writer import Writer
from ..vault import Vault, read_master_key
from .routes import Desk, Handler, routes
from .settings import Settings
from .words import tell

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
_LONGEST_BODY = 1024 * 1024  # bytes: a file of 5,000 holders
_STATUS = {1: 409, 3: 503, 4: 404}


def make_app(desk: Desk, settings: Settings) -> web.Application:
    """The application: the routes, with every error as JSON."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        desk.under_way += 1
        desk.config = settings.current()
        try:
            return await handler(request)
        except (Refusal, SeedError) as refusal:
            code = refusal.exit if isinstance(refusal, Refusal) else 1
            return web.json_response({"error": str(refusal), "exit": code}, status=_STATUS[code])
        except web.HTTPException as error:
            code = 4 if error.status == 404 else 1
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return web.json_response({"error": error.text or error.reason, "exit": code}, status=error.status, headers=allowed)
        except ArenaError as error:
            log.error("%s", error)
            return web.json_response({"error": str(error), "exit": 3}, status=503)
        finally:
            desk.under_way -= 1
            desk.last = time.monotonic()

    app = web.Application(middlewares=[errors], client_max_size=_LONGEST_BODY)
    app.add_routes(routes(desk))
    return app


def run(config_path: Path, spool: Path, runtime: Path, journal_path: Path) -> int:
    """Serve until idle or SIGTERM. Raises ArenaError if it cannot begin."""
    settings = Settings(config_path)
    config = settings.current()
    listening = activated_socket(socket.SOCK_STREAM, "arenad desk", "arena-desk.socket")
    engine = open_store(config.store.url)
    master = read_master_key(os.environ.get("CREDENTIALS_DIRECTORY"))
    vault = Vault(master)
    writer = Writer(engine, Journal(journal_path, "arena-desk", vault.key_id, tell).tell)
    try:
        noted = noted_key(config.store.url)
        if noted is None:
            raise StoreError("the store is new: start arenad once, it completes it (systemctl start arenad)")
        if noted != vault.key_id:
            raise ArenaError(f"the store was made under master key {noted}, and this one is {vault.key_id}")
        try:
            writer.submit(lambda connection: settle_held(connection, spool)).result()
        except StoreError as error:  # what needs the spool will say so; all else goes on
            log.error("%s", error)
        counts = runtime / COUNTS
        desk = Desk(config, vault, master, writer, Reader(engine), config_path=config_path, spool=spool, counts=counts)
        asyncio.run(_serve(desk, settings, listening))
    finally:
        writer.close()
    return 0


async def _serve(desk: Desk, settings: Settings, listening: socket.socket) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(make_app(desk, settings), access_log=None)
    await runner.setup()
    # A copy: asyncio from Python 3.13 on unlinks the path of a socket that it closes, and this one is systemd's.
    site = web.SockSite(runner, listening, shutdown_timeout=5)
    await site.start()
    await desk.importing.start()
    sdnotify.SystemdNotifier().notify("READY=1")
    store = store_path(desk.config.store.url)
    read_only = bool(unwritable(store))
    while not stop.is_set() and (desk.under_way or time.monotonic() - desk.last < IDLE_SECONDS):
        if read_only and not unwritable(store) and not desk.under_way:
            break  # SQLite goes on as read-only for as long as any of our connections is open; who asks next starts us afresh
        try:
            await asyncio.wait_for(stop.wait(), 1 if read_only else IDLE_SECONDS / 10)
        except TimeoutError:
            continue
    sdnotify.SystemdNotifier().notify("STOPPING=1")
    # The process ends with its listening socket open: closing it would unlink systemd's path (Python 3.13).
    await asyncio.wait_for(_drain(desk), 5)


async def _drain(desk: Desk) -> None:
    """Let a request under way have its answer."""
    await asyncio.wrap_future(desk.writer.submit(lambda connection: None))
    await asyncio.sleep(0.1)
