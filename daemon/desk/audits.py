"""The audit at the desk: listed by filters, and verified link by link.

Nothing here is one long read: the chain is gone through in pieces, so that neither logins nor SQLite's own tidying wait.
"""

import datetime
import hashlib
from typing import Any

from attrs import frozen

from pam_arena.errors import Refusal

from ..audit import chain_row
from ..config_values import seconds
from ..retention import EVENT as DROP_EVENT
from ..retention import dropped_link
from ..store import audits as store
from ..store.inventory import find_token
from .caller import Caller, Connection, Result
from .words import describe

LIMIT = 100  # rows that are listed unless told otherwise
_MOST = 10_000
_LONGEST_NUMBER = 19  # digits: what the store can hold
_CHUNK = 1000  # rows a read
_MOST_HEADS = 500  # a request
_TIME_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S UTC")
_COLUMNS = (
    *("id", "at", "event", "outcome", "reason", "holder", "serial", "service", "address", "actor", "detail"),
    "ref",
)


def list_audit(connection: Connection, caller: Caller, *texts: str | None) -> list[Result]:
    """Rows by the filters of QUERY, the newest last: the last ones, or those that come after an id."""
    asked = dict(zip(QUERY, texts, strict=True))
    limit = _number("limit", asked.pop("limit"), 1, _MOST)
    wanted: dict[str, Any] = {name: text for name, text in asked.items() if text is not None}
    for name in ("since", "until"):
        if name in wanted:
            wanted[name] = read_time(name, wanted[name], caller.now)
    if "after" in wanted:
        wanted["after"] = _number("after", wanted["after"], 0, 2**63 - 1)
    if "ref" in wanted:
        wanted["ref"] = wanted["ref"].upper().translate(str.maketrans("ILO", "110", " -"))
    if "holder" in wanted:
        token = find_token(connection, wanted["holder"], caller.now)
        wanted["holder"] = token.holder if token is not None and token.holder is not None else wanted["holder"]
    rows = store.find_rows(connection, store.Filters(**wanted), LIMIT if limit is None else limit)
    return [{**{name: getattr(row, name) for name in _COLUMNS}, "what": describe(row)} for row in rows]


QUERY = (*store.FILTERS, "limit")


def read_time(name: str, text: str, now: int) -> int:
    """A time in seconds since 1970, of a date and time in UTC, or of a span that lies back ("2h"). Raises Refusal."""
    for form in _TIME_FORMS:
        try:
            return int(datetime.datetime.strptime(text.strip(), form).replace(tzinfo=datetime.UTC).timestamp())
        except ValueError:
            continue
    try:
        if (back := int(seconds(text.strip().removeprefix("-")))) <= now:
            return now - back
    except ValueError:
        pass
    raise Refusal(f'{name}: {text!r}: allowed: "2026-11-24", "2026-11-24 08:30" (UTC), or how long ago: "2h", "3d"')


def _number(name: str, text: str | None, low: int, high: int) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER and low <= int(text) <= high:
        return int(text)
    raise Refusal(f"{name}: allowed: a whole number from {low} to {high}")


@frozen
class Break:
    """Where the chain is broken, and how: changed, missing or reordered."""

    row: int
    kind: str
    problem: str


def verify(connection: Connection, caller: Caller) -> Result:
    """Whether every row follows from the one before it. It reads the whole audit, in pieces."""
    walk = _Walk(connection)
    broken = walk.go()
    return {
        "verdict": "good" if broken is None else "broken",
        "rows": walk.checked,
        "first": walk.anchor.id + 1 if walk.checked else None,
        "head": str(walk.last) if walk.last.id else None,
        "dropped": walk.anchor.id,
        "key": caller.vault.key_id,
        "row": None if broken is None else broken.row,
        "kind": None if broken is None else broken.kind,
        "problem": "" if broken is None else broken.problem,
    }


