"""The login daemon's life: opens config, store and vault, says READY, reloads, answers the watchdog, and stops in order."""

import asyncio
import ctypes
import importlib
import locale
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import sdnotify
import sqlalchemy as sa

from pam_arena import pin
from pam_arena.errors import ConfigError, Refusal, StoreError

from ..clock import SystemClock, boot_seconds
from ..config import Config, check_groups, load
from ..journal import Journal, sentence
from ..sockets import activated_socket
from ..store.ballast import Ballast
from ..store.engine import Reader, open_store, read_key_id, store_path, unwritable
from ..store.writer import Writer
from ..vault import Vault, read_master_key
from .admission import Door
from .chores import HeadTeller, Keeper, Reporter, keep_ballast
from .complaints import Complaints
from .counts import Counts
from .decoys import prepare, refuse_other_key
from .listener import Listener
from .news import News
from .policy import Manners, forget_groups
from .selfservice import SelfService
from .session import Desk
from .settle import MailOrder
from .timekeeper import Timekeeper
from .verifier import Verifier

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.001  # that a thread keeps Python's lock: a loop that turns strangers away must not hold up verdicts
IDLE_SECONDS = 1.0  # without a login; then memory is given back
HELD = ".held"  # of a mail in the spool (spool.py, which is not loaded for its name alone)
_SPARE_FDS = 64  # descriptors beside connections: store, threads, journal


def run(config_path: Path, spool: Path, runtime: Path, journal_path: Path) -> int:
    """Serve until SIGTERM. Raises ArenaError if it cannot begin."""
    config = load(config_path)
    listening = activated_socket(socket.SOCK_SEQPACKET, "arenad", "arenad.socket arenad.service")
    vault = Vault(read_master_key(os.environ.get("CREDENTIALS_DIRECTORY")))
    journal = Journal(journal_path, "arenad", vault.key_id, sentence)
    ballast = Ballast(store_path(config.store.url), config.store.ballast, journal.tell_ballast)
    ballast.relieve_start()
    engine = open_store(config.store.url)
    refuse_other_key(read_key_id(store_path(config.store.url)), vault)
    writer = Writer(engine, journal.tell, ballast.relieve)
    try:
        prepare(writer, vault, SystemClock(), pin.Hasher())
        service = _Service(config_path, config, writer, spool, ballast)
        asyncio.run(_serve(service, listening, engine, vault, journal, runtime))
    finally:
        writer.close()
    return 0


def _warn(config: Config) -> None:
    """Say in the journal, where nobody can be stopped any more, what of the configuration may be a mistake."""
    for unknown in check_groups(config):
        log.warning("configuration: %s", unknown)
    observing = [f"[service.{name}]" for name, service in config.services.items() if service.mode == "observe"]
    if observing:
        log.warning("nothing is enforced where mode is observe: %s", ", ".join(observing))


def _outbox() -> Any:
    # Imported when the first mail is left: see post().
    return importlib.import_module("..outbox", __package__)


class _Service:
    """What STATUS, WATCHDOG, reloads and mails need."""

    def __init__(self, path: Path, config: Config, writer: Writer, spool: Path, ballast: Ballast) -> None:
        self.path, self.config, self.writer, self.spool, self.ballast = path, config, writer, spool, ballast
        self.counts = Counts()
        self.notifier = sdnotify.SystemdNotifier()
        if self.notifier.socket is not None:
            self.notifier.socket.setblocking(False)  # logins do not wait for systemd to listen
        self.stopping = asyncio.Event()

    def status(self, conversations: int, pending: int) -> str:
        """One line for systemctl status."""
        counts, low = self.counts, "" if self.ballast.is_whole else f"; DISK: room for about {self.ballast.left} logins held"
        return (
            f"{conversations} conversations, {pending} attempts waiting; since the start"
            f" {counts.total('granted')} granted, {counts.total('denied')} denied,"
            f" {counts.total('unavailable')} without a verdict{low}"
        )

    def post(self, order: MailOrder, name: str) -> None:
        """Put the mail of a code into the spool."""
        # Imported when the first code is mailed: Python's email package is 3 MiB that most hosts never use.
        codemail = importlib.import_module(".codemail", __package__)
        try:
            codemail.post(order, self.config, self.spool)
        except (StoreError, Refusal) as error:
            log.error("no code was mailed to %s: %s", name, error)

    def news(self) -> News | None:
        """Where a transaction leaves what holders are to be told; None where no mail is sent."""
        if not self.config.mail.sender:
            return None
        outbox: News = _outbox().Outbox(self.config, self.spool, self.path.with_name("mail"))
        return outbox

    async def settle_held(self) -> None:
        """Free or remove the mails that a crash left held. A spool that cannot be used keeps nobody from logging in."""
        if not any(self.spool.glob(f".*{HELD}")):
            return
        try:
            await asyncio.wrap_future(self.writer.submit(lambda connection: _outbox().settle_held(connection, self.spool)))
        except StoreError as error:
            log.error("%s", error)

    async def touch_store(self) -> None:
        """A read and a write transaction, through the very thread that commits verdicts."""
        await asyncio.wrap_future(
            self.writer.submit(lambda connection: connection.exec_driver_sql("SELECT 1 FROM meta").first())
        )


