"""What arena-key tells a holder beside the numbered texts: states, dates and codes, in the language of the configuration.

The msgids are the English sentences; locale/fr has the French ones. Questions have at most 45 columns with a serial of 8.
"""

import datetime
from functools import lru_cache

from .texts import catalogue_in

_ENGLISH = {
    "serial": "Serial number on the back of the key: ",
    "first_code": "The code on the key now: ",
    "next_code": "Wait until it changes; the next code: ",
    "confirm_lost": "Disable key {serial} as lost? (yes/no): ",
    "unchanged": "Nothing was changed.",
    "not_yours": "You have no key {serial}. See: arena-key status",
    "which": "Which key? arena-key lost SERIAL: {serials}",
    "no_key": "You have no key. Ask for it: arena-key request SERIAL",
    "no_working_key": "No key of yours works: no new codes. Help: {help}",
    "key_code_only": "Only the code on your key will do. Help: {help}",
    "pin_first": "You have no PIN yet: log in, and choose one.",
    "active": "Key {serial}: active",
    "active_until": "Key {serial}: active until {date}",
    "requested": "Key {serial}: requested, waits for the service desk",
    "unproven": "Key {serial}: waits for its first right code",
    "disabled": "Key {serial}: disabled. Help: {help}",
    "lost": "Key {serial}: lost, disabled. Help: {help}",
    "retired": "Key {serial}: out of use",
    "expired": "Key {serial}: its time is over. Help: {help}",
    "pin_since": "PIN: yes, since {date}",
    "pin_none": "PIN: none yet",
    "pin_until": "PIN: none yet; choose it at your next login, before {date}",
    "pin_lapsed": "PIN: none, and the time to choose one is over. Help: {help}",
    "asked_open": "Request of {date} for key {serial}: waits for the service desk",
    "asked_approved": "Request of {date} for key {serial}: approved",
    "asked_rejected": "Request of {date} for key {serial}: rejected: {why}",
    "codes_for": "Emergency codes for {name}; the older ones work no more:",
    "codes_how": "Type PIN + code: your PIN, and right after it one of these, hyphen included.",
    "codes_once": "Each works once: cross it out. Never write the PIN beside them.",
    "codes_shown": "Print or copy them now: they are not shown again.",
    "desk": "the service desk",
}
_DATE = {"en": "%Y-%m-%d", "fr": "%d/%m/%Y"}
YES = frozenset({"y", "yes", "o", "oui"})


class KeyTexts:
    """The sentences of one language. desk: where the service desk is reached, or nothing."""

    def __init__(self, language: str, desk: str) -> None:
        catalogue = catalogue_in(language)
        self._said = {name: catalogue.gettext(text) for name, text in _ENGLISH.items()}
        self._date = _DATE[language]
        self.help = desk or self._said["desk"]

    def say(self, name: str, /, **words: str) -> str:
        """A sentence by its name, filled in. Raises KeyError for one that there is not."""
        return self._said[name].format(help=self.help, **words)

    def date(self, seconds: int) -> str:
        """A day, in this host's zone."""
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime(self._date)


@lru_cache(maxsize=64)
def key_texts_in(language: str, desk: str) -> KeyTexts:
    """The sentences of a language, made once. Raises ConfigError if there is no catalogue for it."""
    return KeyTexts(language, desk)
