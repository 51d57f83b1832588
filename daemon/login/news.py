"""Telling a holder by mail what was done in their name. A mail that cannot be left keeps nobody from logging in."""

import logging
from concurrent.futures import Future
from typing import Any, Protocol

import sqlalchemy as sa

from pam_arena.errors import Refusal, StoreError

log = logging.getLogger(__name__)


class News(Protocol):
    """The mails of one transaction: an Outbox, which is loaded by who sends mails alone."""

    def tell(
        self, connection: sa.engine.Connection, at: int, by: tuple[str, str], kind: Any, name: str, **words: str | int
    ) -> Any:
        """Have a mail go if the transaction comes to be."""

    def settle(self, done: "Future[Any]") -> None:
        """The transaction ended."""


def tell(
    news: News | None,
    connection: sa.engine.Connection,
    at: int,
    by: tuple[str, str],
    kind: str,
    name: str,
    **words: str | int,
) -> None:
    """Have a holder told, as outbox.py has it, and any failure of the spool said in the journal. by: actor and service."""
    if news is None:
        return
    try:
        news.tell(connection, at, by, kind, name, **words)
    except (StoreError, Refusal) as error:
        log.error("%s was not told (%s): %s", name, kind, error)