async def _serve(
    service: _Service, listening: socket.socket, engine: sa.engine.Engine, vault: Vault, journal: Journal, runtime: Path
) -> None:
    config, writer = service.config, service.writer
    sys.setswitchinterval(SWITCH_SECONDS)
    cores = os.cpu_count() or 1
    verifier = Verifier(engine, writer, vault, SystemClock(), config, pin.Hasher(), cores, news=service.news)
    door = Door(Reader(engine), SystemClock(), lambda: service.config)
    own = SelfService(verifier, lambda: service.config, service.news)
    manners = Manners(plain=not _speaks_utf8())
    complaints = Complaints(SystemClock().monotonic)
    desk = Desk(verifier, door, SystemClock(), lambda: service.config, service.post, service.counts, manners, own, complaints)
    listener = Listener(listening, desk, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FDS)
    head = HeadTeller(Reader(engine), journal)
    timekeeper = Timekeeper(writer, SystemClock(), boot_seconds, lambda: service.config)
    keeper = Keeper(writer, lambda: service.config.audit, lambda: verifier.pending, timekeeper)
    reporter = Reporter(runtime, service.counts, journal)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, service.stopping.set)
    loop.add_signal_handler(signal.SIGINT, service.stopping.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, service, verifier, keeper)
    await service.touch_store()
    await timekeeper.begin()
    await service.settle_held()
    listener.start()
    _warn(config)
    service.notifier.notify(f"READY=1\nSTATUS={service.status(0, 0)}")
    log.info("ready: key %s, %d cores", vault.key_id, cores)
    reports = reporter.run(lambda: (listener.conversations, verifier.pending))
    work = (
        _pulse(service, timekeeper, listener, verifier),
        _tidy(verifier),
        reports,
        head.run(),
        keeper.run(),
        keep_ballast(service.ballast),
    )
    chores = [loop.create_task(one) for one in work]
    await service.stopping.wait()
    service.notifier.notify("STOPPING=1\nSTATUS=finishing what is under way")
    for chore in chores:
        chore.cancel()
    await listener.stop()
    verifier.close()
    door.close()
    await head.tell()


def _speaks_utf8() -> bool:
    """Whether the host's locale, which systemd gives to all services, is one of UTF-8."""
    return locale.nl_langinfo(locale.CODESET).upper() in ("UTF-8", "UTF8")


def _reload(service: _Service, verifier: Verifier, keeper: Keeper) -> None:
    monotonic_us = int(asyncio.get_running_loop().time() * 1_000_000)
    service.notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}")
    try:
        service.config = verifier.config = load(service.path)
        forget_groups()
        log.info("configuration reloaded")
        _warn(service.config)
        keeper.look_again()
    except ConfigError as error:
        log.error("configuration not reloaded, the previous one stays in force: %s", error)
    service.notifier.notify("READY=1")


async def _pulse(service: _Service, timekeeper: Timekeeper, listener: Listener, verifier: Verifier) -> None:
    """Look at the clock, and tell systemd that loop and store work, twice in each watchdog period; and how many are here."""
    watchdog_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    pause = watchdog_us / 2_000_000 if watchdog_us else 10.0
    store, read_only = store_path(service.config.store.url), False
    while True:
        if said := unwritable(store):
            log.critical("%s: no verdict until it can", said)
        elif read_only:
            # SQLite keeps its shared memory open as read-only for as long as any of our connections is open.
            log.critical("the store %s can be written to again: starting afresh", store)
            service.stopping.set()
        read_only = bool(said)
        try:
            await timekeeper.look()
            await service.touch_store()
            service.notifier.notify(f"WATCHDOG=1\nSTATUS={service.status(listener.conversations, verifier.pending)}")
        except StoreError as error:
            log.error("%s", error)
        await asyncio.sleep(min(pause, 10.0))


async def _tidy(verifier: Verifier) -> None:
    """Give argon2's memory back to the system when no login came for a while.

    While they come it is kept: mapped afresh for each hash, its 19 MiB cost a tenth of the hash's own time.
    """
    trim = ctypes.CDLL(None).malloc_trim
    tidied = -1  # the start leaves some behind too
    while True:
        done = verifier.done
        await asyncio.sleep(IDLE_SECONDS)
        if verifier.done == done != tidied and not verifier.pending:
            trim(0)
            tidied = done
