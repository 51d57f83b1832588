"""Requests to the desk by other people, in processes of their own uid and groups. Runs inside test hosts too."""

import http.client
import json
import os
import pwd
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Asked = tuple[str, str, str]  # verb, method, path


def operations() -> Iterator[Asked]:
    """A request for each operation of the desk's description, that changes nothing: its names are nobody's, its body none."""
    import yaml  # a test host has none

    document = yaml.safe_load((Path(__file__).parents[2] / "packaging/openapi.yaml").read_text())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                verb = operation.get("x-verb") or operation["operationId"].replace("_", " ")
                yield verb, method.upper(), re.sub(r"{\w+}", "no-such-one", path)


def run_as(folder: Path, uid: int, work: Callable[[], str]) -> str:
    """What `work` returns in a process of this uid, with its groups if NSS knows it; the way to `folder` is opened to all."""
    for one in (folder, *folder.parents):
        if one.stat().st_uid == 0 and not one.stat().st_mode & 0o001:
            one.chmod(one.stat().st_mode | 0o011)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(uid)
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = said.read()
    os.waitpid(child, 0)
    return answer


def become(uid: int) -> None:
    """Take on a uid, and the groups that NSS knows of it."""
    try:
        person = pwd.getpwuid(uid)
        os.initgroups(person.pw_name, person.pw_gid)
        gid = person.pw_gid
    except KeyError:
        os.setgroups([])
        gid = uid
    os.setgid(gid)
    os.setuid(uid)


class DeskConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("desk", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def ask(path: str, asked: list[Any]) -> list[tuple[int, str]]:
    """The status and the text of each request's answer, or (0, why) where not even a connection was had."""
    answers = []
    for _, method, target in asked:
        line = DeskConnection(path)
        try:
            line.request(method, target, b"[]" if method == "POST" else None)
            answer = line.getresponse()
            answers.append((answer.status, answer.read().decode()[:150]))
        except PermissionError as error:
            answers.append((0, str(error)))
        finally:
            line.close()
    return answers


def ask_as(folder: Path, path: str, uid: int, asked: list[Asked]) -> list[tuple[int, str]]:
    """As `ask`, by a process of this uid."""
    told = run_as(folder, uid, lambda: json.dumps([[status, said] for status, said in ask(path, asked)]))
    return [(status, said) for status, said in json.loads(told)]


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    folder = Path(wanted["path"]).parent
    print(json.dumps([ask_as(folder, wanted["path"], uid, wanted["asked"]) for uid in wanted["uids"]]))
