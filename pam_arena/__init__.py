"""The library under arenad, arenactl and arena-key: protocol, codes, PINs, conversations, client. No daemon code."""

__version__ = "0.3.0"
