"""The module's options: what a line of /etc/pam.d changes in what arenad hears, and what the next module gets."""

from collections.abc import Sequence

import pytest
from stage import (
    AUTH_ERR,
    ERROR,
    HEAR,
    HIDDEN,
    IGNORE,
    LEFT,
    OPERATIONS,
    PERM_DENIED,
    SUCCESS,
    SYSTEM_ERR,
    UNAVAILABLE,
    Peer,
    Script,
    Stage,
    connections,
)

from pam_arena.protocol import Option, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start

ASK = Prompt(Style.HIDDEN, "Passcode: ")
COLLECTED = Secret(b"hunter2")
GRANT: Script = [HEAR, Done(SUCCESS), LEFT]
LEAVE: Script = [HEAR, Done(SUCCESS, COLLECTED), LEFT]


def stack(stage: Stage, first: str, second: str, kind: str = "auth") -> None:
    """Two modules in a row, which both have to succeed, or to ignore."""
    module = f"{stage._module} socket={stage.socket_path}"
    lines = [f"{kind} [success=ok ignore=ignore default=bad] {module} {options}\n" for options in (first, second)]
    (stage.folder / "arena").write_text("".join(lines))


def passcodes(peer: Peer) -> Sequence[Secret | None]:
    """What each START brought."""
    peer.finish()
    return [start.passcode for start in peer.heard if isinstance(start, Start)]


# --- what arenad hears ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        ("", Option(0)),
        ("debug", Option(0)),
        ("prompt=split", Option.SPLIT),
        ("prompt=joined debug", Option.JOINED),
        ("prompt=split prompt=joined", Option.JOINED),
        ("prompt=joined prompt=split", Option.SPLIT),
        ("forward_pass", Option.FORWARD_PASS),
        ("use_first_pass", Option.FIRST_PASS),
        ("try_first_pass", Option(0)),
        ("try_first_pass use_first_pass", Option.FIRST_PASS),
        ("use_first_pass try_first_pass", Option.FIRST_PASS),
        ("prompt=joined forward_pass use_first_pass", Option.JOINED | Option.FORWARD_PASS | Option.FIRST_PASS),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_options_are_passed_on(stage: Stage, peer: Peer, operation: str, options: str, bits: Option) -> None:
    stage.configure(options)
    peer.play(*connections(operation, GRANT))
    with stage.login() as login:
        assert login.call(operation) == SUCCESS
    peer.finish()
    assert [start.options for start in peer.heard if isinstance(start, Start)] == [bits]


@pytest.mark.parametrize("size", [1, 6, 512])
@pytest.mark.parametrize("option", ["try_first_pass", "use_first_pass", "forward_pass"])
def test_a_collected_passcode_goes_where_an_option_names_it(stage: Stage, peer: Peer, option: str, size: int) -> None:
    stack(stage, "", option)
    authtok = Secret(b"p" * size)
    peer.play([HEAR, Done(SUCCESS, authtok), LEFT], GRANT)
    with stage.login() as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None, authtok]


@pytest.mark.parametrize("options", ["", "prompt=joined", "debug"])
def test_a_collected_passcode_stays_where_no_option_names_it(stage: Stage, peer: Peer, options: str) -> None:
    stack(stage, "", options)
    peer.play(LEAVE, GRANT)
    with stage.login() as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None, None]


@pytest.mark.parametrize("option", ["try_first_pass", "use_first_pass", "forward_pass"])
def test_where_nothing_was_collected_nothing_is_sent(stage: Stage, peer: Peer, option: str) -> None:
    stage.configure(option)
    peer.play(GRANT)
    with stage.login() as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None]


def test_what_arenad_asks_beside_a_collected_passcode_is_asked(stage: Stage, peer: Peer) -> None:
    stack(stage, "", "try_first_pass")
    peer.play(LEAVE, [HEAR, ASK, HEAR, Done(SUCCESS), LEFT])
    with stage.login(b"8361755224") as login:
        assert login.call("authenticate") == SUCCESS
        assert login.shown == [(HIDDEN, "Passcode: ")]
    peer.finish()
    assert peer.heard[-1] == Answer(Secret(b"8361755224"))


@pytest.mark.parametrize("option", ["try_first_pass", "use_first_pass", "forward_pass"])
def test_a_password_is_no_passcode_when_a_pin_is_changed(stage: Stage, peer: Peer, option: str) -> None:
    stack(stage, "", option, "password")
    # Both modules are asked first whether they are ready; only then is anything changed.
    peer.play([LEFT], [LEFT], LEAVE, GRANT)
    with stage.login() as login:
        assert login.call("chauthtok") == SUCCESS
    assert passcodes(peer) == [None, None]


# --- what the next module gets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [SUCCESS, IGNORE])
def test_the_password_of_a_forwarded_pass_is_the_next_modules(stage: Stage, peer: Peer, code: int) -> None:
    stack(stage, "forward_pass", "use_first_pass")
    peer.play([HEAR, ASK, HEAR, Done(code, COLLECTED), LEFT], GRANT)
    with stage.login(b"hunter28361755224") as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None, COLLECTED]


def test_the_password_replaces_what_was_collected(stage: Stage, peer: Peer) -> None:
    module, whole = f"{stage._module} socket={stage.socket_path}", Secret(b"hunter28361755224")
    lines = [f"auth [success=ok default=bad] {module} {option}\n" for option in ("", "forward_pass", "use_first_pass")]
    (stage.folder / "arena").write_text("".join(lines))
    peer.play([HEAR, Done(SUCCESS, whole), LEFT], LEAVE, GRANT)
    with stage.login() as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None, whole, COLLECTED]


@pytest.mark.parametrize("code", [AUTH_ERR, PERM_DENIED, SYSTEM_ERR])
def test_a_denial_leaves_nothing(stage: Stage, peer: Peer, code: int) -> None:
    stack(stage, "forward_pass", "try_first_pass")
    peer.play([HEAR, Done(code, COLLECTED), LEFT], GRANT)
    with stage.login() as login:
        assert login.call("authenticate") == code
    assert passcodes(peer) == [None, None]


def test_where_nothing_is_left_the_next_module_has_nothing(stage: Stage, peer: Peer) -> None:
    stack(stage, "forward_pass", "use_first_pass")
    peer.play([HEAR, ASK, HEAR, Done(SUCCESS), LEFT], GRANT)
    with stage.login(b"8361755224") as login:
        assert login.call("authenticate") == SUCCESS
    assert passcodes(peer) == [None, None]


# --- a line in /etc/pam.d that is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "options",
    [
        "nullok",
        "prompt=",
        "prompt=both",
        "prompt",
        "Debug",
        "debug=1",
        "socket",
        "prompt=split ignore",
        "use_first_pass=1",
        "try_first_pas",
        "forward_pass=yes",
        "forward_pass FORWARD_PASS",
    ],
)
def test_an_unknown_option_is_no_success(stage: Stage, peer: Peer, operation: str, options: str) -> None:
    stage.configure(options)
    with stage.login() as login:
        assert login.call(operation) == SYSTEM_ERR
        # The preparing pass of a change says nothing, and account never does.
        assert login.shown == ([(ERROR, UNAVAILABLE)] if operation == "authenticate" else [])
    peer.nobody_waits()
