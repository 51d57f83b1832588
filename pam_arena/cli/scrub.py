"""Taking out of a text whatever may be a secret, for a reader outside the house.

What is kept is chosen elsewhere; this is the second line. It would rather take a word too many: a serial in a log line
goes too, because nothing tells six digits of a serial from six digits of a code.
"""

import re

MARK = "[scrubbed]"
_NAMES = r"pass|secret|seed|pin|token|credential|passcode|otp|code|phrase|private"
_URI = re.compile(r"otpauth(-migration)?://\S*", re.IGNORECASE)
_NAMED = re.compile(rf"(?P<name>(?:{_NAMES})[\w.-]*+\s*+[=:])[^\n]*", re.IGNORECASE)
_ARGUMENT = re.compile(rf"(?P<name>(?:{_NAMES}|key)[\w.-]*+=)(\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\S+)", re.IGNORECASE)
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{17,}(?![0-9A-Za-z])")  # 16 are the id of a key
_BASE32 = re.compile(r"(?<![0-9A-Za-z])[A-Z2-7]{16,}=*|(?<![0-9A-Za-z])[a-z2-7]{16,}=*(?=[\s\"',;)]|$)")
_PADDED = re.compile(r"(?<![0-9A-Za-z+/_-])[0-9A-Za-z+/_-]{4,}={1,6}(?=[\s\"',;)]|$)")
_BASE64 = re.compile(r"(?<![0-9A-Za-z+/_-])(?=[^\s]*[a-z])(?=[^\s]*[A-Z])(?=[^\s]*[0-9+/])[0-9A-Za-z+/_-]{20,}={0,2}")
_RECOVERY = re.compile(
    r"(?<![0-9A-Za-z])([0-9A-TV-Z]{5}-[0-9A-TV-Z]{5}|(?=[0-9a-z-]*[0-9])[0-9a-tv-z]{5}-[0-9a-tv-z]{5})(?![0-9A-Za-z])"
)
_DIGITS = re.compile(r"(?<!\d)\d{4,}(?!\d)")


def scrub_text(text: str) -> str:
    """Text that this project or systemd wrote: URIs of keys, and what is as long and as mixed as a key."""
    for pattern in (_URI, _RECOVERY, _HEX, _PADDED, _BASE32, _BASE64):
        text = pattern.sub(MARK, text)
    return text


def scrub_log(text: str) -> str:
    """A line of a log: also what a name announces as a secret, and all numbers as long as a PIN or a code."""
    return _DIGITS.sub("####", scrub_text(_NAMED.sub(rf"\g<name> {MARK}", _URI.sub(MARK, text))))


def scrub_arguments(text: str) -> str:
    """A file of `name=value` arguments, as PAM's: the values of those whose name is that of a secret."""
    return scrub_text(_ARGUMENT.sub(rf"\g<name>{MARK}", text))