class _Walk:
    """One way through the chain, from its anchor to its newest row."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begin()

    def _begin(self) -> None:
        self.anchor = self.last = store.read_anchor(self._connection)
        self.checked = 0
        self._dropped: store.Link | None = None  # by the newest row that tells of it

    def go(self) -> Break | None:
        """To the end, or to the first break."""
        first = store.first_id(self._connection)
        if first is not None and first <= self.anchor.id:
            return Break(first, "reordered", f"row {first} stands before row {self.anchor.id + 1}, where the audit begins")
        while True:
            if broken := self._go_on():
                return broken
            # In this order: a row that came since would tell of a newer anchor.
            anchor = store.read_anchor(self._connection)
            if store.read_head(self._connection).id <= self.last.id:
                return self._check_anchor(anchor)

    def _go_on(self) -> Break | None:
        """Through all rows that are there."""
        while rows := store.read_rows(self._connection, self.last.id, _CHUNK):
            for row in rows:
                if row.id != self.last.id + 1:
                    if self._was_dropped_meanwhile():
                        self._begin()
                        break
                    return self._gap(row.id)
                if chain_row(self.last.hash, row) != row.hash:
                    return _explain(self._connection, self.last, row)
                self.last, self.checked = store.Link(row.id, row.hash), self.checked + 1
                if row.event == DROP_EVENT:
                    self._dropped = dropped_link(row.detail)
        return None

    def _was_dropped_meanwhile(self) -> bool:
        return store.read_anchor(self._connection).id > self.last.id

    def _gap(self, found: int) -> Break:
        first, last = self.last.id + 1, found - 1
        which = f"row {first} is" if first == last else f"rows {first} to {last} are"
        return Break(first, "missing", f"{which} missing")

    def _check_anchor(self, anchor: store.Link) -> Break | None:
        """What was dropped, was dropped by arenad: the newest row of its kind tells the same."""
        if not self.checked and anchor.id:
            return Break(anchor.id + 1, "missing", f"every row after row {anchor.id} is missing")
        if self._dropped == (anchor if anchor.id else None):
            return None
        if not anchor.id:
            return Break(1, "missing", "rows were dropped, and where the audit begins is not known any more")
        problem = f"rows up to {anchor.id} are missing, and no row of the audit says that they were dropped"
        return Break(anchor.id, "missing", problem)


def _explain(connection: Connection, before: store.Link, row: Any) -> Break:
    """Why a row does not follow from the one before it: it belongs elsewhere, or is not what was written."""
    if chain_row(b"", row) == row.hash:
        return Break(row.id, "reordered", f"row {row.id} is out of its place: it belongs at the beginning")
    after = 0
    while links := store.read_links(connection, after, _CHUNK):
        for link in links:
            if link.id not in (before.id, row.id) and chain_row(link.hash, row) == row.hash:
                problem = f"row {row.id} is out of its place: it belongs right after what is row {link.id} now"
                return Break(row.id, "reordered", problem)
        after = links[-1].id
    problem = f"row {row.id} was changed, or one was taken out before it and the ids were closed up"
    return Break(row.id, "changed", problem)


def check_heads(connection: Connection, caller: Caller, wanted: dict[str, Any]) -> Result:
    """Whether links that were seen before ("ID:HASH", or a hash) are still in the chain: a cut-off tail shows here alone."""
    heads = wanted.get("heads")
    if not isinstance(heads, list) or len(heads) > _MOST_HEADS or not all(isinstance(head, str) for head in heads):
        raise Refusal(f"heads: allowed: a list of up to {_MOST_HEADS} heads, each ID:HASH or HASH")
    anchor, newest = store.read_anchor(connection), store.read_head(connection)
    old, failed, problems = 0, [], []
    for head in heads:
        link = _read_head(head)
        if link.id and link.id < anchor.id:
            old += 1
        elif problem := _why_not(connection, link, anchor, newest):
            failed.append(head)
            problems.append(problem)
    return {"checked": len(heads) - old, "too_old": old, "failed": failed, "problems": problems}


def _read_head(text: str) -> store.Link:
    try:
        link = store.Link.read(text if ":" in text else f"0:{text}")
        if len(link.hash) == hashlib.sha256().digest_size and (link.id > 0 or ":" not in text):
            return link
    except ValueError:
        pass
    raise Refusal(f"head {text[:80]!r}: allowed: ID:HASH or HASH, with 64 hexadecimal digits") from None


def _why_not(connection: Connection, link: store.Link, anchor: store.Link, newest: store.Link) -> str:
    """What is wrong with a link that was once in the chain; nothing: it is there."""
    if not link.id:
        known = link.hash == anchor.hash or store.find_hash(connection, link.hash) is not None
        return "" if known else f"no row has the hash {link.hash.hex()} any more: rows were taken away or changed"
    if link.id > newest.id:
        return (
            f"row {link.id} is missing: the audit ends at row {newest.id}. Its end was cut off, or the store was replaced by an"
            " older one, and not by arenactl restore"
        )
    found = anchor.hash if link.id == anchor.id else store.hash_of(connection, link.id)
    if found is None:
        return f"row {link.id} is missing"
    return "" if found == link.hash else f"row {link.id} is another than it was: the chain was written anew"
