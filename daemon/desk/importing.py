"""Imports over HTTP: begun, fed, finished or given up by requests; what no client ends any more is undone by itself.

POST /imports, then /imports/ID/rows as often as needed, then /imports/ID/finish, or /abort. A refusal ends an import.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import define, field

from pam_arena.errors import ArenaError, NotFound, Refusal
from pam_arena.pin import Hasher

from ..store import imports as store
from . import imports
from .body import read_body
from .caller import Caller

if TYPE_CHECKING:
    from .routes import Desk

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0  # after which an import that nobody feeds is given up
_LARGEST = 4 * 1024 * 1024  # bytes of a request with rows
_LONGEST_SOURCE = 1000  # characters
_VERB = "token import"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@define(eq=False)
class _Open:
    """An import that a client feeds. The lock keeps its requests apart, and the end of it from them."""

    job: imports.Import
    last: float = field(factory=time.monotonic)
    rest_until: float = 0.0
    lock: asyncio.Lock = field(factory=asyncio.Lock)


class Importing:
    """The imports under way at one desk, and the bookkeeping of those that are over."""

    def __init__(self, desk: "Desk", hasher: Hasher) -> None:
        self._desk, self._hasher = desk, hasher
        self._open: dict[str, _Open] = {}
        self._begun = 0
        self._beginning = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._undoing: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up what an earlier desk left."""
        try:
            async with self._beginning:
                await self._resume()
        except ArenaError as error:  # the first request will say so
            log.error("%s", error)

    async def _resume(self) -> None:
        """Settle what is in effect, undo what never will be, but for what is under way here."""
        for row in await self._desk.read(store.list_batches):
            if row.id not in {one.job.number for one in self._open.values()} | set(self._tasks):
                self._tidy(row.id, row.actor, done=bool(row.done))

    async def begin(self, caller: Caller, wanted: dict[str, Any]) -> dict[str, str]:
        """Begin an import; returns its id."""
        source, assign, dry = str(wanted.get("source", "")), bool(wanted.get("assign")), bool(wanted.get("dry_run"))
        if len(source) > _LONGEST_SOURCE:
            raise Refusal(f"source: a text of at most {_LONGEST_SOURCE} characters is expected")
        # One at a time: a batch that another request has just begun is not to be taken for a forgotten one.
        async with self._beginning:
            await self._resume()
            if self._undoing:  # serials of an import that is being undone would be in the way
                await asyncio.wait(set(self._undoing))
            number = 0 if dry else await self._desk.change(store.begin_batch, caller.now, caller.actor, source)
            self._begun += 1
            name = f"{self._begun}-{number}"
            self._open[name] = _Open(imports.Import(number, caller.actor, source, assign))
        watch = asyncio.create_task(self._watch(name))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return {"id": name}

    async def add(self, caller: Caller, name: str, body: bytes) -> dict[str, Any]:
        """Add rows. Of a dry run, it tells the first problems; of any other, a problem ends it."""
        one = self._find(caller, name)
        async with one.lock:
            self._find(caller, name)
            try:
                return await self._add(caller, one, body)
            except (ArenaError, asyncio.CancelledError):
                self._end(name)
                raise
            finally:
                one.last = time.monotonic()

    async def _add(self, caller: Caller, one: _Open, body: bytes) -> dict[str, Any]:
        job = one.job

        def read() -> tuple[list[imports.Row], set[str]]:
            try:
                wanted = json.loads(body)
            except (ValueError, RecursionError):
                wanted = None
            alone = isinstance(wanted, dict) and wanted.keys() == {"rows"}
            rows = imports.read_rows(caller, wanted["rows"] if alone else None, job.assign)
            return rows, imports.unknown_users({row.user for row in rows if row.user})

        rows, unknown = await asyncio.to_thread(read)
        if not job.number:
            _, problems = await self._desk.read(imports.examine, caller, job, rows, unknown)
            return {**job.result(), "problems": problems}
        names = sorted({row.user for row in rows if row.pin})
        known = set(await self._desk.read(store.find_holders, names)) | unknown
        pins = await asyncio.to_thread(imports.seal_pins, caller, rows, known, self._hasher)

        def work(connection: Any) -> imports.Import:
            # The writer may run this twice: each time on the import as it was.
            again = job.copy()
            imports.stage(connection, caller, again, rows, unknown, pins)
            return again

        await asyncio.sleep(one.rest_until - time.monotonic())
        begun = time.monotonic()
        one.job = await self._desk.change(work)
        # The store is left to logins for as long as this took, or on a slow disk they would hardly come between.
        one.rest_until = 2 * time.monotonic() - begun
        return one.job.result()

    async def finish(self, caller: Caller, name: str) -> dict[str, Any]:
        """Put an import in effect, all of it; of a dry run, tell what would have come of it."""
        one = self._find(caller, name)
        async with one.lock:
            self._find(caller, name)
            job = one.job
            if not job.number:
                self._end(name)
                return job.result()
            try:
                result: dict[str, Any] = await self._desk.change(imports.flip, caller, job)
            except ArenaError:
                self._end(name)
                raise
            del self._open[name]
            self._tidy(job.number, job.actor, done=True)
            return result

    async def abort(self, caller: Caller, name: str) -> dict[str, Any]:
        """Give an import up: nothing of it takes effect."""
        one = self._find(caller, name)
        async with one.lock:
            self._find(caller, name)
            self._end(name)
        return {"source": one.job.source, "undone": one.job.keys}

    def _find(self, caller: Caller, name: str) -> _Open:
        one = self._open.get(name)
        if one is None or one.job.actor != caller.actor:
            raise NotFound("this import is not under way (any more): nothing of it is in effect; begin it again")
        return one

    def _end(self, name: str) -> None:
        """Close an import that came to nothing, and undo it."""
        one = self._open.pop(name, None)
        if one is not None and one.job.number:
            self._tidy(one.job.number, one.job.actor, done=False)

    async def _watch(self, name: str) -> None:
        """Give up an import whose client is gone."""
        while (one := self._open.get(name)) is not None:
            left = one.last + IDLE_SECONDS - time.monotonic()
            if left <= 0:
                async with one.lock:
                    if time.monotonic() - one.last >= IDLE_SECONDS:
                        log.warning("an import of %s was left alone for %.0f s: undone", one.job.source, IDLE_SECONDS)
                        self._end(name)
            else:
                await asyncio.sleep(left)

    def _tidy(self, number: int, actor: str, *, done: bool) -> None:
        task = asyncio.create_task(self._bookkeeping(number, actor, done))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))
        if not done:
            self._undoing.add(task)
            task.add_done_callback(self._undoing.discard)

    async def _bookkeeping(self, number: int, actor: str, done: bool) -> None:
        """Settle or undo an import in small transactions, and leave as much time to logins as each took."""
        caller = self._desk.acting(actor)
        more = True
        try:
            while more:
                begun = self._desk.last = time.monotonic()
                work = (imports.settle, caller, number) if done else (store.undo_some, number)
                more = bool(await self._desk.change(*work))
                await asyncio.sleep(time.monotonic() - begun)
            await self._desk.change(store.forget_batch, number)
        except ArenaError as error:  # a full disk, mostly; it changes nothing of what is in effect, and is tried again
            log.error("the rows of import %d stay staged for now: %s", number, error)


