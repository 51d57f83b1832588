"""A value that is never printed and can be wiped: passcodes, PINs, seeds.

Python copies bytes freely, so wiping here shortens the life of a secret rather than proving its end; the proof is that
no repr, format, exception or pickle shows it.
"""

import hmac
from types import TracebackType


class Secret:
    """Bytes that do not print, and go to zero on `wipe()` or at the end of a `with` block."""

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview = b"") -> None:
        self._buffer = bytearray(value)

    def reveal(self) -> bytes:
        """The value itself. Call it where the value is used, and keep no copy."""
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite the value with zeros and forget its length."""
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer.clear()

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret would be one more copy to keep

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")

    def __enter__(self) -> "Secret":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wipe()
