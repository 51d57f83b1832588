"""The module through libpam: whatever the other side does, success and IGNORE come out of a DONE message alone."""

import contextlib
import os
import select
import socket
import time
from pathlib import Path

import pytest
from stage import (
    ACCT_EXPIRED,
    AUTH_ERR,
    AUTHINFO_UNAVAIL,
    AUTHTOK_ERR,
    AUTHTOK_RECOVERY_ERR,
    CONV_ERR,
    CRED_UNAVAIL,
    ERROR,
    HEAR,
    HIDDEN,
    IGNORE,
    INFO,
    LEFT,
    MAXTRIES,
    OPERATIONS,
    PERM_DENIED,
    PREPARE,
    SHOWN,
    SILENT,
    SUCCESS,
    SYSTEM_ERR,
    TRY_AGAIN,
    UNAVAILABLE,
    UPDATE,
    Peer,
    Stage,
    connections,
    hold,
)

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, encode

ASK = Prompt(Style.HIDDEN, "PIN: ")


def said(operation: str) -> list[tuple[int, str]]:
    """What is shown when the service is down; nothing in `account`, where sshd would show it after the login."""
    return [] if operation == "acct_mgmt" else [(ERROR, UNAVAILABLE)]


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_success_and_the_dialogue_before_it(stage: Stage, peer: Peer, operation: str) -> None:
    script = [HEAR, ASK, HEAR, Prompt(Style.INFO, "Wait."), Prompt(Style.SHOWN, "Code: "), HEAR, Done(SUCCESS), LEFT]
    result, login = hold(stage, peer, operation, script, b"8361", b"755224")
    assert result == SUCCESS
    assert login.shown == [(HIDDEN, "PIN: "), (INFO, "Wait."), (SHOWN, "Code: ")]
    assert peer.heard[1:] == [Answer(Secret(b"8361")), Answer(Secret(b"755224"))]


@pytest.mark.parametrize(
    ("operation", "code"), [("authenticate", AUTH_ERR), ("acct_mgmt", ACCT_EXPIRED), ("chauthtok", AUTHTOK_ERR)]
)
def test_a_denial_and_its_sentence(stage: Stage, peer: Peer, operation: str, code: int) -> None:
    script = [HEAR, ASK, HEAR, Prompt(Style.ERROR, "Access denied."), Done(code), LEFT]
    result, login = hold(stage, peer, operation, script, b"8361755224")
    assert result == code
    assert login.shown == [(HIDDEN, "PIN: "), (ERROR, "Access denied.")]


def allowed(operation: str) -> set[int]:
    own = {"authenticate": {MAXTRIES}, "acct_mgmt": {ACCT_EXPIRED}, "chauthtok": {AUTHTOK_ERR, AUTHTOK_RECOVERY_ERR}}
    return own[operation] | {SUCCESS, IGNORE, AUTH_ERR, AUTHINFO_UNAVAIL, SYSTEM_ERR, PERM_DENIED}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_code_is_the_daemons_own_or_a_failure(stage: Stage, peer: Peer, operation: str) -> None:
    results = {}
    for code in range(256):
        results[code], login = hold(stage, peer, operation, [HEAR, Done(code), LEFT])
        down = results[code] in (AUTHINFO_UNAVAIL, SYSTEM_ERR)
        shown = [one for one in login.shown if one[0] != INFO]  # pam_debug says that it was reached
        assert shown == (said(operation) if down else [])
    assert results == {
        code: {IGNORE: CRED_UNAVAIL}.get(code, code) if code in allowed(operation) else AUTHINFO_UNAVAIL for code in range(256)
    }


def test_setcred_is_success_and_asks_nobody(stage: Stage, peer: Peer) -> None:
    with stage.login() as login:
        for flags in (0x2, 0x4, 0x8, 0x10, SILENT):
            assert login.call("setcred", flags) == SUCCESS
        assert login.shown == []
    peer.nobody_waits()


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (b"", b""),
        (None, b""),
        ("é\"'".encode(), "é\"'".encode()),
        (b"\xff", b"\xff"),
        (b"9" * 512, b"9" * 512),
        (b"9" * 9000, b"9" * 512),
    ],
)
def test_what_was_typed_is_sent_as_it_is_or_cut(stage: Stage, peer: Peer, typed: bytes | None, sent: bytes) -> None:
    assert hold(stage, peer, "authenticate", [HEAR, ASK, HEAR, Done(AUTH_ERR), LEFT], typed)[0] == AUTH_ERR
    assert peer.heard[1] == Answer(Secret(sent))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", [CONV_ERR, SYSTEM_ERR, AUTH_ERR, IGNORE])
def test_a_conversation_that_fails_ends_the_call(stage: Stage, peer: Peer, operation: str, code: int) -> None:
    assert hold(stage, peer, operation, [HEAR, ASK, LEFT], code)[0] == CONV_ERR


