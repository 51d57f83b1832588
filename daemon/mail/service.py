"""arena-mail's rounds over the spool: send what is due, keep what the server does not take yet, leave when all is done.

How often a mail was tried and when it is due stand in its file's name (spool.py), so that nothing but the folder
remembers anything, and a crash forgets nothing. One between the server's yes and the file's end sends a
mail twice, under one Message-ID.
"""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from pam_arena.errors import StoreError

from ..clock import Clock, SystemClock
from ..config import Mail, load
from ..spool import Posted
from .delivery import Letter, NoMail, Outcome, Server, read_letter

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two rounds while something waits
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0
GIVE_UP_AFTER = 5 * 86400.0  # RFC 5321 section 4.5.4.1


@frozen(order=True)
class _Waiting:
    """A file of the spool, and what its name says. In the order of sending: what was never tried comes first."""

    tries: int
    due: float
    path: Path


class Postman:
    """Goes round the spool. `stop` tells between two mails whether the round is to end."""

    def __init__(self, folder: Path, clock: Clock, stop: Callable[[], bool]) -> None:
        self.folder, self.failed = folder, folder.parent / "failed"
        self._clock, self._stop = clock, stop
        self._held: dict[Path, float] = {}  # what can neither be moved nor removed, and when to look again

    def round(self, settings: Mail) -> bool:
        """Handle every mail that is due; whether any is left. Raises StoreError if the spool cannot be used."""
        server = Server(settings.smtp)
        for waiting in sorted(self._list()):
            if self._stop():
                return True
            now = self._clock.now()
            # A wait longer than the longest comes from a clock that was wrong.
            if now < waiting.due <= now + LONGEST_WAIT or now < self._held.get(waiting.path, 0):
                continue
            try:
                self._carry(waiting, server, settings)
            except FileNotFoundError:
                continue  # somebody took it out
            except OSError as error:
                log.error("%s: %s: looked at again in an hour", waiting.path, error.strerror)
                self._held[waiting.path] = now + LONGEST_WAIT
        return bool(self._list())

    def _list(self) -> list[_Waiting]:
        try:
            for folder in (self.folder, self.failed):
                # Without the right to take a mail out, it would be sent again in each round.
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise StoreError(f"the spool {folder} cannot be written: run `systemd-tmpfiles --create arenad.conf`")
            names = [(name, found) for name in os.listdir(self.folder) if (found := Posted.read(name)) is not None]
        except OSError as error:
            raise StoreError(f"the spool {self.folder} cannot be read: {error.strerror}") from None
        return [_Waiting(found.tries, found.due, self.folder / name) for name, found in names]

    def _carry(self, waiting: _Waiting, server: Server, settings: Mail) -> None:
        try:
            letter = read_letter(waiting.path)
        except NoMail as reason:
            log.error("%s: %s: moved to %s", waiting.path, reason, self.failed)
            waiting.path.rename(self.failed / waiting.path.name)
            return
        age = self._clock.now() - letter.written
        if letter.lasts is not None and age > letter.lasts:
            log.warning("mail to %s %s: dropped: it was of use for %d s", letter.to, letter.message_id, letter.lasts)
            waiting.path.unlink()
        elif age > GIVE_UP_AFTER:
            self._give_up(waiting, letter, "not accepted for 5 days")
        elif not settings.sender:
            self._give_up(waiting, letter, "no mail is sent, because [mail] from is empty")
        else:
            self._send(waiting, letter, server)

    def _send(self, waiting: _Waiting, letter: Letter, server: Server) -> None:
        reply = server.deliver(letter)
        if reply.outcome is Outcome.SENT:
            waiting.path.unlink()
            log.info("mail to %s %s: sent", letter.to, letter.message_id)
        elif reply.outcome is Outcome.NEVER:
            self._give_up(waiting, letter, f"refused: {reply.said}")
        else:
            wait = min(FIRST_WAIT * 2 ** min(waiting.tries, 10), LONGEST_WAIT)
            log.warning("mail to %s %s: tried again in %d s: %s", letter.to, letter.message_id, wait, reply.said)
            self._rename(waiting, int(self._clock.now() + wait))

    def _rename(self, waiting: _Waiting, due: int) -> None:
        name = Posted.read(waiting.path.name)
        assert name is not None  # _list() made it from one
        waiting.path.rename(waiting.path.with_name(name.next(due)))

    def _give_up(self, waiting: _Waiting, letter: Letter, reason: str) -> None:
        """Keep a mail for an administrator to see, unless it lasts for a moment only: that may hold a one-time code."""
        log.error("mail to %s %s: given up: %s", letter.to, letter.message_id, reason)
        if letter.lasts is None:
            waiting.path.rename(self.failed / waiting.path.name)
        else:
            waiting.path.unlink()


def run(config_path: Path, folder: Path) -> int:
    """Send until nothing waits, or SIGTERM. Raises ArenaError if it cannot."""
    # Asked for, not handled: a handler would interrupt whatever runs, a lock's holder too.
    ending = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    postman = Postman(folder, SystemClock(), lambda: bool(signal.sigpending() & ending))
    # Read anew each time: a mail that waits is what a new configuration is for.
    while postman.round(load(config_path).mail) and signal.sigtimedwait(ending, LOOK_EVERY) is None:
        pass
    return 0
