"""The client of desk.sock. A failure ends the command with its sentence on stderr and the exit status of its kind."""

from typing import Any
from urllib.parse import quote

import click
import httpx

DESK_SOCKET = "/run/arena/desk.sock"
_TIMEOUT_SECONDS = 30.0
_DOWN = 3


class Failure(click.ClickException):
    """A sentence for stderr, and an exit status."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class DeskClient:
    """One request a call; path parts after the first are quoted, every second one is a name from the command line."""

    def __init__(self, path: str = DESK_SOCKET) -> None:
        self._path = path

    def get(self, *parts: str, query: dict[str, str] | None = None, timeout: float = _TIMEOUT_SECONDS) -> Any:
        """Ask for something; timeout in seconds."""
        return self._request("GET", parts, timeout, params=query).json()

    def post(self, *parts: str, body: dict[str, Any] | None = None, timeout: float = _TIMEOUT_SECONDS) -> Any:
        """Have something done; timeout in seconds."""
        return self._request("POST", parts, timeout, json=body).json()

    def text(self, *parts: str, accept: str) -> str:
        """Ask for something that is no JSON, in a form of HTTP's Accept."""
        return self._request("GET", parts, _TIMEOUT_SECONDS, headers={"Accept": accept}).text

    def _request(self, method: str, parts: tuple[str, ...], timeout: float, **what: Any) -> httpx.Response:
        path = "".join(part if n % 2 == 0 else quote(part, safe="") for n, part in enumerate(parts))
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=self._path), timeout=timeout) as client:
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
