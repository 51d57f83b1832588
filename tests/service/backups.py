"""Backups of a test's service, and their restore."""

import time
from pathlib import Path
from typing import Any

from arena import Service
from arenad import restore
from arenad.backup import back_up
from arenad.restore import Wish
from arenad.vault import Vault

from pam_arena.secret import Secret

PASSPHRASE = Secret(b"a long enough phrase")


class Place:
    """The service of a test in the place of systemd's units, and its key in clear in the place of the sealed one."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def stop(self) -> None:
        if self.service.process is not None and self.service.process.poll() is None:
            assert self.service.stop() == 0

    def start(self) -> None:
        self.service.start()

    def key_id(self) -> str | None:
        path = self.key_path()
        return Vault(Secret(path.read_bytes())).key_id if path.exists() else None

    def stage_key(self, master: Secret) -> Path:
        fresh = self.key_path().with_name("arena.key.new")
        fresh.write_bytes(master.reveal())
        return fresh

    def key_path(self) -> Path:
        return self.service.folder / "arena.key"


def save(service: Service, file: Path, now: int | None = None) -> dict[str, Any]:
    """A backup as the desk's service makes one."""
    with file.open("xb") as out:
        return back_up(service.config, out, PASSPHRASE, Secret(service.key), now or int(time.time()))


def bring_back(service: Service, file: Path, passphrase: Secret = PASSPHRASE, **words: Any) -> dict[str, Any]:
    wish = {
        "replace": True,
        "keep_config": False,
        "actor": "uid:0",
        "now": int(time.time()),
        "journal": service.journald,
    } | words
    return restore.restore(Wish(service.config, file, **wish), passphrase, Place(service))
