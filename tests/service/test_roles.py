"""Who may do what: the whole table, as text to be read in review, and by requests of people who are none of them."""

import os
import socket
from pathlib import Path

import pytest
from arena import Service
from arenad.desk.roles import MAY, Role, roles_of
from arenad.store.schema import audit
from desk_service import DeskService
from dialogues import Holder
from people import ask_as, operations, run_as

from pam_arena.protocol import Operation
from pam_arena.wire import Done, Start, decode, encode

GOLDEN = Path(__file__).parent / "golden/roles.txt"
NOBODY, UNKNOWN = 65534, 54321  # a user whom NSS knows, and a uid that it does not
PAM_SYSTEM_ERR, PAM_PERM_DENIED = 4, 6


def test_the_table_of_roles() -> None:
    people = {"root": frozenset(Role), "admin": frozenset({Role.ADMIN}), "desk": frozenset({Role.DESK}), "others": frozenset()}
    lines = [f"{'verb':<24}" + "".join(f"{name:<8}" for name in people)]
    for verb in sorted(MAY):
        cells = ("may" if roles & MAY[verb] else "-" for roles in people.values())
        lines.append((f"{verb:<24}" + "".join(f"{cell:<8}" for cell in cells)).rstrip())
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("ARENA_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_roles_come_from_the_groups_that_the_system_knows() -> None:
    assert roles_of(0, ()) == frozenset(Role)
    assert roles_of(NOBODY, ("arena-admin",)) == frozenset()
    assert roles_of(UNKNOWN, ("arena-admin", "root")) == frozenset()
    assert roles_of(1, ("daemon", "no-such-group")) == {Role.ADMIN}


@pytest.mark.parametrize("uid", [0, NOBODY, UNKNOWN])
def test_every_verb_is_refused_to_those_without_a_role_and_none_to_root(desk: DeskService, uid: int) -> None:
    os.chmod(desk.path, 0o666)
    asked = list(operations())
    assert {verb for verb, _, _ in asked} == set(MAY)
    for (verb, _, _), (status, said) in zip(asked, ask_as(desk.service.folder, desk.path, uid, asked), strict=True):
        assert (status == 403) == (uid != 0), (verb, status, said)
        assert status < 500, (verb, said)
        assert uid == 0 or f"uid {uid} may not: {verb}" in said


@pytest.mark.parametrize("operation", sorted(set(Operation) - {Operation.AUTHENTICATE, Operation.ACCOUNT}))
def test_what_arena_key_asks_for_is_for_oneself_alone(service: Service, operation: Operation) -> None:
    Holder(service, "root")

    def talk() -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.settimeout(8)
            line.connect(service.socket_path)
            line.send(encode(Start(operation, "arena-key", "root")))
            return repr(decode(line.recv(4097)))

    # The latter: an operation that this release does not have, for anybody.
    assert run_as(service.folder, NOBODY, talk) in (repr(Done(PAM_PERM_DENIED)), repr(Done(PAM_SYSTEM_ERR)))
    rows = [row["event"] for row in service.rows(audit)]
    assert rows == []