def test_a_silent_call_says_no_more_than_errors_and_still_asks(stage: Stage, peer: Peer) -> None:
    script = [HEAR, Prompt(Style.INFO, "Hello."), Prompt(Style.ERROR, "Oh."), ASK, HEAR, Done(AUTHINFO_UNAVAIL), LEFT]
    result, login = hold(stage, peer, "authenticate", script, b"8361", flags=SILENT)
    assert result == AUTHINFO_UNAVAIL
    assert login.shown == [(ERROR, "Oh."), (HIDDEN, "PIN: "), (ERROR, UNAVAILABLE)]


def test_the_longest_prompt_is_shown_whole(stage: Stage, peer: Peer) -> None:
    script = [HEAR, Prompt(Style.INFO, "%s%n" * 256), Done(SUCCESS), LEFT]
    result, login = hold(stage, peer, "authenticate", script)
    assert (result, login.shown) == (SUCCESS, [(INFO, "%s%n" * 256)])


def test_a_verdict_sent_before_the_answer_counts(stage: Stage, peer: Peer) -> None:
    def after_the_end() -> bytes:
        assert peer.played.wait(10)
        return b"8361755224"

    peer.play([HEAR, ASK, Done(AUTH_ERR)])
    with stage.login(after_the_end) as login:
        assert login.call("authenticate") == AUTH_ERR


# --- a peer that fails or lies ----------------------------------------------------------------------------------------

GOOD = [HEAR, ASK, HEAR, Prompt(Style.INFO, "Welcome."), Done(SUCCESS)]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("lines", range(len(GOOD)))
def test_a_close_at_any_point_is_unavailable(stage: Stage, peer: Peer, operation: str, lines: int) -> None:
    peer.play(*connections(operation, GOOD[:lines]))
    # Lines 2 on: the prompt is shown, and answered if the peer is still there to hear.
    with stage.login(*([b"8361755224"] if lines >= 2 else [])) as login:
        assert login.call(operation) == AUTHINFO_UNAVAIL
    assert login.shown[len(login.shown) - len(said(operation)) :] == said(operation)


