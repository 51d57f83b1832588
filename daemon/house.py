"""A restore as root runs it on a host: systemd's units and the sealed key around the store."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pam_arena.errors import ArenaError, Refusal, ServiceDown, VaultError
from pam_arena.secret import Secret

from .keyfile import SEALED, open_key, seal_beside
from .restore import Wish, restore
from .vault import Vault

_STARTED = ("arenad.socket", "arenad.service", "arena-desk.socket")
_UNITS = (*_STARTED, "arena-desk.service")


class ThisHost:
    """What a restore needs of the host."""

    def stop(self) -> None:
        """Stop arenad, the desk's service, and the sockets that would start them again."""
        _systemctl("stop", *_UNITS)

    def start(self) -> None:
        """Start arenad, and listen for the desk."""
        _systemctl("start", *_STARTED)

    def key_id(self) -> str | None:
        """The master key in force; one that this host cannot open is none."""
        try:
            master = open_key()
        except VaultError:
            return None
        return None if master is None else Vault(master).key_id

    def stage_key(self, master: Secret) -> Path:
        """Seal a key for this host in a new file."""
        return seal_beside(master)

    def key_path(self) -> Path:
        """Where systemd finds it."""
        return SEALED


def bring_back(wanted: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line says: config, file, replace, keep_config, journal. Raises ArenaError."""
    if os.geteuid() != 0:
        raise Refusal("restore: only root may: it stops the service, and puts a master key in place")
    passphrase = Secret(sys.stdin.readline().rstrip("\n").encode())
    # sudo's own word for who is behind root; it decides nothing.
    actor = f"uid:{os.environ.get('SUDO_UID') or os.getuid()}"
    file = wanted.file.absolute()
    wish = Wish(wanted.config, file, wanted.replace, wanted.keep_config, actor, int(time.time()), wanted.journal)
    return restore(wish, passphrase, ThisHost())


def _systemctl(*words: str) -> None:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ArenaError(f"systemctl cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise ServiceDown(f"systemctl {' '.join(words)}: {done.stderr.strip()}; see: journalctl -u arenad -n 20")
