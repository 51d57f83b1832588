"""What the module sends first, through libpam: who logs in, from where and through what; all of it, or cut, or left out."""

import os

import pytest
from stage import (
    AUTH_ERR,
    CONV_ERR,
    HEAR,
    LEFT,
    OPERATIONS,
    RHOST,
    RUSER,
    SILENT,
    SUCCESS,
    SYSTEM_ERR,
    TTY,
    UPDATE,
    Peer,
    Stage,
    connections,
    hold,
)

from pam_arena.protocol import Operation
from pam_arena.wire import Done, Start

NUMBER = {"authenticate": Operation.AUTHENTICATE, "acct_mgmt": Operation.ACCOUNT, "chauthtok": Operation.CHANGE_PIN}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_start_says_who_from_where_and_through_what(stage: Stage, peer: Peer, operation: str) -> None:
    peer.play(*connections(operation, [HEAR, Done(SUCCESS), LEFT]))
    with stage.login() as login:
        login.set_item(RHOST, b"192.0.2.7")
        login.set_item(RUSER, b"bob")
        login.set_item(TTY, "tty\u00e9".encode("latin-1"))
        login.putenv(b"SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA")
        assert login.call(operation, SILENT) == SUCCESS
    peer.finish()
    flags = SILENT | (UPDATE if operation == "chauthtok" else 0)
    assert peer.heard == [
        Start(
            NUMBER[operation],
            "arena",
            "alice",
            "bob",
            "192.0.2.7",
            "tty\udce9",
            flags,
            os.getuid(),
            "publickey ssh-ed25519 AAAA",
        )
    ]


def test_what_is_unknown_is_left_out(stage: Stage, peer: Peer) -> None:
    assert hold(stage, peer, "authenticate", [HEAR, Done(SUCCESS), LEFT])[0] == SUCCESS
    assert peer.heard == [Start(Operation.AUTHENTICATE, "arena", "alice", uid=os.getuid())]


@pytest.mark.parametrize(("size", "sent"), [(2048, 2048), (2049, 0), (100_000, 0)])
def test_ssh_auth_info_is_whole_or_left_out(stage: Stage, peer: Peer, size: int, sent: int) -> None:
    peer.play([HEAR, Done(SUCCESS), LEFT])
    with stage.login() as login:
        login.putenv(b"SSH_AUTH_INFO_0=" + b"k" * size)
        assert login.call("authenticate") == SUCCESS
    peer.finish()
    assert peer.start.auth_info == "k" * sent


def test_names_that_nobody_can_have_are_cut(stage: Stage, peer: Peer) -> None:
    peer.play([HEAR, Done(AUTH_ERR), LEFT])
    with stage.login(user=b"u" * 5000) as login:
        for item in (RHOST, RUSER, TTY):
            login.set_item(item, b"x" * 300)
        assert login.call("authenticate") == AUTH_ERR
    peer.finish()
    start = peer.start
    assert [len(one) for one in (start.user, start.rhost, start.ruser, start.tty)] == [512, 256, 256, 128]


def test_a_longer_service_does_not_pass_for_a_shorter_one(stage: Stage, peer: Peer) -> None:
    for size, result in ((128, SUCCESS), (129, SYSTEM_ERR), (200, SYSTEM_ERR)):
        stage.configure(service="s" * size)
        peer.play(*([[HEAR, Done(SUCCESS), LEFT]] if result == SUCCESS else []))
        with stage.login(service="s" * size) as login:
            assert login.call("authenticate") == result
        peer.finish()


def test_libpam_asks_for_a_missing_user(stage: Stage, peer: Peer) -> None:
    peer.play([HEAR, Done(SUCCESS), LEFT])
    with stage.login(b"carol", user=None) as login:
        assert login.call("authenticate") == SUCCESS
    peer.finish()
    assert peer.start.user == "carol"


def test_no_user_at_all_is_no_success(stage: Stage, peer: Peer) -> None:
    with stage.login(CONV_ERR, user=None) as login:
        assert login.call("authenticate") == CONV_ERR
    peer.nobody_waits()


def test_account_never_asks_for_a_missing_user(stage: Stage, peer: Peer) -> None:
    with stage.login(user=None) as login:
        assert login.call("acct_mgmt") == SYSTEM_ERR
        assert login.shown == []
    peer.nobody_waits()
