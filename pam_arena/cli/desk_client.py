"""The client of desk.sock. A failure ends the command with its sentence on stderr and the exit status of its kind."""

import json
from contextlib import nullcontext
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import httpx

DESK_SOCKET = "/run/arena/desk.sock"
_TIMEOUT_SECONDS = 30.0
_DOWN = 3
PART = 10_000  # rows that the service gives at once


class Failure(click.ClickException):
    """A sentence for stderr, and an exit status."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class DeskClient:
    """One request a call; path parts after the first are quoted, every second one is a name from the command line.

    In a `with` block all requests share a connection. timeout: seconds that an answer may take.
    """

    def __init__(self, path: str | None = None, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self._path, self._timeout = path or DESK_SOCKET, timeout
        self._kept: httpx.Client | None = None

    def __enter__(self) -> "DeskClient":
        self._kept = self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _connect(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=self._path), timeout=self._timeout)

    def get(self, *parts: str, query: dict[str, str] | None = None) -> Any:
        """Ask for something."""
        return self._request("GET", parts, params=query).json()

    def get_all(self, path: str, query: dict[str, str], key: str) -> list[dict[str, Any]]:
        """A list that comes in parts: what the last one of a part has as `key` is where the next begins."""
        found: list[dict[str, Any]] = []
        while part := self.get(path, query={**query, "after": str(found[-1][key])} if found else query):
            found += part
            if len(part) < PART:
                break
        return found

    def post(self, *parts: str, body: dict[str, Any] | None = None) -> Any:
        """Have something done."""
        return self._request("POST", parts, json=body).json()

    def text(self, *parts: str, accept: str) -> str:
        """Ask for something that is no JSON, in a form of HTTP's Accept."""
        return self._request("GET", parts, headers={"Accept": accept}).text

    def save(self, path: str, *, body: dict[str, Any], out: BinaryIO) -> None:
        """Have something sent that may be large, into a file. Raises OSError where that cannot be written."""
        try:
            with self._connect() as client, client.stream("POST", f"http://desk{path}", json=body) as response:
                if response.is_success:
                    for content in response.iter_bytes():
                        out.write(content)
                    return
                answer = json.loads(response.read())
        except (httpx.HTTPError, ValueError) as error:
            raise Failure(_down(self._path, error), _DOWN) from None
        raise Failure(str(answer.get("error", "refused")), int(answer.get("exit", 1)))

    def _request(self, method: str, parts: tuple[str, ...], **what: Any) -> httpx.Response:
        path = "".join(part if n % 2 == 0 else quote(part, safe="") for n, part in enumerate(parts))
        try:
            with nullcontext(self._kept) if self._kept is not None else self._connect() as client:
                response = client.request(method, f"http://desk{path}", **what)
            answer = {} if response.is_success else response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Failure(_down(self._path, error), _DOWN) from None
        if response.is_success:
            return response
        raise Failure(str(answer.get("error", "refused")), int(answer.get("exit", 1)))


def _down(path: str, error: Exception) -> str:
    if "Permission denied" in str(error):
        return f"{path}: permission denied: be root, or in the group arena-desk"
    if isinstance(error, httpx.ConnectError):
        return "the desk's service is not running. Start it: systemctl start arena-desk.socket arenad.service"
    return "the desk's service gave no answer. See why: journalctl -u arena-desk.service -n 20; is arenad.service running?"
