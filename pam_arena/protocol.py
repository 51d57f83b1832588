"""The numbers of the wire. c_shim/protocol.h is the one definition and says what each means; a test holds the two equal."""

import enum

MAGIC = b"AR"
VERSION = 1
# Those that the daemon speaks: this one and the one before, since a module stays loaded in its process over an upgrade.
VERSIONS = frozenset(range(max(1, VERSION - 1), VERSION + 1))
HEADER_SIZE = 4
FIELD_HEADER_SIZE = 3
DATAGRAM_MAX = 4096
SOCKET = "/run/arena/auth.sock"
REPLY_TIMEOUT_MS = 9800


class Type(enum.IntEnum):
    """What a message is."""

    START = 1
    PROMPT = 2
    ANSWER = 3
    DONE = 4


class Tag(enum.IntEnum):
    """What a field is."""

    OPERATION = 0x01
    SERVICE = 0x02
    USER = 0x03
    RUSER = 0x04
    RHOST = 0x05
    TTY = 0x06
    FLAGS = 0x07
    UID = 0x08
    AUTH_INFO = 0x09
    PASSCODE = 0x0A
    OPTIONS = 0x0B
    SERIAL = 0x0C
    STYLE = 0x10
    TEXT = 0x11
    TYPED = 0x20
    CODE = 0x30
    AUTHTOK = 0x31


class Operation(enum.IntEnum):
    """What a START wants."""

    AUTHENTICATE = 1
    ACCOUNT = 2
    CHANGE_PIN = 3
    REQUEST = 4
    STATUS = 5
    LOST = 6
    CODES = 7


class Style(enum.IntEnum):
    """How a PROMPT is to be shown."""

    HIDDEN = 1
    SHOWN = 2
    INFO = 3
    ERROR = 4


class Option(enum.IntFlag):
    """What the PAM line asks for."""

    SPLIT = 1
    JOINED = 2
    FIRST_PASS = 4
    FORWARD_PASS = 8


SERVICE_MAX = 128
USER_MAX = 512
RUSER_MAX = 256
RHOST_MAX = 256
TTY_MAX = 128
AUTH_INFO_MAX = 2048
SERIAL_MAX = 64
SECRET_MAX = 512
TEXT_MAX = 1024
