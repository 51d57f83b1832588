"""The desk's HTTP interface is what packaging/openapi.yaml says: every route, every status, every field; whatever is asked."""

import os
import random
import re
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from aiohttp import web
from arenad.desk.roles import MAY
from arenad.desk.routes import routes
from desk_service import DeskService

from pam_arena.cli import arenactl

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "packaging/openapi.yaml"
SCHEMATHESIS = ROOT / ".venv-api/bin/st"
SECONDS = int(os.environ.get("ARENA_API_SECONDS", "0"))  # `make fuzz`: as many requests as go into so long
EXAMPLES = 100_000 if SECONDS else 6  # random requests for each operation, beside those that its schema's limits suggest
USERS = ("root", "daemon", "bin")
SEED = "3132333435363738393031323334353637383930"

CONFIG = """
seed = 20261124
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
negative_data_rejection.expected-statuses = ["400", "404", "409", "413"]
"""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield method.upper(), path, operation


def test_every_route_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    there = {(route.method, route.path) for route in routes(None) if isinstance(route, web.RouteDef)}  # type: ignore[arg-type]  # no desk: nothing is asked
    assert {(method, path) for method, path, _ in operations(document)} == there


def test_an_operation_is_named_as_its_verb_and_tells_who_may(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        verb = operation.get("x-verb") or operation["operationId"].replace("_", " ")
        assert verb in MAY, (method, path)
        assert {"403", "503"} <= set(operation["responses"]), (method, path)
        assert operation["summary"]


def commands(command: click.Command, *words: str) -> Iterator[str]:
    """Every command under a group, by its words."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, *words, name)
    else:
        yield " ".join(words)


def test_each_command_of_arenactl_is_a_verb_here_or_it_says_why_it_is_local(document: dict[str, Any]) -> None:
    local = document["x-local"]
    assert sorted(commands(arenactl.main)) == sorted({*MAY, *local})
    assert set(MAY) & set(local) == {"pam enable"}  # what it asks of the service is here
    assert all(reason.endswith(".") for reason in local.values())


class Relay(socketserver.ThreadingTCPServer):
    """A port of the loopback that leads to the desk's socket, for clients that know no Unix sockets."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, path: str) -> None:
        super().__init__(("127.0.0.1", 0), Pipe)
        self.path = path


class Pipe(socketserver.BaseRequestHandler):
    """Passes bytes on, both ways, until one side ends."""

    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        desk = socket.socket(socket.AF_UNIX)
        desk.connect(self.server.path)
        back = threading.Thread(target=self.pass_on, args=(desk, self.request), daemon=True)
        back.start()
        self.pass_on(self.request, desk)
        back.join()
        desk.close()

    @staticmethod
    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                sink.sendall(content)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def url(desk: DeskService) -> Iterator[str]:
    relay = Relay(desk.path)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{relay.server_address[1]}"
    relay.shutdown()
    relay.server_close()


def test_the_service_keeps_to_its_description_whatever_it_is_asked(
    desk: DeskService, url: str, tmp_path: Path, count: Callable[[str], None]
) -> None:
    keys = [f"K-{number}" for number in range(12)]
    for serial in keys:
        desk.do("/tokens", {"serial": serial, "seed": SEED})
    for serial, user in zip(keys, USERS, strict=False):
        desk.do(f"/tokens/{serial}/assign", {"holder": user})
    for serial in keys[-6:]:
        desk.do(f"/requests/{serial}", {"holder": "root", "ticket": "T-1"})
    described = yaml.safe_load(DOCUMENT.read_text())
    # Names that exist, so that many requests get as far as their verb.
    known = {"serial": keys, "key": keys, "who": list(USERS), "which": keys[-6:]}
    for name, there in known.items():
        described["components"]["parameters"][name] |= {
            "example": there[0],
            "schema": {"type": "string", "enum": there},
        }
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(described))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [SCHEMATHESIS, "--config-file", tmp_path / "schemathesis.toml", "--no-color", "run", tmp_path / "openapi.yaml"]
    # aiohttp's parser answers 400 to a method that it never heard of, before any of our code.
    # And an import that was begun is gone again after a refusal: that is no lost resource.
    command += ["--exclude-checks", "unsupported_method,ensure_resource_availability"]
    command += ["--url", url, "--checks", "all", "--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-shrink"]
    command += ["--max-time", str(SECONDS), "--seed", str(random.randrange(2**31))] if SECONDS else []
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-20000:]
    found = re.search(r"(\d+) generated", told)
    assert found and int(found[1]) > (0 if SECONDS else 500), told[-3000:]
    count(f"{found[1]} requests")
    assert f"{len(list(operations(described)))}" in told
