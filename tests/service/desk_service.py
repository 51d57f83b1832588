"""A real arenad desk for tests, beside a running arenad, asked over its real socket."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from arena import LAUNCH, Service

# arenactl as it is installed, but for the path of the socket.
ARENACTL = (
    "import sys; from pam_arena.cli import arenactl, desk_client;"
    "desk_client.DESK_SOCKET = sys.argv.pop(1); arenactl.main(prog_name='arenactl')"
)


class DeskService:
    """arenad desk beside a running arenad."""

    def __init__(self, service: Service, journal: Path | None = None) -> None:
        self.service = service
        self.journal = journal or service.folder / "desk-journal"
        self.path = str(service.folder / "desk.sock")
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.path)
        self._listening.listen(64)
        self.start()

    def start(self, **more: str) -> None:
        """Start it, as systemd does for who asks; more: of its environment."""
        service = self.service
        env = {"PATH": os.environ["PATH"], "LISTEN_FDS": "1", "CREDENTIALS_DIRECTORY": str(service.folder)}
        env |= {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **more}
        command = [sys.executable, "-c", LAUNCH, *service.arenad, "desk"]
        fd = self._listening.fileno()
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(command, env=env, stderr=journal, preexec_fn=lambda: os.dup2(fd, 3), pass_fds=(3,))

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=self.path), timeout=20) as client:
            return client.request(method, "http://desk" + path, json=body)

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(15) == 0
        self._listening.close()

    def get(self, path: str) -> Any:
        """What is there; it must be."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def do(self, path: str, body: object = None) -> Any:
        """Have something done; it must be."""
        answer = self.ask("POST", path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def refuse(self, path: str, body: object = None) -> str:
        """Have something refused; returns the sentence."""
        answer = self.ask("POST", path, body)
        assert (answer.status_code, answer.json()["exit"]) in ((400, 1), (409, 1), (404, 4)), answer.text
        return str(answer.json()["error"])

    def arenactl_command(self, *words: str) -> list[str]:
        """What runs arenactl against this desk."""
        return [sys.executable, "-c", ARENACTL, self.path, *words]

    def arenactl(self, *words: str, given: str = "", status: int = 0) -> str:
        """Run arenactl, without a terminal and 80 columns wide; it must end so. Returns stdout, or stderr if it must fail."""
        env = {**os.environ, "COLUMNS": "80", "TZ": "UTC"}
        command = self.arenactl_command(*words)
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=env, timeout=30)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout
