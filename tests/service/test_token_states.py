"""The life of a key: which verb is allowed in which state, cell by cell, in the table and over the desk's socket."""

import re

import pytest
from arenad.store.schema import State, audit
from arenad.store.schema import token as token_table
from arenad.store.states import AFTER, Verb, after
from desk_service import DeskService
from keys import put

from pam_arena.errors import Refusal

TABLE = """
           stock      unproven  requested  active    disabled  expired   lost      retired
request    requested  -         -          -         -         -         -         -
reject     -          -         stock      -         -         -         -         -
prove      -          stock     -          -         -         -         -         -
assign     active     -         active     -         -         -         -         -
unassign   -          -         -          stock     stock     stock     stock     -
enable     -          -         -          active    active    active    active    -
disable    -          -         -          disabled  -         disabled  -         -
lost       -          -         -          lost      lost      lost      -         -
replace    -          -         -          retired   retired   retired   retired   -
retire     retired    retired   -          retired   retired   retired   retired   -
resync     stock      -         requested  active    disabled  expired   -         -
"""
STATES, *ROWS = (line.split() for line in TABLE.strip().splitlines())
CELLS = [(row[0], state, to) for row in ROWS for state, to in zip(STATES, row[1:], strict=True)]


def test_the_table_has_every_verb_and_every_state() -> None:
    assert {row[0] for row in ROWS} == {verb.value for verb in Verb} == {verb.value for verb in AFTER}
    assert set(STATES) == {state.value for state in State} - {"staged", "decoy"}


@pytest.mark.parametrize(("verb", "state", "to"), CELLS, ids=["-".join(cell[:2]) for cell in CELLS])
def test_every_cell_of_the_table_of_states(verb: str, state: str, to: str) -> None:
    if to != "-":
        assert after(Verb(verb), State(state), "K-1", "alice") == to
        return
    with pytest.raises(Refusal) as refused:
        after(Verb(verb), State(state), "K-1", "alice")
    assert "token K-1 " in str(refused.value)
    assert not re.search(r"[{}]", str(refused.value))


USERS = {"active": "bin", "disabled": "sys", "expired": "games", "lost": "man"}
BODIES: dict[str, dict[str, object]] = {
    "assign": {"holder": "daemon"},
    "enable": {"until": "never"},
    "replace": {"until": "9d"},
    "prove": {"code": "12345"},  # no code of six digits: what the state allows is refused for that
    "resync": {"codes": []},
}
ONLY_BY_ITS_STATE = {"prove", "resync"}
DESK_VERBS = sorted({row[0] for row in ROWS} - {"request", "reject"})


@pytest.mark.parametrize("verb", DESK_VERBS)
def test_the_desk_holds_to_the_table(house: DeskService, verb: str) -> None:
    service = house.service
    for _, state, to in (cell for cell in CELLS if cell[0] == verb):
        serial, new = f"{verb}-{state}", f"new-{verb}-{state}"
        put(service, serial, State(state), USERS.get(state) if verb == "replace" else None)
        body = dict(BODIES.get(verb, {}))
        if verb == "replace":
            put(service, new, State.STOCK)
            body["new"] = new
        before = {row["serial"]: row for row in service.rows(token_table)}
        rows = len(service.rows(audit))
        answer = house.ask("POST", f"/tokens/{serial}/{verb}", body)
        now = {row["serial"]: row for row in service.rows(token_table)}
        if to == "-":
            assert (answer.status_code, answer.json()["exit"]) == (409, 1), (serial, answer.text)
            assert f"token {serial} " in answer.json()["error"]
        elif verb in ONLY_BY_ITS_STATE:
            assert re.search("codes? of 6 digits", answer.json()["error"]), (serial, answer.text)
        else:
            assert (answer.status_code, now[serial]["state"]) == (200, to), (serial, answer.text)
            assert service.rows(audit)[rows]["event"] == f"token-{verb}"
            continue
        assert (now, len(service.rows(audit))) == (before, rows)
