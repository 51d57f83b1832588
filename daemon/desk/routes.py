"""The HTTP interface of the desk: which path is which verb. Roles are checked before anything is read of a request."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from pam_arena.errors import Refusal
from pam_arena.pin import Hasher
from pam_arena.secret import Secret

from ..config import Config
from ..keyfile import SEALED, export_key, noted_key
from ..letters.templates import FOLDER
from ..outbox import Outbox
from ..sockets import peer_uid
from ..store.engine import Reader
from ..store.marks import KEY_EXPORTED, note_time, read_time
from ..store.writer import Writer
from ..vault import Vault
from . import (
    addresses,
    assignment,
    audits,
    codes,
    doctor,
    enrol,
    holders,
    leaving,
    life,
    mails,
    pins,
    reports,
    requests,
    resync,
    tokens,
    verbs,
)
from .assigning import assignment_route
from .body import Kind, read_body
from .caller import Caller, Connection
from .dates import read_until
from .importing import Importing, import_routes
from .premises import premises_routes
from .roles import MAY, roles_of
from .saving import backup_route

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Verb = Callable[..., Any]

_NEW_TOKEN: dict[str, Kind] = {
    "serial": str,
    "seed": str,
    "type": str,
    "digits": (int, str),
    "period": (int, str),
    "algorithm": str,
    "prove": bool,
    "holder": str,
    "until": str,
}


class Desk:
    """The verbs' surroundings, the time of the last request, and how many are under way.

    config_path: arena.toml; spool: where mails wait; counts: the file that the login daemon leaves its counts in.
    """

    def __init__(
        self,
        config: Config,
        vault: Vault,
        master: Secret,
        writer: Writer,
        reader: Reader,
        *,
        config_path: Path,
        spool: Path,
        counts: Path,
    ) -> None:
        self.config, self.vault, self.master, self.writer, self.reader = config, vault, master, writer, reader
        self.config_path, self.spool, self.counts = config_path, spool, counts
        self._templates = config_path.with_name(FOLDER)
        self.last, self.under_way = time.monotonic(), 0
        self.importing = Importing(self, Hasher())

    def caller(self, request: web.Request, verb: str) -> Caller:
        """Who asks; raises HTTPForbidden for a verb that is not theirs."""
        uid = _uid_of(request)
        if not roles_of(uid, self.config.desk.admin_groups) & MAY[verb]:
            raise web.HTTPForbidden(text=f"uid {uid} may not: {verb}")
        return self.acting(f"uid:{uid}")

    def acting(self, actor: str) -> Caller:
        """What a verb is given: who asks, and with what."""
        outbox = Outbox(self.config, self.spool, self._templates)
        return Caller(actor, self.vault, self.config, int(time.time()), outbox)

    async def change(self, verb: Verb, *words: Any) -> Any:
        """Run a verb in a transaction of its own; its mails go when that is durable.

        A Refusal that it returns is raised once what it counted is durable.
        """
        job = self.writer.submit(lambda connection: verb(connection, *words))
        for caller in (word for word in words if isinstance(word, Caller)):
            job.add_done_callback(caller.outbox.settle)
        done = await asyncio.wrap_future(job)
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

    def does_as_told(path: str, verb: str, function: Verb, name: str, **kinds: Kind) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = desk.caller(request, verb)
            wanted = await read_body(request, **kinds)
            return web.json_response(await desk.change(function, caller, request.match_info[name], wanted))

        return web.post(path, handle)

    return [
        shows("/status", "status", verbs.status),
        web.post("/tokens", _add_token(desk)),
        searches("/tokens", "token list", tokens.list_tokens),
        shows("/tokens/{who}", "token show", tokens.show_token, "who"),
        web.post("/tokens/{serial}/assign", _assign_token(desk)),
        does("/tokens/{who}/unassign", "token unassign", assignment.unassign_token, "who"),
        does_as_told(
            *("/tokens/{who}/replace", "token replace", assignment.replace_token, "who"), new=str, lost=bool, until=str
        ),
        does_as_told("/tokens/{who}/enable", "token enable", life.enable_token, "who", until=str),
        does("/tokens/{who}/disable", "token disable", life.disable_token, "who"),
        does("/tokens/{who}/lost", "token lost", life.lose_token, "who"),
        does("/tokens/{who}/retire", "token retire", life.retire_token, "who"),
        does_as_told("/tokens/{who}/prove", "token prove", enrol.prove_token, "who", code=str),
        does_as_told("/tokens/{who}/resync", "token resync", resync.resync_token, "who", codes=list),
        searches("/holders", "holder list", holders.list_holders),
        web.post("/holders", _set_holders(desk)),
        shows("/holders/{who}", "holder show", holders.show_holder, "who"),
        does_as_told("/holders/{who}", "holder set", addresses.set_holder, "who", mail=str, language=str),
        does_as_told("/holders/{who}/leave", "holder leave", leaving.leave_holder, "who", retire=bool),
        does("/holders/{who}/pin/reset", "pin reset", pins.reset_pin, "who"),
        does("/holders/{who}/unlock", "unlock", pins.unlock, "who"),
        does("/holders/{who}/codes/emergency", "code emergency", codes.give_emergency_codes, "who"),
        does_as_told(
            "/holders/{who}/codes/temporary", "code temporary", codes.give_temporary_codes, "who", days=int, count=int
        ),
        does("/holders/{who}/grants/revoke", "grant revoke", holders.revoke_grants, "who"),
        lists("/requests", "request list", requests.list_requests, "state"),
        does_as_told(*("/requests/{serial}", "request add", requests.add_request, "serial"), holder=str, ticket=str, until=str),
        does("/requests/{which}/approve", "request approve", requests.approve_request, "which"),
        does_as_told("/requests/{which}/reject", "request reject", requests.reject_request, "which", why=str),
        web.get("/mails", _list_mails(desk)),
        web.get("/mails/{id}", _show_mail(desk)),
        web.post("/mails", _test_mail(desk)),
        lists("/grants", "grant list", holders.list_grants, "who"),
        lists("/reports/observe", "report observe", reports.report_observe),
        shows("/why/{ref}", "why", verbs.why, "ref"),
        *import_routes(desk),
        assignment_route(desk),
        lists("/audit", "audit list", audits.list_audit, *audits.QUERY),
        shows("/audit/verify", "audit verify", audits.verify),
        web.post("/audit/heads", _check_heads(desk)),
        web.get("/metrics", _metrics(desk)),
        shows("/doctor", "doctor", doctor.examine),
        lists("/pam/entered", "pam enable", doctor.list_entered),
        lists("/pam/granted", "pam enable", doctor.list_granted, "service", "since"),
        does_as_told("/pam/{service}/changes", "pam enable", doctor.note_change, "service", event=str, detail=str),
        *premises_routes(desk),
        backup_route(desk),
        web.get("/key", _key_status(desk)),
        web.post("/key/export", _key_export(desk)),
    ]


def _add_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token add")
        return web.json_response(await desk.change(enrol.add_token, caller, await read_body(request, **_NEW_TOKEN)), status=201)

    return handle


def _assign_token(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "token assign")
        wanted = await read_body(request, holder=str, until=str)
        name, serial = str(wanted.get("holder", "")), request.match_info["serial"]
        until = read_until(wanted, caller.now)
        return web.json_response(await desk.change(partial(assignment.assign_token, until=until), caller, serial, name))

    return handle


def _set_holders(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "holder set")
        wanted = await read_body(request, rows=list, dry_run=bool)
        return web.json_response(await desk.change(addresses.set_holders, caller, wanted))

    return handle


def _list_mails(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "mail list")
        return web.json_response(await asyncio.to_thread(mails.list_mails, desk.spool))

    return handle


def _show_mail(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "mail list")
        return web.json_response(await asyncio.to_thread(mails.show_mail, desk.spool, request.match_info["id"]))

    return handle


def _test_mail(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "mail test")
        to = str((await read_body(request, to=str)).get("to", ""))
        return web.json_response(await desk.change(mails.send_test, caller, to))

    return handle


def _key_status(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "key status")
        noted = await asyncio.to_thread(noted_key, desk.config.store.url)
        exported = await desk.read(read_time, KEY_EXPORTED)
        return web.json_response({"key": desk.vault.key_id, "store": noted, "credential": str(SEALED), "exported_at": exported})

    return handle


def _key_export(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "key export")
        passphrase = Secret(str((await read_body(request, passphrase=str)).get("passphrase", "")).encode())
        document = await asyncio.to_thread(export_key, desk.master, passphrase)
        await desk.change(_note_export, caller)
        return web.json_response({"export": document})

    return handle


def _check_heads(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "audit verify")
        return web.json_response(await desk.read(audits.check_heads, caller, await read_body(request, heads=list)))

    return handle


def _metrics(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, "metrics")
        # Imported when first asked for: most hosts never are.
        verb = importlib.import_module(".metrics", __package__).metrics
        accept = request.headers.get("Accept", "")
        text, form = await desk.read(verb, caller, desk.counts, desk.spool, accept)
        return web.Response(body=text, headers={"Content-Type": form})

    return handle


def _note_export(connection: Connection, caller: Caller) -> None:
    caller.note(connection, "key-export")
    note_time(connection, KEY_EXPORTED, caller.now)


def _uid_of(request: web.Request) -> int:
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None:
        raise web.HTTPForbidden(text="the caller is gone")
    return peer_uid(peer)
