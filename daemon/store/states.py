"""The life of a token: which verb is allowed in which state, and where it leads. The one table of it.

States are those of the moment (`schema.state_at`): an active token whose time is over is expired. A cell that is not
in the table is refused.
"""

import enum

from pam_arena.errors import Refusal

from .schema import State

HELD = frozenset({State.ACTIVE, State.DISABLED, State.EXPIRED})  # these fill a holder's slots
OWNED = HELD | {State.LOST}  # a login is asked for a code while there is one: losing a key must not open a door
_USABLE = HELD | {State.STOCK}


class Verb(enum.StrEnum):
    """What is done with a token, in the words of arenactl."""

    REQUEST = "request"
    REJECT = "reject"
    PROVE = "prove"
    ASSIGN = "assign"
    UNASSIGN = "unassign"
    ENABLE = "enable"
    DISABLE = "disable"
    LOST = "lost"
    REPLACE = "replace"  # the old one of two
    RETIRE = "retire"
    RESYNC = "resync"


def _all_to(state: State, *states: State) -> dict[State, State]:
    return dict.fromkeys(states, state)


AFTER: dict[Verb, dict[State, State]] = {
    Verb.REQUEST: _all_to(State.REQUESTED, State.STOCK),
    Verb.REJECT: _all_to(State.STOCK, State.REQUESTED),
    Verb.PROVE: _all_to(State.STOCK, State.UNPROVEN),  # one that was made for a holder is assigned in the same breath
    Verb.ASSIGN: _all_to(State.ACTIVE, State.STOCK, State.REQUESTED),
    Verb.UNASSIGN: _all_to(State.STOCK, *HELD, State.LOST),
    Verb.ENABLE: _all_to(State.ACTIVE, *HELD, State.LOST),
    Verb.DISABLE: _all_to(State.DISABLED, State.ACTIVE, State.EXPIRED),
    Verb.LOST: _all_to(State.LOST, *HELD),
    Verb.REPLACE: _all_to(State.RETIRED, *HELD, State.LOST),
    Verb.RETIRE: _all_to(State.RETIRED, *_USABLE, State.LOST, State.UNPROVEN),
    Verb.RESYNC: {state: state for state in (*_USABLE, State.REQUESTED)},
}

_STANDS = {
    State.STOCK: "is nobody's: arenactl token assign {serial} USER, or arenactl token retire {serial}",
    State.UNPROVEN: "has not shown a right code yet: arenactl token prove {serial}, or arenactl token retire {serial}",
    State.REQUESTED: "is requested: arenactl request list",
    State.ACTIVE: "is {holder}'s and active: arenactl token show {serial}",
    State.DISABLED: "is {holder}'s, and disabled already: arenactl token show {serial}",
    State.EXPIRED: "is {holder}'s, and its time is over: arenactl token enable {serial} --until DATE",
    State.LOST: "is {holder}'s, and lost: found again, arenactl token enable {serial}",
    State.RETIRED: "is retired: it serves nobody any more",
}


def after(verb: Verb, state: State, serial: str, holder: str | None = None) -> State:
    """The state that a verb leads to. Raises Refusal where it is not allowed, with what is so and what may be done."""
    found = AFTER[verb].get(state)
    if holder is None and state is State.LOST and verb in (Verb.ENABLE, Verb.REPLACE):  # while it was only requested
        raise Refusal(f"token {serial} is lost, and was nobody's: arenactl token unassign {serial}, if it is found")
    if found is None:
        if holder is not None and verb is Verb.ASSIGN and state in OWNED:
            raise Refusal(f"token {serial} is {holder}'s: arenactl token unassign {serial} first")
        raise Refusal(f"token {serial} {_STANDS[state].format(serial=serial, holder=holder or 'nobody')}")
    return found
