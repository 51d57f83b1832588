"""The command `arenad`: the login daemon by itself, and the parts of the service that run for a moment."""

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import ClassVar

from pam_arena.errors import ArenaError

from . import config as configuration
from .owner import as_owner

_REFUSED_EXIT = 1


class _Journal(logging.Formatter):
    """One line a record, with the priority that journald reads at its start (sd-daemon(3))."""

    _PRIORITY: ClassVar = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

    def format(self, record: logging.LogRecord) -> str:
        line = record.getMessage().encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
        return f"<{self._PRIORITY.get(record.levelno, 6)}>{line}"


def main(argv: list[str] | None = None) -> int:
    """Run one part; returns its exit status, with the reason of a failure on stderr."""
    parser = argparse.ArgumentParser(prog="arenad", description="One-time codes for PAM logins: the service. See arenad(8).")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--spool", type=Path, default=configuration.SPOOL, metavar="FOLDER")
    parser.add_argument("--run", type=Path, default=configuration.RUNTIME, metavar="FOLDER")
    parser.add_argument("--journal", type=Path, default=configuration.JOURNAL, metavar="SOCKET")
    parts = parser.add_subparsers(dest="part", metavar="PART")
    parts.add_parser("login", help="the login daemon (the default); started by arenad.service")
    parts.add_parser("desk", help="the desk's service; started by arena-desk.socket")
    parts.add_parser("mail", help="send the mails of the spool; started by arena-mail.path")
    parts.add_parser("migrate", help="create the store, or bring it to this release's schema")
    parts.add_parser("summary", help="the store's schema and how many rows it has, as JSON; used by arenactl support")
    parts.add_parser("make-key", help="make the master key at the first start; started by arenad-key.service")
    parts.add_parser("import-key", help="make the master key of what comes on stdin; used by arenactl key import")
    bringer = parts.add_parser("restore", help="bring a backup back; used by arenactl restore")
    bringer.add_argument("file", type=Path)
    bringer.add_argument("--replace", action="store_true")
    bringer.add_argument("--keep-config", action="store_true")
    checker = parts.add_parser("config", help="check or show the configuration")
    checker.add_argument("what", choices=("check", "show"))
    wanted = parser.parse_args(argv)
    handler = logging.StreamHandler()
    handler.setFormatter(_Journal())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return _run(wanted)
    except ArenaError as error:
        if wanted.part in (None, "login", "desk", "mail", "make-key"):
            logging.getLogger(__name__).critical("%s", error)
        else:
            print(f"arenad: {error}", file=sys.stderr)
        return _REFUSED_EXIT


def _run(wanted: argparse.Namespace) -> int:
    # Each part imports what it needs and no more: the login daemon is to be small and quick to start.
    if wanted.part in (None, "login"):
        for unused in ("ssl", "greenlet"):  # asyncio and SQLAlchemy take them where they are, and use them for networks alone
            sys.modules[unused] = None  # type: ignore[assignment]  # "not to be found" (the reference's import system)
        login = importlib.import_module(".login.service", __package__)
        return int(login.run(wanted.config, wanted.spool, wanted.run, wanted.journal))
    if wanted.part == "desk":
        desk = importlib.import_module(".desk.service", __package__)
        return int(desk.run(wanted.config, wanted.spool, wanted.run, wanted.journal))
    if wanted.part == "mail":
        return int(importlib.import_module(".mail.service", __package__).run(wanted.config, wanted.spool))
    if wanted.part == "migrate":
        from .store.engine import store_path

        url = configuration.load(wanted.config).store.url
        migrate = importlib.import_module(".store.migrate", __package__).migrate
        print(as_owner(store_path(url).parent, lambda: str(migrate(url))))
    elif wanted.part == "summary":
        print(importlib.import_module(".summary", __package__).summarise(configuration.load(wanted.config).store.url))
    elif wanted.part == "make-key":
        print(importlib.import_module(".keyfile", __package__).make_key(configuration.load(wanted.config).store.url))
    elif wanted.part == "import-key":
        print(importlib.import_module(".keyfile", __package__).import_key(configuration.load(wanted.config).store.url))
    elif wanted.part == "restore":
        print(json.dumps(importlib.import_module(".house", __package__).bring_back(wanted)))
    else:
        _config(wanted)
    return 0


def _config(wanted: argparse.Namespace) -> None:
    if wanted.what == "show":
        print(json.dumps(configuration.show(configuration.load(wanted.config)), indent=1))
        return
    print(json.dumps(importlib.import_module(".configcheck", __package__).check(wanted.config)))


if __name__ == "__main__":
    sys.exit(main())
