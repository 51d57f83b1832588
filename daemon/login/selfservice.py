"""What a holder settles for themselves by arena-key: a request, a loss, new emergency codes, and a look at what they have.

Whose account it is, the kernel said (SO_PEERCRED); root may be anyone here. A request is proven by two codes in a row, 12
digits: the seed of the key that was named is opened and 2881 steps of it are compared, or a decoy's if there is no such
key. Its codes are spent, whosever key it is; one transaction with the same statements decides, and a denial is one sentence
with a reference. An actor whose requests were denied ten times within an hour is denied all others; only those ten stand
in the audit, and the others in the ring of strangers, so that nobody fills the disk.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from pam_arena import holder_talk, pin
from pam_arena.errors import ArenaError
from pam_arena.otp import Algorithm, Kind, Mechanism, find_consecutive
from pam_arena.secret import Secret

from ..audit import Event, Reason, append, append_stranger, new_ref, push_out_strangers
from ..config import Config
from ..store import inventory as store
from ..store import requests
from ..store.grants import revoke_grants
from ..store.recovery import count_left, replace_codes
from ..store.schema import CodeKind, RequestState, State
from .admission import lane_of
from .news import News, tell
from .verifier import Verifier

SERVICE = "arena-key"
REACH = 1440  # steps either side of now, and twice as many ahead of a counter: boxed keys stand on a shelf for years
TRIES = 10  # of an actor for a name that are looked at in an hour, once they were denied
OPEN_MOST = 3  # requests of a name that may wait for the desk
EMERGENCY_CODES = 10
_HOUR = 3600
_LISTED = 50


@frozen
class Who:
    """Whose account it is, and the uid of the one at the other end: root's, or their own."""

    name: str
    uid: int

    @property
    def actor(self) -> str:
        return f"uid:{self.uid}"


@frozen(repr=False)
class _Claim:
    """The key that was named, or a decoy, and the step of the first code; None where these are no two codes in a row."""

    row: store.Row
    step: int | None
    drift: int


class SelfService:
    """Answers the steps of holder_talk.py. news: where holders are told of what was done, None where no mail is sent."""

    def __init__(self, verifier: Verifier, config: Callable[[], Config], news: Callable[[], News | None]) -> None:
        self._verifier, self._config, self._news = verifier, config, news

    async def answer(self, step: holder_talk.Step, who: Who) -> holder_talk.Reply:
        """What came of a step; durable before it is known. Raises Busy, StoreError or VaultError: then nothing was done."""
        match step:
            case holder_talk.ReadOwn():
                return await asyncio.get_running_loop().run_in_executor(None, self._read, who)
            case holder_talk.ProveKey():
                return await self._prove(step, who)
            case holder_talk.LoseKey(serial=serial):
                return await self._lose(serial, who)
            case _:
                return await self._make_codes(who)

    def _read(self, who: Who) -> holder_talk.Own:
        now = int(self._verifier.clock.now())
        return self._verifier.reader.read(lambda connection: read_own(connection, who.name, now))

    async def _prove(self, step: holder_talk.ProveKey, who: Who) -> holder_talk.Proved:
        policy, vault, now = self._config().pin.policy, self._verifier.vault, int(self._verifier.clock.now())
        with step.first, step.second:
            codes = (pin.normalise(step.first, policy), pin.normalise(step.second, policy))

        def look(reader: sa.engine.Connection) -> _Claim:
            row = requests.read_claimed(reader, step.serial, now)
            with vault.open_seed(row.seed, row.serial, row.seed_version) as seed:
                return _compare(row, seed, codes, now)

        _, proved = await self._verifier.in_turn(
            who.name, lane_of(who.uid), look, lambda connection, claim: _settle_claim(connection, claim, step.serial, who, now)
        )
        return proved

    async def _lose(self, serial: str, who: Who) -> bool:
        now, news = int(self._verifier.clock.now()), self._news()
        return await self._verifier.write(lambda connection: _lose(connection, serial, who, now, news), news)

    async def _make_codes(self, who: Who) -> holder_talk.Codes:
        now, vault = int(self._verifier.clock.now()), self._verifier.vault

        def make(connection: sa.engine.Connection) -> tuple[str, ...]:
            holder = store.find_holder(connection, who.name)
            if holder is None:  # taken away since their passcode was right
                raise ArenaError(f"{who.name} is no holder any more")
            given, _ = replace_codes(
                connection,
                holder.id,
                CodeKind.EMERGENCY,
                EMERGENCY_CODES,
                lambda code: vault.digest_code(code, who.name),
                now,
                None,
            )
            detail = str(EMERGENCY_CODES)
            append(connection, now, Event("code-emergency", who.name, detail=detail, actor=who.actor, service=SERVICE))
            return tuple(given)

        return holder_talk.Codes(who.name, await self._verifier.write(make))


