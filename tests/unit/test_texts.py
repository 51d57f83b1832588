"""What a holder reads, word for word, and how wide a prompt may be."""

import string

import pytest

from pam_arena.errors import ConfigError
from pam_arena.pin import Flaw, Policy
from pam_arena.texts import LANGUAGES, Texts, texts_in

N = "\u00a0"
POLICY = Policy(4, 6)

# The rows of the list of texts that this version says, by their numbers there; {…} filled in as `_said` fills them in.
ENGLISH = {
    1: "Passcode (PIN + code; first: code): ",
    2: "PIN (first login: leave empty): ",
    3: "Passcode (the code on your key): ",
    4: "Access denied. Wait for a new code, then retry. (ref K7QX)",
    7: "Choose a PIN (4 to 6 digits): ",
    8: "Same PIN again: ",
    9: "The two PINs differ. Start again.",
    10: "A PIN has 4 to 6 digits.",
    11: "Too easy to guess. Choose another.",
    13: "PIN created. New code in about 41 s.",
    14: "PIN + new code: ",
    16: "Still the old code. Wait for the next.",
    19: "Current passcode (PIN + code): ",
    20: "PIN changed.",
}
FRENCH = {
    1: f"Passcode (PIN + code{N}; 1re fois{N}: code){N}: ",
    2: f"Code PIN (1re connexion{N}: laisser vide){N}: ",
    3: f"Passcode (code affiché sur la clé){N}: ",
    4: "Accès refusé. Attendez un nouveau code, puis réessayez. (réf. K7QX)",
    7: f"Choisissez un code PIN (4 à 6 chiffres){N}: ",
    8: f"Confirmez le code PIN{N}: ",
    9: "Les deux codes PIN diffèrent. Recommencez.",
    10: "Un code PIN comporte 4 à 6 chiffres.",
    11: "Trop facile à deviner. Choisissez-en un autre.",
    13: "Code PIN créé. Nouveau code dans 41 s environ.",
    14: f"Code PIN + nouveau code{N}: ",
    16: "C’est encore l’ancien code. Attendez le suivant.",
    19: f"Passcode actuel (PIN + code){N}: ",
    20: "Code PIN modifié.",
}


def _said(language: str) -> dict[int, str]:
    texts = texts_in(language)
    return {
        1: texts.joined,
        2: texts.pin,
        3: texts.passcode,
        4: texts.denied("K7QX"),
        7: texts.choose_pin(POLICY),
        8: texts.same_pin,
        9: texts.pins_differ,
        10: texts.flaw(Flaw.LENGTH, POLICY),
        11: texts.flaw(Flaw.EASY, POLICY),
        13: texts.pin_created(41),
        14: texts.new_passcode,
        16: texts.old_code,
        19: texts.current_passcode,
        20: texts.pin_changed,
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


# What stands in front of an answer; 4 and 20 end a conversation.
PROMPTS = [row for row in ENGLISH if row not in (4, 20)]


@pytest.mark.parametrize("row", PROMPTS)
def test_an_english_prompt_has_at_most_45_columns(row: int) -> None:
    assert len(_said("en")[row]) <= 45


def test_an_english_prompt_stays_in_45_columns_whatever_is_filled_in() -> None:
    texts = texts_in("en")
    widest = [texts.choose_pin(Policy(10, 64)), texts.flaw(Flaw.LENGTH, Policy(10, 64)), texts.pin_created(86400)]
    assert max(len(one) for one in widest) <= 45


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_prompt_ends_where_the_answer_begins(language: str) -> None:
    assert all(_said(language)[row].endswith(": ") for row in (1, 2, 3, 7, 8, 14, 19))


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
