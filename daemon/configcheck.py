"""Whether a configuration is good: its own rules, the groups and users that it names, and the mails' templates beside it."""

from pathlib import Path
from typing import Any

from pam_arena.errors import ConfigError

from .config import check_groups, guess_bounds, load
from .letters import templates


def check(path: Path, text: str | None = None) -> dict[str, Any]:
    """The verdict, and a guesser's chances; `text` in the place of what the file `path` has. Raises ConfigError."""
    config = load(path, text)
    if faults := check_groups(config) + templates.check(path.with_name(templates.FOLDER)):
        raise ConfigError("; ".join(faults))
    stolen_key, known_pin = guess_bounds(config)
    return {"file": str(path), "verdict": "good", "stolen_key": stolen_key, "known_pin": known_pin}
