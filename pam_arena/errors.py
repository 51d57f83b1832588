"""Every error that this project raises, told apart by whose mistake it is.

`Refusal` is the only one whose text a user may see; all others are for the journal or for the person at the shell.
"""


class ArenaError(Exception):
    """Base of all errors here. Its text names the thing and the remedy, and never holds a secret."""


class ProtocolError(ArenaError):
    """A datagram on auth.sock breaks the rules of protocol.h."""


class LocalProtocolError(ProtocolError):
    """Our own side tried to send what the wire does not allow."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the wire does not allow; the connection is to be dropped."""


class ServiceDown(ArenaError):
    """The service does not answer, or not in time."""


class SeedError(ArenaError):
    """A seed is too short, too long, or neither hex, base32 nor an otpauth URI."""


class BadImport(ArenaError):
    """A file of keys is refused: the text has the line and, where one can be shown, the serial."""


class ConfigError(ArenaError):
    """A configuration file was refused: the text has file, key and what is allowed."""


class StoreError(ArenaError):
    """The store cannot be opened, read or written durably."""


class VaultError(ArenaError):
    """The master key is missing or wrong, or a sealed value does not open under it."""


class Refusal(ArenaError):
    """A desk request is well-formed but is refused; the text may be shown to whoever asked. exit: its exit status."""

    exit = 1


class NotFound(Refusal):
    """The thing that a desk request names does not exist."""

    exit = 4
