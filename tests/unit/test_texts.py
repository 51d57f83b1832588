"""What a holder reads, word for word, and how wide a prompt may be."""

import re
import string

import pytest

from pam_arena.errors import ConfigError
from pam_arena.pin import Flaw, Policy
from pam_arena.texts import LANGUAGES, REPLACEABLE, Texts, texts_in

N = "\u00a0"
POLICY = Policy(4, 6)

# The list of texts by its numbers, {…} filled in as `_said` fills them in. Text 6 is the module's own.
ENGLISH = {
    1: "Passcode (PIN + code; first: code): ",
    2: "PIN (first login: leave empty): ",
    3: "Passcode (the code on your key): ",
    4: "Access denied. Wait for a new code, then retry. (ref K7QX)",
    5: "If allowed, a code was mailed. Code: ",
    7: "Choose a PIN (4 to 6 digits): ",
    8: "Same PIN again: ",
    9: "The two PINs differ. Start again.",
    10: "A PIN has 4 to 6 digits.",
    11: "Too easy to guess. Choose another.",
    12: "PIN used before. Choose another.",
    13: "PIN created. New code in about 41 s.",
    14: "PIN + new code: ",
    15: "PIN created. Log in again: PIN + new code.",
    16: "Still the old code. Wait for the next.",
    17: "Wait; next code alone: ",
    18: "PIN expired. Choose a new one.",
    19: "Current passcode (PIN + code): ",
    20: "PIN changed.",
    21: "Your new PIN is 8361. Memorise it.",
    22: "Emergency codes left: 9",
    23: "Key 90-114-662 requested. You will get a mail.",
    24: "Key 90-114-662 disabled as lost. Help: 7890",
}
FRENCH = {
    1: f"Passcode (PIN + code{N}; 1re fois{N}: code){N}: ",
    2: f"Code PIN (1re connexion{N}: laisser vide){N}: ",
    3: f"Passcode (code affiché sur la clé){N}: ",
    4: "Accès refusé. Attendez un nouveau code, puis réessayez. (réf. K7QX)",
    5: f"Si autorisé, code envoyé par mel. Code{N}: ",
    7: f"Choisissez un code PIN (4 à 6 chiffres){N}: ",
    8: f"Confirmez le code PIN{N}: ",
    9: "Les deux codes PIN diffèrent. Recommencez.",
    10: "Un code PIN comporte 4 à 6 chiffres.",
    11: "Trop facile à deviner. Choisissez-en un autre.",
    12: "Code PIN déjà utilisé. Choisissez-en un autre.",
    13: "Code PIN créé. Nouveau code dans 41 s environ.",
    14: f"Code PIN + nouveau code{N}: ",
    15: f"Code PIN créé. Reconnectez-vous{N}: PIN + nouveau code.",
    16: "C’est encore l’ancien code. Attendez le suivant.",
    17: f"Patientez{N}; code suivant, seul{N}: ",
    18: "Code PIN expiré. Choisissez-en un nouveau.",
    19: f"Passcode actuel (PIN + code){N}: ",
    20: "Code PIN modifié.",
    21: "Votre code PIN est 8361. Mémorisez-le.",
    22: f"Codes de secours restants{N}: 9",
    23: "Activation de la clé 90-114-662 demandée. Vous serez prévenu par mel.",
    24: f"Clé 90-114-662 désactivée (perte). Assistance{N}: 7890",
}


def _said(language: str) -> dict[int, str]:
    return _said_by(texts_in(language))


def _said_by(texts: Texts) -> dict[int, str]:
    return {
        1: texts.joined,
        2: texts.pin,
        3: texts.passcode,
        4: texts.denied("K7QX"),
        5: texts.mail_code,
        7: texts.choose_pin(POLICY),
        8: texts.same_pin,
        9: texts.pins_differ,
        10: texts.flaw(Flaw.LENGTH, POLICY),
        11: texts.flaw(Flaw.EASY, POLICY),
        12: texts.flaw(Flaw.USED, POLICY),
        13: texts.pin_created(41),
        14: texts.new_passcode,
        15: texts.log_in_again,
        16: texts.old_code,
        17: texts.next_code,
        18: texts.pin_expired,
        19: texts.current_passcode,
        20: texts.pin_changed,
        21: texts.generated_pin("8361"),
        22: texts.codes_left(9),
        23: texts.key_requested("90-114-662"),
        24: texts.key_lost("90-114-662", "7890"),
    }


@pytest.mark.parametrize("row", ENGLISH)
def test_the_english_sentence_is_the_one_agreed_on(row: int) -> None:
    assert _said("en")[row] == ENGLISH[row]


@pytest.mark.parametrize("row", FRENCH)
def test_the_french_sentence_is_the_one_agreed_on(row: int) -> None:
    assert _said("fr")[row] == FRENCH[row]


def test_no_sentence_of_a_language_is_left_untried() -> None:
    assert len(vars(texts_in("en"))) == len(ENGLISH) == len(FRENCH)
    assert set(LANGUAGES) == {"en", "fr"}