def read_own(connection: sa.engine.Connection, name: str, now: int) -> holder_talk.Own:
    """What a name has, be it a holder's or not."""
    asked = requests.list_requests(connection, now, name=name, limit=_LISTED)
    waiting = [holder_talk.Key(one.serial, State.REQUESTED.value) for one in asked if one.state == RequestState.OPEN]
    shown = tuple(holder_talk.Asked(one.serial, one.at, one.state, one.why) for one in asked)
    holder = store.find_holder(connection, name)
    if holder is None:
        return holder_talk.Own(now, keys=tuple(waiting), requests=shown)
    owned = store.list_tokens(connection, name, None, _LISTED, now)
    keys = [holder_talk.Key(one.serial, one.state, one.valid_until) for one in owned]
    return holder_talk.Own(
        now,
        holder.pin_set_at if holder.pin is not None else None,
        holder.new_pin_until if holder.pin is None else None,
        (*keys, *(key for key in waiting if key.serial not in {one.serial for one in keys})),
        shown,
        count_left(connection, holder.id, now),
    )


def _compare(row: store.Row, seed: Secret, codes: tuple[str, str], now: int) -> _Claim:
    mechanism = Mechanism(Kind(row.kind), Algorithm(row.algorithm), row.digits, row.period)
    totp = mechanism.kind is Kind.TOTP
    here = mechanism.step_at(now)
    low = here - REACH if totp else row.last_step + 1
    step = find_consecutive(seed, mechanism, *codes, range(low, low + 2 * REACH + 1))
    fits = all(len(code) == mechanism.digits for code in codes)
    found = step if fits and row.state_now != State.DECOY else None
    return _Claim(row, found, found + 1 - here if found is not None and totp else 0)


def _settle_claim(connection: sa.engine.Connection, claim: _Claim, serial: str, who: Who, now: int) -> holder_talk.Proved:
    """Spend the codes, and make the request or deny it, with the row of either."""
    row = claim.row
    tries = requests.count_denied(connection, who.name, who.actor, now - _HOUR)
    waiting = requests.count_open(connection, who.name)
    asked = requests.open_request_of(connection, serial, now)
    fresh = requests.spend_two(connection, row.id if claim.step is not None else -1, claim.step or 0)
    mine = asked is not None and asked.holder == who.name and asked.token_state == State.REQUESTED
    # Read again: what the claim saw may be minutes of a queue old.
    token = store.find_token(connection, serial, now)
    free = token is not None and token.holder is None and token.state == State.STOCK
    reason = _why_denied(claim, tries, waiting, fresh=fresh, mine=mine, free=free)
    if reason is None:
        store.update_token(connection, row.id, drift=claim.drift)
        if asked is not None and mine:
            requests.prove_request(connection, asked.id)
        else:
            requests.add_request(connection, row.id, who.name, now, who.actor, proven=True)
        append(connection, now, _event(who, serial, detail="proven by two codes"))
        return holder_talk.Proved()
    ref = new_ref()
    event = _event(who, serial, outcome="denied", reason=reason.value, ref=ref)
    (append_stranger if tries >= TRIES else append)(connection, now, event)
    push_out_strangers(connection)
    return holder_talk.Proved(ref)


def _event(who: Who, serial: str, **more: Any) -> Event:
    return Event(requests.EVENT, who.name, serial, actor=who.actor, service=SERVICE, **more)


def _why_denied(claim: _Claim, tries: int, waiting: int, *, fresh: bool, mine: bool, free: bool) -> Reason | None:
    if tries >= TRIES:
        return Reason.REQUEST_TOO_OFTEN
    if claim.row.state_now == State.DECOY:
        return Reason.REQUEST_UNKNOWN
    if claim.step is None:
        return Reason.REQUEST_WRONG
    if not fresh:
        return Reason.REQUEST_USED
    if not (free or mine):
        return Reason.REQUEST_TAKEN
    return Reason.REQUEST_MANY if waiting >= OPEN_MOST and not mine else None


def _lose(connection: sa.engine.Connection, serial: str, who: Who, now: int, news: News | None) -> bool:
    token = store.find_token(connection, serial, now)
    asked = requests.open_request_of(connection, serial, now)
    mine = asked is not None and asked.holder == who.name
    if token is None or not (token.holder == who.name or mine) or token.state in (State.LOST, State.RETIRED):
        return False
    store.update_token(connection, token.id, state=State.LOST.value, why="reported lost by its holder")
    if asked is not None and mine:
        requests.decide_request(connection, asked.id, RequestState.REJECTED, now, who.actor, "reported lost")
    detail = ""
    if token.holder_id is not None and (ended := revoke_grants(connection, token.holder_id)):
        detail = f"session grants ended: {ended}"
    append(connection, now, Event("token-lost", who.name, serial, detail=detail, actor=who.actor, service=SERVICE))
    tell(news, connection, now, (who.actor, SERVICE), "key-lost", who.name, serial=serial)
    return True
