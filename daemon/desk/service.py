"""desk.sock: HTTP and JSON in front of the verbs. Started by its socket, leaves when nobody asked for a while.

Who asks is read from the socket (SO_PEERCRED), never from the request. Errors are JSON too: {"error": text, "exit": n}.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import sdnotify
from aiohttp import web

from pam_arena.errors import ArenaError, Refusal, SeedError, StoreError
from pam_arena.secret import Secret

from ..audit import Event, append
from ..config import Config, load
from ..keyfile import SEALED, export_key, noted_key
from ..sockets import activated_socket, peer_uid
from ..store.engine import open_store
from ..store.writer import Writer
from ..vault import Vault, read_master_key
from . import verbs
from .roles import MAY, roles_of

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
_STATUS = {1: 409, 3: 503, 4: 404}
_NO_RIGHT = 403

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Desk:
    """The verbs' surroundings, and the time of the last request."""

    def __init__(self, config: Config, vault: Vault, master: Secret, writer: Writer) -> None:
        self.config, self.vault, self.master, self.writer = config, vault, master, writer
        self.last = time.monotonic()

    def caller(self, request: web.Request, verb: str) -> verbs.Caller:
        """Who asks; raises HTTPForbidden for a verb that is not theirs."""
        uid = _uid_of(request)
        if not roles_of(uid, self.config.desk.admin_groups) & MAY[verb]:
            raise web.HTTPForbidden(text=f"uid {uid} may not: {verb}")
        return verbs.Caller(f"uid:{uid}", self.vault, self.config, int(time.time()))

    async def run(self, verb: Callable[..., Any], *words: Any) -> Any:
        """Run a verb in a transaction of its own."""
        return await asyncio.wrap_future(self.writer.submit(lambda connection: verb(connection, *words)))


def routes(desk: Desk) -> list[web.RouteDef]:
    """The whole interface."""

    def path_words(verb: str, function: Callable[..., Any], *names: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            return web.json_response(await desk.run(function, caller, *(request.match_info[name] for name in names)))

        return handle

    async def add(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token add")
        return web.json_response(await desk.run(verbs.add_token, caller, await _body(request)), status=201)

    async def assign(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token assign")
        name = str((await _body(request)).get("holder", ""))
        return web.json_response(await desk.run(verbs.assign_token, caller, request.match_info["serial"], name))

    async def list_all(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token list")
        wanted = partial(verbs.list_tokens, holder=request.query.get("holder"), state=request.query.get("state"))
        return web.json_response(await desk.run(wanted, caller))

    async def key_status(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "key status")
        noted = await asyncio.to_thread(noted_key, desk.config.store.url)
        return web.json_response({"key": desk.vault.key_id, "store": noted, "credential": str(SEALED)})

    async def key_export(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "key export")
        passphrase = Secret(str((await _body(request)).get("passphrase", "")).encode())
        document = await asyncio.to_thread(export_key, desk.master, passphrase)
        await desk.run(
            lambda connection: append(connection, caller.now, Event("key-export", actor=caller.actor, service="desk"))
        )
        return web.json_response({"export": document})

    return [
        web.get("/status", path_words("status", verbs.status)),
        web.post("/tokens", add),
        web.get("/tokens", list_all),
        web.get("/tokens/{serial}", path_words("token show", verbs.show_token, "serial")),
        web.post("/tokens/{serial}/assign", assign),
        web.post("/tokens/{serial}/unassign", path_words("token unassign", verbs.unassign_token, "serial")),
        web.post("/tokens/{serial}/enable", path_words("token enable", verbs.enable_token, "serial")),
        web.post("/tokens/{serial}/disable", path_words("token disable", verbs.disable_token, "serial")),
        web.post("/holders/{who}/pin/reset", path_words("pin reset", verbs.reset_pin, "who")),
        web.post("/holders/{who}/unlock", path_words("unlock", verbs.unlock, "who")),
        web.get("/why/{ref}", path_words("why", verbs.why, "ref")),
        web.get("/key", key_status),
        web.post("/key/export", key_export),
    ]


def make_app(desk: Desk) -> web.Application:
    """The application: the routes, with every error as JSON."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        desk.last = time.monotonic()
        try:
            return await handler(request)
        except (Refusal, SeedError) as refusal:
            code = refusal.exit if isinstance(refusal, Refusal) else 1
            return web.json_response({"error": str(refusal), "exit": code}, status=_STATUS[code])
        except web.HTTPException as error:
            code = 4 if error.status == 404 else 1
            return web.json_response({"error": error.text or error.reason, "exit": code}, status=error.status)
        except ArenaError as error:
            log.error("%s", error)
            return web.json_response({"error": str(error), "exit": 3}, status=503)
        finally:
            desk.last = time.monotonic()

    app = web.Application(middlewares=[errors], client_max_size=64 * 1024)
    app.add_routes(routes(desk))
    return app


def run(config_path: Path) -> int:
    """Serve until idle or SIGTERM. Raises ArenaError if it cannot begin."""
    config = load(config_path)
    listening = activated_socket(socket.SOCK_STREAM, "arenad desk", "arena-desk.socket")
    writer = Writer(open_store(config.store.url))
    try:
        master = read_master_key(os.environ.get("CREDENTIALS_DIRECTORY"))
        vault = Vault(master)
        noted = noted_key(config.store.url)
        if noted is None:
            raise StoreError("the store is new: start arenad once, it completes it (systemctl start arenad)")
        if noted != vault.key_id:
            raise ArenaError(f"the store was made under master key {noted}, and this one is {vault.key_id}")
        asyncio.run(_serve(Desk(config, vault, master, writer), listening))
    finally:
        writer.close()
    return 0


async def _serve(desk: Desk, listening: socket.socket) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(make_app(desk), access_log=None)
    await runner.setup()
    # A copy: asyncio from Python 3.13 on unlinks the path of a socket that it closes, and this one is systemd's.
    site = web.SockSite(runner, listening, shutdown_timeout=5)
    await site.start()
    sdnotify.SystemdNotifier().notify("READY=1")
    while not stop.is_set() and time.monotonic() - desk.last < IDLE_SECONDS:
        try:
            await asyncio.wait_for(stop.wait(), IDLE_SECONDS / 10)
        except TimeoutError:
            continue
    sdnotify.SystemdNotifier().notify("STOPPING=1")
    # The process ends with its listening socket open: closing it would unlink systemd's path (Python 3.13).
    await asyncio.wait_for(_drain(desk), 5)


async def _drain(desk: Desk) -> None:
    """Let a request under way have its answer."""
    await asyncio.wrap_future(desk.writer.submit(lambda connection: None))
    await asyncio.sleep(0.1)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is to be a JSON object")
    return body


def _uid_of(request: web.Request) -> int:
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None:
        raise web.HTTPForbidden(text="the caller is gone")
    return peer_uid(peer)
