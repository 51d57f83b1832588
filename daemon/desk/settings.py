"""The configuration as its files are now: the desk's service looks at them before each request, so it needs no reload."""

import logging
import os
from pathlib import Path

from pam_arena.errors import ConfigError

from ..config import Config, load

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[str, int, int, int], ...]


class Settings:
    """Reads the files again when one of them was changed, added or taken away. Raises ConfigError at the first reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._config = load(path)

    def current(self) -> Config:
        """The configuration in force: that of the files, or the one before while they are not good, which the journal says."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                fresh = load(self._path)
            except ConfigError as error:
                log.error("configuration not reloaded, the previous one stays in force: %s", error)
            else:
                if fresh.store != self._config.store:
                    log.warning("[store] changed: it counts from the next start on")
                self._config = fresh
        return self._config

    def _look(self) -> _Stamp:
        found = []
        for path in [self._path, *sorted(self._path.with_name(self._path.name + ".d").glob("*.toml"))]:
            try:
                told = os.stat(path)
            except OSError:
                continue
            found.append((str(path), told.st_mtime_ns, told.st_size, told.st_ino))
        return tuple(found)
