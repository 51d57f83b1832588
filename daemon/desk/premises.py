"""What the service sees of the host around it: the configuration in force, a text that is to become it, and the schema."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pam_arena.errors import ConfigError

from ..config import show
from ..configcheck import check
from ..store.engine import SCHEMA_VERSION, peek, store_path
from .body import read_body

if TYPE_CHECKING:
    from .routes import Desk


def premises_routes(desk: "Desk") -> list[web.RouteDef]:
    """GET /config, POST /config/check, GET /schema."""

    async def show_config(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "config show")
        return web.json_response(show(desk.config))

    async def check_config(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "config check")
        wanted = await read_body(request, text=str)
        return web.json_response(await asyncio.to_thread(_check, desk.config_path, wanted.get("text")))

    async def show_schema(request: web.Request) -> web.StreamResponse:
        desk.caller(request, "migrate")
        return web.json_response(await asyncio.to_thread(_schema, store_path(desk.config.store.url)))

    return [web.get("/config", show_config), web.post("/config/check", check_config), web.get("/schema", show_schema)]


def _check(path: Path, text: str | None) -> dict[str, Any]:
    try:
        return {**check(path, text), "problem": ""}
    except ConfigError as error:
        return {"file": str(path), "verdict": "bad", "stolen_key": None, "known_pin": None, "problem": str(error)}


def _schema(path: Path) -> dict[str, Any]:
    found = peek(path)
    current = found == SCHEMA_VERSION
    remedy = "" if current else "of a later release, which this one may use: upgrade arenad"
    return {"store": str(path), "schema": found, "release": SCHEMA_VERSION, "current": current, "remedy": remedy}
