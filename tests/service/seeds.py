"""Seeds for the keys of tests."""

import hmac
import os
import struct
import time
from itertools import chain

PINS = ("2846", "7391", "5813", "97531", "28463917", "4719")  # all that tests choose, and the demo
WRONG = ("0000", "1234")  # in the codes that tests type as wrong ones
_SHOWN = frozenset(pin[at : at + 4] for pin in (*PINS, *WRONG) for at in range(len(pin) - 3))
_WHILE = 900  # seconds that a test may take, or a module of tests with one key
_PRESSES = 60


def make_seed(period: int, algorithm: str = "sha1") -> bytes:
    """A random seed whose codes of the next while show no 4 digits in a row of the PINs and wrong codes that tests type.

    A PIN that the code just typed shows is refused as too easy, and 000000 is some key's code now and then: of random seeds,
    one in some thousand would do so in a test that means something else. period: in seconds; the first codes by counter
    show none either.
    """
    now = int(time.time()) // period
    while True:
        seed = os.urandom(20)
        if not any(
            _shows_one(seed, step, algorithm) for step in chain(range(_PRESSES), range(now - 12, now + 12 + _WHILE // period))
        ):
            return seed


def _shows_one(seed: bytes, step: int, algorithm: str) -> bool:
    """Whether a code of 8 digits, in which that of 6 stands, does (RFC 4226 section 5.3)."""
    digest = hmac.digest(seed, struct.pack(">Q", step), algorithm)
    code = f"{(struct.unpack_from('>I', digest, digest[-1] & 15)[0] & 0x7FFFFFFF) % 10**8:08}"
    return any(code[at : at + 4] in _SHOWN for at in range(5))
