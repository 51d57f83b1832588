"""Recovery codes, for a holder without their key: how one is made, and how what was typed reads as PIN + such a code.

A code is `XXXXX-XXXXX`, in the alphabet of Crockford's base 32 (no I, L, O or U): 50 bits. Its shape alone decides, and
nobody's passcode has it: a passcode has a digit where the hyphen stands. Like a passcode it may come in one field or in
two. Codes that an import brought look like tokencodes: they are not told by their shape, only by being somebody's.
The shape is looked for in what was typed as it was typed, because an AZERTY hyphen reads as a 6.
"""

import re
import secrets
from collections.abc import Callable

from . import pin
from .secret import Secret

SCRATCH_DIGITS = 8  # of the recovery codes of google-authenticator, which an import brings
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE = re.compile(r"(?P<pin>.*)(?P<code>[0-9A-TV-Za-tv-z]{5}-[0-9A-TV-Za-tv-z]{5})[ \u00a0]*", re.DOTALL)
_READS_AS = str.maketrans("ILO", "110")


def make(choose: Callable[[str], str] = secrets.choice) -> str:
    """A new code. `choose` picks one character of a text."""
    drawn = "".join(choose(ALPHABET) for _ in range(10))
    return f"{drawn[:5]}-{drawn[5:]}"


def find(first: Secret | None, second: Secret, policy: pin.Policy) -> pin.Passcode | None:
    """PIN and recovery code, the code as `make` writes it; None where what was typed has not the shape of one."""
    before = pin.text_of(first) if first is not None else ""
    typed = pin.text_of(second)
    alone = _SHAPE.fullmatch(typed)
    if alone is not None and alone["pin"]:
        own = pin.normalise_text(alone["pin"], policy)
        return pin.Passcode(own, _canonical(alone["code"]), pin.normalise_text(before, policy) in ("", own))
    whole = _SHAPE.fullmatch(before + typed)
    if whole is None:
        return None
    return pin.Passcode(pin.normalise_text(whole["pin"], policy), _canonical(whole["code"]), True)


def well_formed(first: Secret | None, second: Secret, policy: pin.Policy) -> bool:
    """Whether this can be a passcode of anyone at all, with a tokencode or a recovery code. It depends on the typing alone."""
    found = find(first, second, policy)
    if found is None:
        return pin.well_formed(pin.normalise(first, policy) if first is not None else "", pin.normalise(second, policy), policy)
    return pin.may_precede_a_code(found.pin, policy)


def _canonical(code: str) -> str:
    return code.upper().translate(_READS_AS)
