"""The mails as shipped: each kind in each language, whole, in good French, and nothing left unfilled."""

import re
from pathlib import Path

import pytest
from arenad.letters import templates
from arenad.letters.templates import FILLED_IN, Kind, check, write

from pam_arena.texts import LANGUAGES

SHIPPED = Path(templates.__file__).parent
WORDS = {
    "name": "alice",
    "host": "lycee1",
    "date": "2026-11-24 at 12:00",
    "serial": "00912345",
    "digits": "6",
    "until": "2026-12-08 at 12:00",
    "min": "4",
    "max": "6",
    "why": "Come in person.",
}
STEPS = {
    "en": ("Log in to lycee1 as alice", "password", "PIN: leave it empty", "the 6 digits", "4 to 6", "change", "PIN + code"),
    "fr": ("Connectez-vous à lycee1", "mot de passe", "laissez vide", "les 6 chiffres", "4 à 6", "changent", "PIN + code"),
}
LAST = {
    "en": ("Memorise the PIN", "never write it on the key", "A forgotten PIN is reset by\nthe service desk (7890)."),
    "fr": ("Mémorisez le code PIN", "ne l’écrivez jamais sur la clé", "oublié\nest réinitialisé par l’assistance (7890)."),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_every_mail_is_whole_and_readable(kind: Kind, language: str, tmp_path: Path) -> None:
    words = {name: word for name, word in WORDS.items() if name in FILLED_IN[kind]}
    subject, text = write(kind, language, words, "7890", tmp_path)
    assert len(subject) <= 70 and "\n" not in subject
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"[{}]", subject + text)
    assert text.endswith("\n") and not text.startswith("\n")
    if kind is not Kind.TEST:
        assert "(7890)" in text and "alice" in text
    if language == "fr":
        assert not re.search(r" [:;?!»]|« ", subject + text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_mail_of_an_activated_key_has_every_step_in_its_order(language: str, tmp_path: Path) -> None:
    _, text = write(Kind.ACTIVATED, language, WORDS, "7890", tmp_path)
    steps = re.findall(r"^  (\d)\. (.+)$", text, re.MULTILINE)
    assert [number for number, _ in steps] == list("1234567")
    assert all(wanted in step for wanted, (_, step) in zip(STEPS[language], steps, strict=True)), steps
    assert all(wanted in text for wanted in LAST[language])
    assert text.index(steps[-1][1]) < text.index(LAST[language][0])


def test_without_a_phone_number_the_desk_is_named_alone(tmp_path: Path) -> None:
    assert "reset by\nthe service desk.\n" in write(Kind.ACTIVATED, "en", WORDS, "", tmp_path)[1]


def test_the_texts_as_shipped_have_no_fault() -> None:
    assert check(SHIPPED) == []
    assert len(list(SHIPPED.glob("*.txt"))) == len(Kind) * len(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Subject: x\n\n{serials}\n", "{serials} is unknown; this mail fills in {date}, {desk}"),
        ("Subject: {why}\n\ntext\n", "{why} is unknown"),
        ("Subject: x\n\n{name.__class__}\n", "{name.__class__} is unknown"),
        ("Subject: x\n\n{name!r}\n", "{name!r} is unknown"),
        ("Subject: x\n\n{name:>9}\n", "{name:>9} is unknown"),
        ("Subject: x\n\n{}\n", "{} is unknown"),
        ("Subject: x\n\n{name\n", "a brace of the text itself is written twice"),
        ("Hello\n\ntext\n", "wanted: a first line `Subject: …`"),
        ("Subject:\n\ntext\n", "wanted: a first line `Subject: …`"),
        ("Subject: x\n\n \n", "wanted: a first line `Subject: …`"),
        ("Subject: a\x07b\n\ntext\n", "the subject has a control character"),
        ("Subject: \xe9\n\ntext\n", "is not UTF-8"),
        ("", "wanted: a first line `Subject: …`"),
    ],
)
def test_a_file_that_is_no_template_is_named_and_the_shipped_one_goes(
    text: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pin-created.en.txt"
    file.write_bytes(text.encode("latin-1" if "\xe9" in text else "utf-8"))
    [fault] = check(tmp_path)
    assert fault.startswith(f"{file}: ") and told in fault
    words = {name: WORDS[name] for name in ("name", "host", "date", "serial")}
    assert write(Kind.PIN_CREATED, "en", words, "7890", tmp_path)[0] == "A PIN was created for your key"
    assert fault in caplog.text