def import_routes(desk: "Desk") -> list[web.RouteDef]:
    """The paths of imports."""

    async def begin(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, _VERB)
        wanted = await read_body(request, source=str, assign=bool, dry_run=bool)
        return web.json_response(await desk.importing.begin(caller, wanted), status=201)

    async def add(request: web.Request) -> web.StreamResponse:
        caller = desk.caller(request, _VERB)
        return web.json_response(await desk.importing.add(caller, request.match_info["id"], await large_body(request)))

    def ends(what: Callable[[Importing, Caller, str], Awaitable[dict[str, Any]]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return web.json_response(await what(desk.importing, desk.caller(request, _VERB), request.match_info["id"]))

        return handle

    return [
        web.post("/imports", begin),
        web.post("/imports/{id}/rows", add),
        web.post("/imports/{id}/finish", ends(Importing.finish)),
        web.post("/imports/{id}/abort", ends(Importing.abort)),
    ]


async def large_body(request: web.Request) -> bytes:
    """A body that may be larger than those of other requests. Raises HTTPRequestEntityTooLarge."""
    body = bytearray()
    async for part in request.content.iter_chunked(64 * 1024):
        body += part
        if len(body) > _LARGEST:
            raise web.HTTPRequestEntityTooLarge(max_size=_LARGEST, actual_size=len(body))
    return bytes(body)
