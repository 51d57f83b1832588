"""GET /metrics: what a Prometheus sees of the service, as OpenMetrics text.

What the store tells is counted when asked. What the login daemon counts comes from the file that it leaves in its
runtime folder; without a fresh one, arena_up is 0 and its families are missing.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import field, frozen
from prometheus_client import CollectorRegistry, exposition, openmetrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..spool import SUFFIX
from ..store.audits import read_anchor, read_head
from ..store.ballast import logins_left
from ..store.engine import store_path
from ..store.inventory import count_holders, count_tokens
from ..store.schema import NOBODY, State, origin
from .caller import Caller, Connection

STALE_SECONDS = 60.0  # the login daemon reports every ten
_OPEN, _CLASSIC = "application/openmetrics-text", "text/plain"


@frozen
class Report:
    """What the login daemon left in its file, as it left it."""

    found: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, file: Path, now: float) -> "Report | None":
        """The report, if there is one that is not old."""
        try:
            found = json.loads(file.read_text())
            return cls(found) if abs(now - found["at"]) < STALE_SECONDS else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def metrics(connection: Connection, caller: Caller, counts: Path, spool: Path, accept: str) -> tuple[bytes, str]:
    """(the text, its content type): OpenMetrics, unless who asks names the classic format and not this one."""
    registry = CollectorRegistry(auto_describe=False)
    login = _of_login(Report.read(counts, time.time()))
    registry.register(_Collected([*login, *_of_store(connection, caller), *_of_spool(spool)]))
    if _CLASSIC in accept and _OPEN not in accept:
        return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST
    text: bytes = openmetrics.exposition.generate_latest(registry)  # type: ignore[no-untyped-call] # theirs has no types
    return text, openmetrics.exposition.CONTENT_TYPE_LATEST


class _Collected(Collector):
    """Families that were counted already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _of_login(report: Report | None) -> Iterator[Metric]:
    yield _gauge("arena_up", "Whether the login daemon reports", int(report is not None))
    if report is None:
        return
    found = report.found
    logins = CounterMetricFamily("arena_logins", "Ends of conversations", labels=("outcome", "service"))
    for outcome, service, number in found["logins"]:
        logins.add_metric((outcome, service), number)
    yield logins
    sums, total = [], 0
    for bound, number in found["buckets"].items():
        total += number
        sums.append((bound, total))
    verdicts = HistogramMetricFamily("arena_verdict_seconds", "From an attempt to its verdict, without the delay of denials")
    verdicts.add_metric((), sums, found["seconds"])
    yield verdicts
    yield _gauge("arena_conversations", "Open conversations", found["conversations"])
    yield _gauge("arena_attempts_waiting", "Attempts that wait for their turn", found["pending"])
    yield _gauge("arena_clock_offset_seconds", "How far the wall clock ran from the boot clock", found["clock_offset"])
    yield _gauge("arena_start_time_seconds", "When the login daemon started, since 1970", found["started"])
    lost = CounterMetricFamily("arena_journal_lost", "Entries that the journal did not take")
    lost.add_metric((), found["journal_lost"])
    yield lost


def _of_store(connection: Connection, caller: Caller) -> Iterator[Metric]:
    held = count_tokens(connection, caller.now)
    tokens = GaugeMetricFamily("arena_tokens", "Tokens by state", labels=("state",))
    for state in State:
        if state not in (State.DECOY, State.STAGED):
            tokens.add_metric((state.value,), held.get(state.value, 0))
    yield tokens
    with_pin, without = count_holders(connection)
    holders = GaugeMetricFamily("arena_holders", "Holders with and without a PIN", labels=("pin",))
    holders.add_metric(("yes",), with_pin)
    holders.add_metric(("no",), without)
    yield holders
    real = origin.c.holder_id != NOBODY
    waits = sa.and_(real, origin.c.wait_until > caller.now, sa.not_(origin.c.closed))
    origins = GaugeMetricFamily("arena_origins", "Origins that have to wait, and that are closed", labels=("state",))
    for word, rows in (("waiting", waits), ("closed", sa.and_(real, origin.c.closed))):
        number = connection.execute(sa.select(sa.func.count()).select_from(origin).where(rows)).scalar()
        origins.add_metric((word,), int(number or 0))
    yield origins
    path = store_path(caller.config.store.url)
    sizes = GaugeMetricFamily("arena_store_bytes", "Size of the store's files", labels=("file",))
    for name, suffix in (("database", ""), ("log", "-wal")):
        file = path.with_name(path.name + suffix)
        sizes.add_metric((name,), file.stat().st_size if file.exists() else 0)
    yield sizes
    wanted = caller.config.store.ballast
    yield _gauge("arena_ballast_logins", "Logins that the ballast has room for", logins_left(path, wanted))
    yield _gauge("arena_ballast_wanted_logins", "Logins that it is to have room for", wanted)
    head = read_head(connection)
    yield _gauge("arena_audit_rows", "Rows of the audit", max(0, head.id - read_anchor(connection).id))
    yield _gauge("arena_audit_head", "The id of the audit's newest row", head.id)
    yield InfoMetricFamily("arena_key", "The master key", value={"id": caller.vault.key_id})


def _of_spool(spool: Path) -> Iterator[Metric]:
    mails = GaugeMetricFamily("arena_mails", "Mails that wait to be sent, and that were given up", labels=("state",))
    for state, folder in (("waiting", spool), ("failed", spool.with_name("failed"))):
        try:
            number = sum(SUFFIX in file.name and not file.name.startswith(".") for file in folder.iterdir())
        except OSError:
            continue
        mails.add_metric((state,), number)
    yield mails


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
