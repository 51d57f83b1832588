"""arenad with a fault that the stopwatch must catch. Usage: planted_arenad.py PLANT[,PLANT] ARGUMENTS-OF-ARENAD.

early-exit: the comparison of codes ends at the first that is right, as a plain loop would have it.
skipped-argon2id: no PIN is hashed for a name that is no holder's.
cheap-argon2id: no fault, but an argon2id that costs next to nothing, so that all other work stands out.
"""

import functools
import sys
import threading
from collections.abc import Sequence
from typing import Any

from arenad.__main__ import main
from arenad.login import attempt
from arenad.store.accounts import Account

from pam_arena import pin
from pam_arena.otp import Mechanism, tokencode
from pam_arena.secret import Secret

_here = threading.local()
_match, _read_account, _verify = attempt._match, attempt.read_account, pin.verify


def find_first(seed: Secret, mechanism: Mechanism, typed: str, steps: Sequence[int]) -> int | None:
    """find_step, without the care."""
    return next((step for step in steps if step >= 0 and tokencode(seed, mechanism, step) == typed), None)


def match_until_found(slot: Any, vault: Any, code: Any, tried: Any, typing: Any) -> Any:
    """_match, but for the tokens after the one whose code it was."""
    if getattr(_here, "found_for", None) is tried:
        return attempt.Match(slot, None, 0, 0, False, False)
    found = _match(slot, vault, code, tried, typing)
    if found.step is not None:
        _here.found_for = tried
    return found


def read_and_remember(*arguments: Any) -> Account:
    """read_account, remembering whether anyone was found."""
    account = _read_account(*arguments)
    _here.real = account.real
    return account


def verify_if_real(hashed: str, typed: str) -> bool:
    """pin.verify, where there is somebody."""
    return _here.real and _verify(hashed, typed)


def plant(what: str) -> None:
    """Put one thing in."""
    if what == "early-exit":
        attempt.find_step, attempt._match = find_first, match_until_found
    elif what == "skipped-argon2id":
        attempt.read_account, pin.verify = read_and_remember, verify_if_real
    elif what == "cheap-argon2id":
        pin.Hasher = functools.partial(pin.Hasher, time_cost=1, memory_kib=8)  # type: ignore[misc,assignment]  # what is planted
    else:
        raise SystemExit(f"planted_arenad.py: no such plant: {what}")


for word in sys.argv.pop(1).split(","):
    plant(word)
sys.exit(main())
