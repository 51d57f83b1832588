"""What a request brings: a JSON object whose values are known by name and of their kind, before any verb sees them."""

from typing import Any

from aiohttp import web

from pam_arena.errors import Refusal

Kind = type | tuple[type, ...]
_WORDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


async def read_body(request: web.Request, **kinds: Kind) -> dict[str, Any]:
    """The body, if its values are of these kinds; no body is an empty object.

    Raises HTTPBadRequest naming what is not, Refusal for half a character.
    """
    try:
        body = await request.json() if request.can_read_body else {}
    except (ValueError, RecursionError, LookupError):  # no JSON; nested too deeply; a charset that nobody knows
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is to be a JSON object")
    for name, value in body.items():
        if name not in kinds:
            raise web.HTTPBadRequest(text=f"unknown: {_shown(name)}; there are: {', '.join(kinds)}")
        kind = kinds[name]
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if isinstance(value, float) and value.is_integer():  # 2.0 is a whole number in JSON
            body[name] = value = int(value)
        # Python takes true for a 1.
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise web.HTTPBadRequest(text=f"{name}: {' or '.join(_WORDS[one] for one in wanted)} is expected")
        if not _is_storable(value):
            raise Refusal(f"{name}: has a character that cannot be stored")
    return body


def _is_storable(value: Any) -> bool:
    """Whether a database and a file can hold every text in a value: no half of a surrogate pair, no NUL."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return all(_is_storable(part) for pair in value.items() for part in pair)
    return all(map(_is_storable, value)) if isinstance(value, list) else True


def _shown(name: str) -> str:
    return repr(name[:64])
