"""The commands of the sysadmin, the desk and the holder."""

from .arenactl import main

__all__ = ["main"]
