"""The text of a mail to a holder: a file of the administrator's, or, where that is of no use, the one that was shipped.

A template is KIND.LANGUAGE.txt, in UTF-8: a line `Subject: …`, an empty line, then the text; {name} and its like are filled
in. In the place of a file that is missing, the text as shipped goes; also in that of one that is no template, or has a
placeholder that its kind does not fill in, and the journal names both: a slip in a file must lose no mail.
"""

import datetime
import enum
import logging
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from pam_arena.errors import ConfigError
from pam_arena.texts import LANGUAGES

log = logging.getLogger(__name__)

FOLDER = "mail"  # beside arena.toml
_SHIPPED = Path(__file__).parent
_SUBJECT = "Subject:"


class Kind(enum.StrEnum):
    """What a mail tells, and the name of its template."""

    ACTIVATED = "activated"
    ACTIVATED_WITH_PIN = "activated-with-pin"  # of one who has a PIN already
    REJECTED = "rejected"
    PIN_RESET = "pin-reset"
    PIN_CREATED = "pin-created"
    KEY_LOST = "key-lost"
    TEST = "test"


_ALWAYS = frozenset({"name", "host", "date", "help", "desk"})
_NEW_PIN = frozenset({"until", "min", "max"})
# What each kind fills in, beside what all do.
FILLED_IN: Mapping[Kind, frozenset[str]] = {
    Kind.ACTIVATED: _ALWAYS | _NEW_PIN | {"serial", "digits"},
    Kind.ACTIVATED_WITH_PIN: _ALWAYS | {"serial", "digits"},
    Kind.REJECTED: _ALWAYS | {"serial", "why"},
    Kind.PIN_RESET: _ALWAYS | _NEW_PIN,
    Kind.PIN_CREATED: _ALWAYS | {"serial"},
    Kind.KEY_LOST: _ALWAYS | {"serial"},
    Kind.TEST: _ALWAYS,
}
_DESK = {"en": "the service desk", "fr": "l’assistance"}
_TIME = {"en": "%Y-%m-%d at %H:%M", "fr": "%d/%m/%Y à %H:%M"}


@frozen
class Template:
    """A subject and a text, whose placeholders are known to be filled in."""

    subject: str
    text: str


def check(folder: Path) -> list[str]:
    """What is wrong with the templates of a folder, a sentence each; a folder that is not there has no fault."""
    faults = []
    for kind in Kind:
        for language in LANGUAGES:
            file = folder / _name(kind, language)
            if not file.exists():
                continue
            try:
                _read(file, kind)
            except ConfigError as error:
                faults.append(str(error))
    return faults


def write(kind: Kind, language: str, words: Mapping[str, str], desk: str, folder: Path) -> tuple[str, str]:
    """(subject, text) of a mail. words: all that its kind fills in, but help and desk; desk: where the desk is reached."""
    template = _template(kind, language, folder)
    named = _DESK[language] + (f" ({desk})" if desk else "")
    values = {**words, "help": desk, "desk": named}
    return template.subject.format_map(values), template.text.format_map(values)


def show_time(seconds: int, language: str) -> str:
    """A time in this host's zone, as a holder reads it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime(_TIME[language])


def _template(kind: Kind, language: str, folder: Path) -> Template:
    file = folder / _name(kind, language)
    if not file.exists():
        file = _SHIPPED / file.name
    try:
        return _read(file, kind)
    except ConfigError as error:
        log.error("mail: the text as shipped goes instead of a template: %s", error)
        return _read(_SHIPPED / _name(kind, language), kind)


def _name(kind: Kind, language: str) -> str:
    return f"{kind.value}.{language}.txt"


def _read(file: Path, kind: Kind) -> Template:
    try:
        subject, _, text = file.read_text("utf-8").partition("\n")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8") from None
    subject = subject.strip()
    if not subject.startswith(_SUBJECT) or subject == _SUBJECT or not text.strip():
        raise ConfigError(f"{file}: wanted: a first line `{_SUBJECT} …`, an empty line, then the text")
    template = Template(subject.removeprefix(_SUBJECT).strip(), text.lstrip("\n"))
    if any(unicodedata.category(one)[0] == "C" for one in template.subject):
        raise ConfigError(f"{file}: the subject has a control character")
    for part in (template.subject, template.text):
        _check(file, part, FILLED_IN[kind])
    return template


def _check(file: Path, text: str, allowed: frozenset[str]) -> None:
    try:
        parts = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigError(f"{file}: {error}; a brace of the text itself is written twice") from None
    for name, spec, conversion in parts:
        if name not in allowed or spec or conversion:
            known = ", ".join(f"{{{one}}}" for one in sorted(allowed))
            more = f":{spec}" if spec else f"!{conversion}" if conversion else ""
            raise ConfigError(f"{file}: {{{name}{more}}} is unknown; this mail fills in {known}")
