"""The desk's service: what arenactl asks for, over HTTP and JSON on desk.sock."""
