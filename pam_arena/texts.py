"""Every sentence that a holder reads, by its meaning, in the language of the configuration.

The msgids are the English sentences; locale/fr has the French ones. Prompts have at most 45 columns. A service may put
texts of its own in the place of those in REPLACEABLE. French has U+00A0 before `:` and `;`, which a terminal that does not
speak UTF-8 may not know: there it is a plain space.
"""

import gettext
import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from .errors import ConfigError
from .pin import Flaw, Policy

LANGUAGES = ("en", "fr")
NO_BREAK = "\u00a0"
_LOCALES = Path(__file__).with_name("locale")

_ENGLISH = {
    "joined": "Passcode (PIN + code; first: code): ",
    "pin": "PIN (first login: leave empty): ",
    "passcode": "Passcode (the code on your key): ",
    "denied": "Access denied. Wait for a new code, then retry. (ref {ref})",
    "mail_code": "If allowed, a code was mailed. Code: ",
    "choose_pin": "Choose a PIN ({min} to {max} digits): ",
    "same_pin": "Same PIN again: ",
    "pins_differ": "The two PINs differ. Start again.",
    "pin_length": "A PIN has {min} to {max} digits.",
    "pin_easy": "Too easy to guess. Choose another.",
    "pin_used": "PIN used before. Choose another.",
    "pin_created": "PIN created. New code in about {n} s.",
    "new_passcode": "PIN + new code: ",
    "log_in_again": "PIN created. Log in again: PIN + new code.",
    "old_code": "Still the old code. Wait for the next.",
    "next_code": "Wait; next code alone: ",
    "pin_expired": "PIN expired. Choose a new one.",
    "current_passcode": "Current passcode (PIN + code): ",
    "pin_changed": "PIN changed.",
    "generated_pin": "Your new PIN is {pin}. Memorise it.",
    "codes_left": "Emergency codes left: {n}",
    "key_requested": "Key {serial} requested. You will get a mail.",
    "key_lost": "Key {serial} disabled as lost. Help: {help}",
}
# What a text may not leave out, and why.
_NEEDED = {"denied": ("ref", "the desk could not find out what was wrong"), "generated_pin": ("pin", "nobody would know it")}
_FOR_ARENA_KEY = {"key_requested", "key_lost"}  # said at no service's prompt


def _placeholders(text: str) -> frozenset[str]:
    """What a text fills in. Raises ValueError where it is no format, or does more than filling in."""
    parts = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text) if name is not None]
    if any(spec or conversion for _, spec, conversion in parts):
        raise ValueError("only {name} is filled in, without more between the braces")
    return frozenset(name for name, _, _ in parts)


# The texts that a service may replace, and what each fills in.
REPLACEABLE: Mapping[str, frozenset[str]] = {
    name: _placeholders(text) for name, text in _ENGLISH.items() if name not in _FOR_ARENA_KEY
}


def catalogue_in(language: str) -> gettext.NullTranslations:
    """The translations of a language. Raises ConfigError if there is no catalogue for it."""
    try:
        return gettext.translation("arena", _LOCALES, [language], fallback=language == "en")
    except OSError:
        raise ConfigError(f"language {language!r}: no catalogue for it in {_LOCALES}") from None


class Texts:
    """The sentences of one language, those of `own` in the place of the language's; with plain spaces, if `plain`."""

    def __init__(self, language: str, own: Mapping[str, str] | None = None, plain: bool = False) -> None:
        own = own or {}
        _check(own)
        catalogue = catalogue_in(language)

        def form(name: str) -> str:
            said = own[name] if name in own else catalogue.gettext(_ENGLISH[name])
            return said.replace(NO_BREAK, " ") if plain else said

        def text(name: str) -> str:
            return form(name).format()

        self.joined = text("joined")
        self.pin = text("pin")
        self.passcode = text("passcode")
        self._denied = form("denied")
        self.mail_code = text("mail_code")
        self._choose_pin = form("choose_pin")
        self.same_pin = text("same_pin")
        self.pins_differ = text("pins_differ")
        self._pin_length = form("pin_length")
        self._pin_easy = text("pin_easy")
        self._pin_used = text("pin_used")
        self._pin_created = form("pin_created")
        self.new_passcode = text("new_passcode")
        self.log_in_again = text("log_in_again")
        self.old_code = text("old_code")
        self.next_code = text("next_code")
        self.pin_expired = text("pin_expired")
        self.current_passcode = text("current_passcode")
        self.pin_changed = text("pin_changed")
        self._generated_pin = form("generated_pin")
        self._codes_left = form("codes_left")
        self._key_requested = form("key_requested")
        self._key_lost = form("key_lost")

    def denied(self, ref: str) -> str:
        """Text 4: the one sentence of every denial."""
        return self._denied.format(ref=ref)

    def choose_pin(self, policy: Policy) -> str:
        """Text 7."""
        return self._choose_pin.format(min=policy.shortest, max=policy.longest)

    def flaw(self, flaw: Flaw, policy: Policy) -> str:
        """Texts 10 to 12: why a PIN is refused."""
        if flaw is Flaw.LENGTH:
            return self._pin_length.format(min=policy.shortest, max=policy.longest)
        return self._pin_used if flaw is Flaw.USED else self._pin_easy

    def pin_created(self, seconds: int) -> str:
        """Text 13: seconds until the display changes."""
        return self._pin_created.format(n=seconds)

    def generated_pin(self, pin: str) -> str:
        """Text 21. It holds a secret."""
        return self._generated_pin.format(pin=pin)

    def codes_left(self, count: int) -> str:
        """Text 22."""
        return self._codes_left.format(n=count)

    def key_requested(self, serial: str) -> str:
        """Text 23."""
        return self._key_requested.format(serial=serial)

    def key_lost(self, serial: str, desk: str) -> str:
        """Text 24. desk: where the service desk is reached."""
        return self._key_lost.format(serial=serial, help=desk)


def _check(own: Mapping[str, str]) -> None:
    """Have a text that cannot be said refused now, and not at somebody's prompt."""
    for name, text in own.items():
        if name not in REPLACEABLE:
            raise ConfigError(f"text {name!r}: there is none of that name; there are {', '.join(REPLACEABLE)}")
        try:
            used = _placeholders(text)
        except ValueError as error:
            raise ConfigError(f"text {name!r}: {error}") from None
        if unknown := used - REPLACEABLE[name]:
            known = ", ".join(f"{{{one}}}" for one in sorted(REPLACEABLE[name])) or "nothing"
            raise ConfigError(f"text {name!r}: {{{min(unknown)}}} is unknown; this text fills in {known}")
        needed, otherwise = _NEEDED.get(name, ("", ""))
        if needed and needed not in used:
            raise ConfigError(f"text {name!r}: {{{needed}}} is missing; without it, {otherwise}")


def texts_in(language: str, own: Mapping[str, str] | tuple[tuple[str, str], ...] = (), plain: bool = False) -> Texts:
    """The sentences of a language, some replaced by name, read once: the same object for the same texts. plain: see Texts.

    Raises ConfigError if there is no catalogue for the language, or a text of `own` cannot be said.
    """
    return _texts_in(language, tuple(sorted(dict(own).items())), plain)


@lru_cache(maxsize=64)
def _texts_in(language: str, own: tuple[tuple[str, str], ...], plain: bool) -> Texts:
    return Texts(language, dict(own), plain)
