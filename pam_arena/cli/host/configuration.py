"""The configuration in force, as arenad itself reads it."""

import json
from typing import Any

from .findings import run

_ARENAD = "/usr/sbin/arenad"


def read_configuration() -> dict[str, Any] | None:
    """arena.toml and what comes with it, under the names of the file; None if arenad refuses it."""
    status, said, _ = run(_ARENAD, "config", "show")
    if status != 0:
        return None
    shown: dict[str, Any] = json.loads(said)
    return shown


def complaint() -> str:
    """What arenad has against the configuration; '' if nothing."""
    status, _, said = run(_ARENAD, "config", "check")
    return "" if status == 0 else said.strip().removeprefix("arenad: ")
