"""What arena-key says: as dialogues, and word for word in both languages."""

import re
import string
from typing import Any

import pytest

from pam_arena.conversation import Ask, Manner, Outcome, Result, Say, Verdict, Verify
from pam_arena.holder_talk import (
    Asked,
    Codes,
    Conversation,
    Key,
    LoseKey,
    MakeCodes,
    Own,
    Proved,
    ProveKey,
    ReadOwn,
    Words,
    lose_key,
    renew_codes,
    request_key,
    show_own,
)
from pam_arena.key_texts import _ENGLISH, key_texts_in
from pam_arena.pin import Passcode
from pam_arena.protocol import Style
from pam_arena.secret import Secret
from pam_arena.texts import LANGUAGES, texts_in

SERIAL = "00912345"
NOON = 1764072000  # 2025-11-25 12:00 UTC
WORDS = {language: Words(Manner(texts_in(language)), key_texts_in(language, "7890")) for language in LANGUAGES}
EN, FR = WORDS["en"], WORDS["fr"]
ACTIVE = Own(NOON, keys=(Key(SERIAL, "active"),), pin_set_at=NOON)


def secret(text: str) -> Secret:
    return Secret(text.encode())


def play(talk: Conversation, *lines: tuple[Any, Any]) -> Result:
    """Hold a conversation to its script; what is left over on either side fails."""
    reply, left = None, list(lines)
    try:
        while True:
            step = talk.send(reply)
            assert left, f"more than the script: {step}"
            expected, reply = left.pop(0)
            assert step == expected
    except StopIteration as end:
        assert not left, left
        result: Result = end.value
        return result


def say(text: str, style: Style = Style.INFO) -> tuple[Say, None]:
    return Say(style, text), None


def ask(text: str, typed: str, style: Style = Style.HIDDEN) -> tuple[Ask, Secret]:
    return Ask(style, text), secret(typed)


CODES = [ask("The code on the key now: ", "111111"), ask("Wait until it changes; the next code: ", "222222")]
PROVE = ProveKey(SERIAL, secret("111111"), secret("222222"))


def test_a_request_wants_two_codes_and_is_told_in_one_sentence() -> None:
    told = say(f"Key {SERIAL} requested. You will get a mail.")
    assert play(request_key(EN, SERIAL), *CODES, (PROVE, Proved()), told) is Result.GRANTED
    number = ask("Serial number on the back of the key: ", f" {SERIAL} ", Style.SHOWN)
    assert play(request_key(EN, ""), number, *CODES, (PROVE, Proved()), told) is Result.GRANTED


def test_a_request_is_refused_by_the_sentence_of_every_denial() -> None:
    told = say("Access denied. Wait for a new code, then retry. (ref K7QX)", Style.ERROR)
    assert play(request_key(EN, SERIAL), *CODES, (PROVE, Proved("K7QX")), told) is Result.DENIED


@pytest.mark.parametrize(("answer", "goes"), [("yes", True), ("OUI", True), ("y", True), ("", False), ("non", False)])
def test_a_loss_is_confirmed(answer: str, goes: bool) -> None:
    script = [(ReadOwn(), ACTIVE), ask(f"Disable key {SERIAL} as lost? (yes/no): ", answer, Style.SHOWN)]
    if goes:
        script += [(LoseKey(SERIAL), True), say(f"Key {SERIAL} disabled as lost. Help: 7890")]
    else:
        script += [say("Nothing was changed.", Style.ERROR)]
    assert play(lose_key(EN, ""), *script) is (Result.GRANTED if goes else Result.DENIED)


def test_of_several_keys_one_is_to_be_named() -> None:
    own = Own(NOON, keys=(Key("A-1", "active"), Key("A-2", "disabled"), Key("A-3", "retired"), Key("A-4", "lost")))
    which = say("Which key? arena-key lost SERIAL: A-1, A-2", Style.ERROR)
    assert play(lose_key(EN, ""), (ReadOwn(), own), which) is Result.DENIED


def verified(code: str, **more: Any) -> Verdict:
    return Verdict(Outcome.GRANTED, serial=SERIAL, passcode=Passcode("2846", code, True), **more)


