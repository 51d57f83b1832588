"""The page of a set of recovery codes, in the holder's language: to be printed, handed over, and kept out of sight."""

import datetime
import textwrap
from typing import Any

_WIDTH = 76  # columns

_ENGLISH = {
    "emergency": "EMERGENCY CODES",
    "temporary": "TEMPORARY CODES",
    "for": "For",
    "host": "Host",
    "made": "Made",
    "until": "Valid until",
    "until_used": "used, or replaced by a new page",
    "how": (
        "How to type them: PIN + code. Asked for the PIN and then for the passcode, type the PIN, then a code; "
        "asked once, type the PIN and right after it a code. The hyphen belongs to it: 0000XXXXX-XXXXX"
    ),
    "no_pin": "There is no PIN yet: the first time leave it empty, type a code alone, and choose a PIN.",
    "once": "Each code works once: cross it out. Never write the PIN on this page.",
    "lost": "If this page is lost, say so at once: {help}",
    "desk": "to the service desk",
    "time": "%Y-%m-%d %H:%M %Z",
}
_FRENCH = {
    "emergency": "CODES DE SECOURS",
    "temporary": "CODES TEMPORAIRES",
    "for": "Pour",
    "host": "Machine",
    "made": "Établis le",
    "until": "Valables",
    "until_used": "jusqu’à leur emploi, ou jusqu’à la prochaine page",
    "how": (
        "Comment les saisir\u00a0: code PIN + code. Si le code PIN puis le passcode sont demandés, tapez le code PIN, "
        "puis un code\u00a0; s’il n’y a qu’une question, tapez le code PIN et un code à la suite. "
        "Le trait d’union en fait partie\u00a0: 0000XXXXX-XXXXX"
    ),
    "no_pin": (
        "Il n’y a pas encore de code PIN\u00a0: la première fois, laissez-le vide, tapez un code seul, "
        "et choisissez un code PIN."
    ),
    "once": "Chaque code sert une seule fois\u00a0: rayez-le. N’écrivez jamais le code PIN sur cette page.",
    "lost": "Si cette page est perdue, signalez-le aussitôt\u00a0: {help}",
    "desk": "à l’assistance",
    "time": "%d/%m/%Y %H:%M %Z",
    "until_time": "jusqu’au {}",
}
_WORDS = {"en": _ENGLISH, "fr": _FRENCH}


def write_page(given: dict[str, Any]) -> str:
    """What was given to whom, when, on which host, and how it is typed. Times are this host's."""
    words = _WORDS.get(str(given["language"]), _ENGLISH)

    def at(seconds: int) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime(words["time"])

    until = given["valid_until"]
    valid = words["until_used"] if until is None else words.get("until_time", "{}").format(at(until))
    head = {"for": given["holder"], "host": given["host"], "made": at(given["created_at"]), "until": valid}
    width = max(len(words[name]) for name in head)
    notes = [words["how"], *([] if given["has_pin"] else [words["no_pin"]]), words["once"]]
    notes.append(words["lost"].format(help=given["help"] or words["desk"]))
    blocks = [
        words[given["kind"]],
        "\n".join(f"{words[name]:<{width}}  {value}" for name, value in head.items()),
        _in_two_columns(given["codes"]),
        *("\n".join(textwrap.wrap(note, _WIDTH, break_on_hyphens=False)) for note in notes),
    ]
    return "\n\n".join(blocks)


def _in_two_columns(codes: list[str]) -> str:
    numbered = [f"{number:>4}  {code}" for number, code in enumerate(codes, 1)]
    half = (len(numbered) + 1) // 2
    left, right = numbered[:half], [*numbered[half:], ""][:half]
    return "\n".join(f"{one}      {other}".rstrip() for one, other in zip(left, right, strict=True))