DONE = encode(Done(SUCCESS, Secret(b"8361")))
BAD = {
    "nothing of ours": b"HTTP/1.1 200 OK\r\n\r\n",
    "one byte": b"\0",
    "PAM_SUCCESS alone": bytes(4),
    "a header alone": b"AR\x01\x04",
    "another magic": b"RA" + DONE[2:],
    "another version": b"AR\x02" + DONE[3:],
    "an unknown type": b"AR\x01\x05" + DONE[4:],
    "a type of 0": b"AR\x01\x00" + DONE[4:],
    "a START": encode(Start(Operation.AUTHENTICATE, "sshd", "alice")),
    "an ANSWER": encode(Answer(Secret(b"8361"))),
    "a DONE without a code": b"AR\x01\x04\x31\x00\x0411111"[:-1],
    "a DONE with two codes": b"AR\x01\x04\x30\x00\x01\x00\x30\x00\x01\x00",
    "a code of four bytes": b"AR\x01\x04\x30\x00\x04\x00\x00\x00\x00",
    "a DONE with a PROMPT's text": b"AR\x01\x04\x30\x00\x01\x00\x11\x00\x01x",
    "bytes left over": DONE + b"\0",
    "an empty authtok": b"AR\x01\x04\x30\x00\x01\x00\x31\x00\x00",
    "an authtok with a NUL": b"AR\x01\x04\x30\x00\x01\x00\x31\x00\x02a\0",
    "an authtok too long": b"AR\x01\x04\x30\x00\x01\x00\x31\x02\x01" + b"x" * 513,
    "a length beyond the end": b"AR\x01\x04\x30\x00\x01\x00\x31\xff\xff" + b"x" * 8,
    "a PROMPT of style 0": b"AR\x01\x02\x10\x00\x01\x00\x11\x00\x01x",
    "a PROMPT of style 5": b"AR\x01\x02\x10\x00\x01\x05\x11\x00\x01x",
    "a PROMPT without text": b"AR\x01\x02\x10\x00\x01\x03",
    "a PROMPT of 1025 bytes": b"AR\x01\x02\x10\x00\x01\x03\x11\x04\x01" + b"x" * 1025,
    "the largest datagram": DONE.ljust(4096, b"\0"),
    "a datagram one byte too long": DONE.ljust(4097, b"\0"),
    "a datagram of 60,000 bytes": DONE.ljust(60_000, b"\0"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("datagram", BAD.values(), ids=BAD.keys())
def test_a_datagram_that_breaks_the_protocol_is_unavailable(stage: Stage, peer: Peer, operation: str, datagram: bytes) -> None:
    result, login = hold(stage, peer, operation, [HEAR, datagram, LEFT])
    assert (result, login.shown) == (AUTHINFO_UNAVAIL, said(operation))
    result, _ = hold(stage, peer, operation, [HEAR, ASK, HEAR, datagram, LEFT], b"8361")
    assert result == AUTHINFO_UNAVAIL


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_truncated_verdict_is_no_verdict(stage: Stage, peer: Peer, operation: str) -> None:
    whole = {len(encode(Done(SUCCESS))), len(DONE)}
    for size in range(1, len(DONE) + 1):
        result, _ = hold(stage, peer, operation, [HEAR, DONE[:size], LEFT])
        assert result == (SUCCESS if size in whole else AUTHINFO_UNAVAIL)


def test_a_success_after_a_bad_datagram_does_not_count(stage: Stage, peer: Peer) -> None:
    def after_the_end() -> bytes:
        assert peer.played.wait(10)
        return b"8361755224"

    peer.play([HEAR, ASK, b"?", Done(SUCCESS)])
    with stage.login(after_the_end) as login:
        assert login.call("authenticate") == AUTHINFO_UNAVAIL


# --- no daemon --------------------------------------------------------------------------------------------------------


def expected_down(operation: str) -> tuple[int, list[tuple[int, str]]]:
    return (TRY_AGAIN, []) if operation == "chauthtok" else (AUTHINFO_UNAVAIL, said(operation))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("path", ["absent", "", "x" * 200, "folder", "file", "stale", "stream"])
def test_no_socket_is_told_at_once(stage: Stage, tmp_path: Path, operation: str, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(tmp_path / "stale"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        stage.configure(socket_path=f"{tmp_path}/{path}" if path else " ")
        begin = time.monotonic()
        with stage.login() as login:
            assert (login.call(operation), login.shown) == expected_down(operation)
        assert time.monotonic() - begin < 1


def test_a_silent_call_says_that_the_service_is_down(stage: Stage) -> None:
    with stage.login() as login:
        assert login.call("authenticate", SILENT) == AUTHINFO_UNAVAIL
        assert login.shown == [(ERROR, UNAVAILABLE)]


def test_silence_ends_within_ten_seconds(stage: Stage, peer: Peer) -> None:
    begin = time.monotonic()
    result, login = hold(stage, peer, "authenticate", [HEAR, LEFT])
    assert 9 < time.monotonic() - begin < 10
    assert (result, login.shown) == (AUTHINFO_UNAVAIL, said("authenticate"))


def test_a_full_queue_ends_within_ten_seconds_too(stage: Stage) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as full,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one,
    ):
        full.bind(stage.socket_path)
        full.listen(0)
        one.connect(stage.socket_path)
        begin = time.monotonic()
        with stage.login() as login:
            assert login.call("authenticate") == AUTHINFO_UNAVAIL
        assert 9 < time.monotonic() - begin < 10


# --- a peer that is not root ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_peer_that_is_not_root_gets_no_byte(stage: Stage, operation: str) -> None:
    assert os.getuid() == 0
    report, written = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(stage.socket_path)
        child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)  # before listen(2), which is when the kernel notes whose socket it is
                listening.settimeout(20)
                listening.listen()
                os.write(written, b"R")
                connection, _ = listening.accept()
                connection.settimeout(20)
                os.write(written, b"%d" % len(connection.recv(8192)))
            finally:
                os._exit(0)
        os.close(written)
        try:
            assert os.read(report, 1) == b"R"
            with stage.login() as login:
                assert (login.call(operation), login.shown) == expected_down(operation)
            assert select.select([report], [], [], 20)[0]
            assert os.read(report, 10) == b"0"
        finally:
            os.waitpid(child, 0)
            os.close(report)


# --- the preparing pass of a change -----------------------------------------------------------------------------------


def test_a_change_is_prepared_by_a_connection_alone(stage: Stage, peer: Peer) -> None:
    result, _ = hold(stage, peer, "chauthtok", [HEAR, Done(SUCCESS), LEFT])
    assert result == SUCCESS
    assert (len(peer.heard), peer.start.flags & (PREPARE | UPDATE)) == (1, UPDATE)


def test_no_descriptor_is_left_open(stage: Stage, peer: Peer) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for script in ([HEAR, Done(SUCCESS)], [HEAR, b"?"], [HEAR], []):
        for operation in OPERATIONS:
            peer.play(*connections(operation, script))
            with stage.login() as login:
                login.call(operation)
            peer.finish()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_program_that_is_started_meanwhile_does_not_inherit_the_socket(stage: Stage, peer: Peer) -> None:
    seen: dict[int, bool] = {}

    def look() -> bytes:
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    seen[int(name)] = os.get_inheritable(int(name))
        return b"8361"

    peer.play([HEAR, ASK, HEAR, Done(SUCCESS), LEFT])
    with stage.login(look) as login:
        assert login.call("authenticate") == SUCCESS
    assert len(seen) >= 3  # the listening socket, the peer's end and the module's
    assert not any(seen.values())