CURRENT = ask("Current passcode (PIN + code): ", "2846111111")
VERIFY = Verify(None, secret("2846111111"))


def test_codes_are_made_for_a_passcode_with_a_code_of_the_key_alone() -> None:
    head = [(ReadOwn(), ACTIVE), CURRENT]
    made = Codes("alice", ("AAAAA-BBBBB", "CCCCC-DDDDD"))
    page = [
        say("Emergency codes for alice; the older ones work no more:"),
        say("   1  AAAAA-BBBBB\n   2  CCCCC-DDDDD"),
        *(say(_ENGLISH[name]) for name in ("codes_how", "codes_once", "codes_shown")),
    ]
    assert play(renew_codes(EN), *head, (VERIFY, verified("111111")), (MakeCodes(), made), *page) is Result.GRANTED
    refused = say("Only the code on your key will do. Help: 7890", Style.ERROR)
    assert play(renew_codes(EN), *head, (VERIFY, verified("AAAAA-BBBBB")), refused) is Result.DENIED
    expired = say("PIN expired. Choose a new one.", Style.ERROR)
    assert play(renew_codes(EN), *head, (VERIFY, verified("111111", pin_expired=True)), expired) is Result.DENIED
    assert "AAAAA" not in repr(made)


def test_without_a_working_key_no_codes_are_asked_for() -> None:
    for state in ("lost", "disabled", "expired", "requested"):
        told = say("No key of yours works: no new codes. Help: 7890", Style.ERROR)
        assert play(renew_codes(EN), (ReadOwn(), Own(NOON, keys=(Key(SERIAL, state),))), told) is Result.DENIED


STATES = ("active", "requested", "unproven", "disabled", "lost", "retired", "expired")
REQUESTS = tuple(Asked(f"R-{state}", NOON, state, "no badge") for state in ("open", "approved", "rejected"))
EVERYTHING = Own(NOON, NOON, None, (*(Key(f"K-{one}", one) for one in STATES), Key("K-short", "active", NOON)), REQUESTS, 7)


def test_what_one_has_is_told_in_french() -> None:
    lines = """\
Clé K-active : activée
Clé K-requested : demandée, en attente de l’assistance
Clé K-unproven : en attente d’un premier code juste
Clé K-disabled : désactivée. Assistance : 7890
Clé K-lost : perdue, désactivée. Assistance : 7890
Clé K-retired : retirée du service
Clé K-expired : arrivée à échéance. Assistance : 7890
Clé K-short : activée jusqu’au 25/11/2025
Code PIN : oui, depuis le 25/11/2025
Demande du 25/11/2025 pour la clé R-open : en attente de l’assistance
Demande du 25/11/2025 pour la clé R-approved : acceptée
Demande du 25/11/2025 pour la clé R-rejected : refusée : no badge
Codes de secours restants : 7""".replace(" :", "\u00a0:")
    assert play(show_own(FR), (ReadOwn(), EVERYTHING), *map(say, lines.splitlines())) is Result.GRANTED


@pytest.mark.parametrize(
    ("until", "line"),
    [(NOON + 86400, "PIN: none yet; choose it at your next login, before 2025-11-26"), (NOON, "PIN: none, and the time")],
)
def test_who_has_no_pin_is_told_until_when_to_choose_one(until: int, line: str) -> None:
    talk = show_own(EN)
    talk.send(None)
    talk.send(Own(NOON, None, until, (Key(SERIAL, "active"),)))
    told = talk.send(None)
    assert isinstance(told, Say) and told.text.startswith(line)


def test_every_sentence_is_french_in_french_with_its_hard_spaces_and_the_same_placeholders() -> None:
    for name, english in _ENGLISH.items():
        french = FR.key._said[name]
        assert french != english, name
        assert not re.search(r" [:;?!]", french), french
        assert sorted(p[1] or "" for p in string.Formatter().parse(french)) == sorted(
            p[1] or "" for p in string.Formatter().parse(english)
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_has_at_most_45_columns(language: str) -> None:
    for name in ("serial", "first_code", "next_code", "confirm_lost"):
        text = WORDS[language].key.say(name, serial=SERIAL)
        assert len(text) <= 45 and text.endswith(": "), text