# What stands in front of an answer; 4, 20 and 22 end a conversation, 23 and 24 are arena-key's.
PROMPTS = [row for row in ENGLISH if row not in (4, 20, 22, 23, 24)]


@pytest.mark.parametrize("row", PROMPTS)
def test_an_english_prompt_has_at_most_45_columns(row: int) -> None:
    assert len(_said("en")[row]) <= 45


def test_an_english_prompt_stays_in_45_columns_whatever_is_filled_in() -> None:
    texts = texts_in("en")
    widest = [
        texts.choose_pin(Policy(10, 64)),
        texts.flaw(Flaw.LENGTH, Policy(10, 64)),
        texts.pin_created(86400),
        texts.generated_pin("83619074"),
    ]
    assert max(len(one) for one in widest) <= 45


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_prompt_ends_where_the_answer_begins(language: str) -> None:
    assert all(_said(language)[row].endswith(": ") for row in (1, 2, 3, 5, 7, 8, 14, 17, 19))


def test_french_sets_no_plain_space_before_its_tall_punctuation() -> None:
    assert not [one for one in _said("fr").values() if any(f" {mark}" in one for mark in ":;?!")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages_fill_in_the_same_names(language: str) -> None:
    def names(texts: Texts) -> dict[str, list[str | None]]:
        return {key: sorted(part[1] or "" for part in string.Formatter().parse(value)) for key, value in vars(texts).items()}

    wanted = {key: {n for n in value if n} for key, value in names(texts_in("en")).items()}
    assert {key: {n for n in value if n} for key, value in names(texts_in(language)).items()} == wanted


@pytest.mark.parametrize("language", ["de", "", "../fr", "xx_XX"])
def test_a_language_without_a_catalogue_is_refused_by_its_name(language: str) -> None:
    with pytest.raises(ConfigError, match="catalogue"):
        texts_in(language)


# --- a service's own texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_service_may_replace_a_single_text(language: str) -> None:
    texts = texts_in(language, {"pin": "Your PIN: ", "denied": "No ({ref})", "choose_pin": "New PIN: "})
    assert (texts.pin, texts.denied("K7QX"), texts.choose_pin(POLICY)) == ("Your PIN: ", "No (K7QX)", "New PIN: ")
    assert texts.joined == texts_in(language).joined
    assert texts_in(language).pin != "Your PIN: "


def test_every_text_of_a_conversation_may_be_replaced_by_its_name() -> None:
    own = {name: f"<{name}>" + "".join(f"{{{one}}}" for one in sorted(filled)) for name, filled in REPLACEABLE.items()}
    texts = texts_in("fr", own)
    said = [value for row, value in _said_by(texts).items() if row not in (23, 24)]
    assert len(said) == len(REPLACEABLE)
    assert {value.partition(">")[0] for value in said} == {f"<{name}" for name in REPLACEABLE}


def test_what_each_text_fills_in_is_known_by_its_name() -> None:
    assert REPLACEABLE["denied"] == {"ref"}
    assert REPLACEABLE["choose_pin"] == REPLACEABLE["pin_length"] == {"min", "max"}
    assert REPLACEABLE["pin_created"] == REPLACEABLE["codes_left"] == {"n"}
    assert REPLACEABLE["generated_pin"] == {"pin"}
    assert not REPLACEABLE["joined"]
    assert not {"key_requested", "key_lost"} & set(REPLACEABLE)


def test_the_same_texts_are_the_same_object() -> None:
    own = {"pin": "Your PIN: ", "passcode": "Code: "}
    assert texts_in("en", own) is texts_in("en", tuple(reversed(own.items())))
    assert texts_in("en", {}) is texts_in("en")
    assert len({texts_in("en"), texts_in("en", own), texts_in("fr", own)}) == 3


def test_braces_are_written_twice() -> None:
    texts = texts_in("en", {"pin": "PIN {{4}}: ", "denied": "{{no}} {ref}"})
    assert (texts.pin, texts.denied("K7QX")) == ("PIN {4}: ", "{no} K7QX")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("greeting", "Hello", "none of that name"),
        ("key_lost", "Gone: {serial} {help}", "none of that name"),
        ("_denied", "No ({ref})", "none of that name"),
        ("pin", "PIN of {user}: ", "{user} is unknown; this text fills in nothing"),
        ("choose_pin", "PIN {min} {serial}: ", "{serial} is unknown; this text fills in {max}, {min}"),
        ("denied", "No ({ref.__class__})", "unknown"),
        ("denied", "No ({})", "unknown"),
        ("denied", "No ({ref:>99})", "braces"),
        ("denied", "No ({ref!r})", "braces"),
        ("denied", "No ({ref)", "denied"),
        ("pin", "PIN}: ", "pin"),
        ("denied", "No.", "{ref} is missing"),
        ("generated_pin", "You have a PIN.", "{pin} is missing"),
    ],
)
def test_a_text_that_could_not_be_said_is_refused_by_its_name(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        texts_in("en", {name: text})
    assert repr(name) in str(refused.value)
