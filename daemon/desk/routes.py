"""The HTTP interface of the desk: which path is which verb. Roles are checked before anything is read of a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from pam_arena.errors import Refusal
from pam_arena.secret import Secret

from ..audit import Event, append
from ..config import Config
from ..keyfile import SEALED, export_key, noted_key
from ..sockets import peer_uid
from ..store.engine import Reader
from ..store.writer import Writer
from ..vault import Vault
from . import addresses, assignment, codes, enrol, holders, leaving, life, pins, reports, resync, tokens, verbs
from .caller import Caller
from .dates import read_until
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
        """Run a verb in a transaction of its own. A Refusal that it returns is raised once what it counted is durable."""
        done = await asyncio.wrap_future(self.writer.submit(lambda connection: verb(connection, *words)))
        if isinstance(done, Refusal):
            raise done
        return done

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

    def searches(path: str, verb: str, function: Verb) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            return web.json_response(await desk.read(function, caller, dict(request.query)))

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
        searches("/tokens", "token list", tokens.list_tokens),
        shows("/tokens/{who}", "token show", tokens.show_token, "who"),
        web.post("/tokens/{serial}/assign", _assign_token(desk)),
        does("/tokens/{who}/unassign", "token unassign", assignment.unassign_token, "who"),
        does_as_told("/tokens/{who}/replace", "token replace", assignment.replace_token, "who"),
        does_as_told("/tokens/{who}/enable", "token enable", life.enable_token, "who"),
        does("/tokens/{who}/disable", "token disable", life.disable_token, "who"),
        does("/tokens/{who}/lost", "token lost", life.lose_token, "who"),
        does("/tokens/{who}/retire", "token retire", life.retire_token, "who"),
        does_as_told("/tokens/{who}/prove", "token prove", enrol.prove_token, "who"),
        does_as_told("/tokens/{who}/resync", "token resync", resync.resync_token, "who"),
        searches("/holders", "holder list", holders.list_holders),
        web.post("/holders", _set_holders(desk)),
        shows("/holders/{who}", "holder show", holders.show_holder, "who"),
        does_as_told("/holders/{who}", "holder set", addresses.set_holder, "who"),
        does_as_told("/holders/{who}/leave", "holder leave", leaving.leave_holder, "who"),
        does("/holders/{who}/pin/reset", "pin reset", pins.reset_pin, "who"),
        does("/holders/{who}/unlock", "unlock", pins.unlock, "who"),
        does("/holders/{who}/codes/emergency", "code emergency", codes.give_emergency_codes, "who"),
        does_as_told("/holders/{who}/codes/temporary", "code temporary", codes.give_temporary_codes, "who"),
        does("/holders/{who}/grants/revoke", "grant revoke", holders.revoke_grants, "who"),
        lists("/grants", "grant list", holders.list_grants, "who"),
        lists("/reports/observe", "report observe", reports.report_observe),
        shows("/why/{ref}", "why", verbs.why, "ref"),
        web.get("/key", _key_status(desk)),
        web.post("/key/export", _key_export(desk)),
    ]


def _add_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token add")
        return web.json_response(await desk.change(enrol.add_token, caller, await _body(request)), status=201)

    return handle


def _assign_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token assign")
        wanted = await _body(request)
        name, serial = str(wanted.get("holder", "")), request.match_info["serial"]
        until = read_until(wanted, caller.now)
        return web.json_response(await desk.change(partial(assignment.assign_token, until=until), caller, serial, name))

    return handle


def _set_holders(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "holder set")
        return web.json_response(await desk.change(addresses.set_holders, caller, await _body(request)))

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
        body = await request.json() if request.can_read_body else {}
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
