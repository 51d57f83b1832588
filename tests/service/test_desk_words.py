"""What the desk says of references: every reason has its words, and those that send somebody away their remedy."""

import re

import pytest
from arena import Service
from arenad.audit import Reason
from arenad.desk.words import explain
from arenad.store.schema import audit, stranger
from desk_service import DeskService
from dialogues import NEXT, PIN, Holder, change, deny, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
NOTHING_TO_DO = {Reason.RIGHT, Reason.RECOVERY, Reason.MAILED}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_and_a_remedy(reason: Reason) -> None:
    what, remedy = explain(reason.value, "1764000000", "alice", "K-1")
    assert what not in ("", reason.value)
    assert bool(remedy) == (reason not in NOTHING_TO_DO)
    assert not re.search(r"[{}]", what + remedy)


def test_details_are_told() -> None:
    assert explain("drifted", "+3")[0] == "right code of another time: a drift of +3 steps"
    assert explain("waiting", "1764000000")[0].endswith("waiting until 2025-11-24 16:00:00 UTC")
    assert "(drift of -4 steps)" in explain("next-code-asked", "-4")[0]
    assert "drift" not in explain("next-code-asked", "")[0]


def test_the_remedy_names_who_it_was_as_far_as_that_is_known() -> None:
    assert explain("drifted", "+3", "alice", "K-1")[1].count("arenactl token resync K-1") == 1
    assert explain("unknown-name", "", "~0011223344556677")[1].endswith("arenactl token assign SERIAL USER")
    assert explain("wrong-pin", "", "alice")[1] == "a forgotten PIN: arenactl pin reset alice"


def test_a_reason_of_a_later_release_is_shown_as_it_is() -> None:
    assert explain("abducted", "") == ("abducted", "")


def why(service: Service, desk: DeskService) -> tuple[str, str]:
    told = desk.get(f"/why/{last(service)['ref']}")
    return told["what"], told["remedy"]


def test_a_reference_of_a_real_denial_is_explained(service: Service, desk: DeskService) -> None:
    Holder(service, mechanism=HOTP)
    deny(service, "alice", split("2847", "000000"))
    assert why(service, desk) == (
        "neither PIN nor code was right",
        "type PIN + the 6 digits on the key; a forgotten PIN: arenactl pin reset alice; "
        "a key that is off: arenactl token resync K-alice",
    )


def test_an_unknown_name_is_told_whatever_was_typed_and_however_many_strangers_came(
    service: Service, desk: DeskService
) -> None:
    """sshd types junk for a name that does not exist, and after five guesses at any such names all of them wait."""
    for typed in (split("\b\n\r\x7f", "\b\n\r\x7fIN"), *[split(PIN, "000000")] * 6):
        deny(service, "alcie", typed)
        told = desk.get(f"/why/{last(service, stranger)['ref']}")
        assert (told["reason"], told["what"]) == ("unknown-name", "unknown name: it has no key, or does not exist")


def test_a_drift_a_used_code_and_a_next_code_are_explained(service: Service, desk: DeskService) -> None:
    alice = Holder(service, mechanism=HOTP)
    deny(service, "alice", split(PIN, alice.code(15)))
    assert why(service, desk)[0] == "right code of another time: a drift of +16 steps"
    assert why(service, desk)[1].count("arenactl token resync K-alice") == 1
    for _ in range(2):
        deny(service, "alice", split("2847", alice.code(0)))
    deny(service, "alice", [*split(PIN, alice.code(1)), (NEXT, "000000")])
    assert why(service, desk)[0] == "right passcode, but next code wrong: it is not the one right after it"


def test_a_reference_is_found_however_it_is_read_out(service: Service, desk: DeskService) -> None:
    Holder(service, mechanism=HOTP)
    deny(service, "alice", split(PIN, "000000"))
    change(service, audit, ref="0011AAZZ")
    for spelled in ("0011AAZZ", "ooil-aazz", "OOLL AAZZ"):
        assert desk.get(f"/why/{spelled}")["ref"] == "0011AAZZ"
