"""The HTTP interface of the desk: which path is which verb. Roles are checked before anything is read of a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pam_arena.secret import Secret

from ..audit import Event, append
from ..config import Config
from ..keyfile import SEALED, export_key, noted_key
from ..sockets import peer_uid
from ..store.engine import Reader
from ..store.writer import Writer
from ..vault import Vault
from . import codes, doctor, holders, reports, resync, verbs
from .caller import Caller
from .roles import MAY, roles_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Verb = Callable[..., Any]


class Desk:
    """The verbs' surroundings, and the time of the last request."""

    def __init__(self, config: Config, vault: Vault, master: Secret, writer: Writer, reader: Reader) -> None:
        self.config, self.vault, self.master, self.writer, self.reader = config, vault, master, writer, reader
        self.last = time.monotonic()

    def caller(self, request: web.Request, verb: str) -> Caller:
        """Who asks; raises HTTPForbidden for a verb that is not theirs."""
        uid = _uid_of(request)
        if not roles_of(uid, self.config.desk.admin_groups) & MAY[verb]:
            raise web.HTTPForbidden(text=f"uid {uid} may not: {verb}")
        return Caller(f"uid:{uid}", self.vault, self.config, int(time.time()))

    async def change(self, verb: Verb, *words: Any) -> Any:
        """Run a verb in a transaction of its own."""
        return await asyncio.wrap_future(self.writer.submit(lambda connection: verb(connection, *words)))

    async def read(self, verb: Verb, *words: Any) -> Any:
        """Run a verb that only reads, without keeping a login from writing."""
        return await asyncio.to_thread(self.reader.read, lambda connection: verb(connection, *words))


def routes(desk: Desk) -> list[web.RouteDef]:
    """The whole interface."""

    def shows(path: str, verb: str, function: Verb, *names: str) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            return web.json_response(await desk.read(function, caller, *(request.match_info[name] for name in names)))

        return web.get(path, handle)

    def lists(path: str, verb: str, function: Verb, *filters: str) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            return web.json_response(await desk.read(function, caller, *(request.query.get(name) for name in filters)))

        return web.get(path, handle)

    def does(path: str, verb: str, function: Verb, name: str) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            return web.json_response(await desk.change(function, caller, request.match_info[name]))

        return web.post(path, handle)

    def does_as_told(path: str, verb: str, function: Verb, name: str) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            wanted = await _body(request)
            return web.json_response(await desk.change(function, caller, request.match_info[name], wanted))

        return web.post(path, handle)

    return [
        shows("/status", "status", verbs.status),
        web.post("/tokens", _add_token(desk)),
        lists("/tokens", "token list", verbs.list_tokens, "holder", "state"),
        shows("/tokens/{serial}", "token show", verbs.show_token, "serial"),
        web.post("/tokens/{serial}/assign", _assign_token(desk)),
        does("/tokens/{serial}/unassign", "token unassign", verbs.unassign_token, "serial"),
        does("/tokens/{serial}/enable", "token enable", verbs.enable_token, "serial"),
        does("/tokens/{serial}/disable", "token disable", verbs.disable_token, "serial"),
        does_as_told("/tokens/{serial}/resync", "token resync", resync.resync_token, "serial"),
        shows("/holders/{who}", "holder show", holders.show_holder, "who"),
        does_as_told("/holders/{who}", "holder set", holders.set_holder, "who"),
        does("/holders/{who}/pin/reset", "pin reset", verbs.reset_pin, "who"),
        does("/holders/{who}/unlock", "unlock", verbs.unlock, "who"),
        does("/holders/{who}/codes/emergency", "code emergency", codes.give_emergency_codes, "who"),
        does_as_told("/holders/{who}/codes/temporary", "code temporary", codes.give_temporary_codes, "who"),
        does("/holders/{who}/grants/revoke", "grant revoke", holders.revoke_grants, "who"),
        lists("/grants", "grant list", holders.list_grants, "who"),
        lists("/reports/observe", "report observe", reports.report_observe),
        shows("/why/{ref}", "why", verbs.why, "ref"),
        shows("/doctor", "doctor", doctor.examine),
        lists("/pam/entered", "pam enable", doctor.list_entered),
        lists("/pam/granted", "pam enable", doctor.list_granted, "service", "since"),
        does_as_told("/pam/{service}", "pam enable", doctor.note_change, "service"),
        web.get("/key", _key_status(desk)),
        web.post("/key/export", _key_export(desk)),
    ]


def _add_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token add")
        return web.json_response(await desk.change(verbs.add_token, caller, await _body(request)), status=201)

    return handle


def _assign_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token assign")
        name = str((await _body(request)).get("holder", ""))
        return web.json_response(await desk.change(verbs.assign_token, caller, request.match_info["serial"], name))

    return handle


def _key_status(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "key status")
        noted = await asyncio.to_thread(noted_key, desk.config.store.url)
        return web.json_response({"key": desk.vault.key_id, "store": noted, "credential": str(SEALED)})

    return handle


def _key_export(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "key export")
        passphrase = Secret(str((await _body(request)).get("passphrase", "")).encode())
        document = await asyncio.to_thread(export_key, desk.master, passphrase)
        await desk.change(
            lambda connection: append(connection, caller.now, Event("key-export", actor=caller.actor, service="desk"))
        )
        return web.json_response({"export": document})

    return handle


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
