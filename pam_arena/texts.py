"""Every sentence that a holder reads, by its meaning, in the language of the configuration.

The msgids are the English sentences; locale/fr has the French ones. Prompts have at most 45 columns.
"""

import gettext
from functools import cache
from pathlib import Path

from .errors import ConfigError
from .pin import Flaw, Policy

LANGUAGES = ("en", "fr")
_LOCALES = Path(__file__).with_name("locale")


class Texts:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        try:
            catalogue = gettext.translation("arena", _LOCALES, [language], fallback=language == "en")
        except OSError:
            raise ConfigError(f"language {language!r}: no catalogue for it in {_LOCALES}") from None
        _ = catalogue.gettext
        self.joined = _("Passcode (PIN + code; first: code): ")
        self.pin = _("PIN (first login: leave empty): ")
        self.passcode = _("Passcode (the code on your key): ")
        self._denied = _("Access denied. Wait for a new code, then retry. (ref {ref})")
        self._choose_pin = _("Choose a PIN ({min} to {max} digits): ")
        self.same_pin = _("Same PIN again: ")
        self.pins_differ = _("The two PINs differ. Start again.")
        self._pin_length = _("A PIN has {min} to {max} digits.")
        self._pin_easy = _("Too easy to guess. Choose another.")
        self._pin_created = _("PIN created. New code in about {n} s.")
        self.new_passcode = _("PIN + new code: ")
        self.old_code = _("Still the old code. Wait for the next.")
        self.current_passcode = _("Current passcode (PIN + code): ")
        self.pin_changed = _("PIN changed.")

    def denied(self, ref: str) -> str:
        """Text 4: the one sentence of every denial."""
        return self._denied.format(ref=ref)

    def choose_pin(self, policy: Policy) -> str:
        """Text 7."""
        return self._choose_pin.format(min=policy.shortest, max=policy.longest)

    def flaw(self, flaw: Flaw, policy: Policy) -> str:
        """Texts 10 and 11: why a PIN is refused."""
        if flaw is Flaw.LENGTH:
            return self._pin_length.format(min=policy.shortest, max=policy.longest)
        return self._pin_easy

    def pin_created(self, seconds: int) -> str:
        """Text 13: seconds until the display changes."""
        return self._pin_created.format(n=seconds)


@cache
def texts_in(language: str) -> Texts:
    """The sentences of a language, read once. Raises ConfigError if there is no catalogue for it."""
    return Texts(language)
