"""Dialogues with a real arenad over its real socket: what a holder is asked, and what comes of the answers."""

import time
from pathlib import Path

import pytest
from arena import Service, Token
from arenad.store.schema import audit, origin, stranger
from arenad.store.schema import token as token_table

from pam_arena.protocol import Style
from pam_arena.secret import Secret

PIN_PROMPT = "PIN (first login: leave empty): "
CODE_PROMPT = "Passcode (the code on your key): "
CHOOSE = "Choose a PIN (4 to 6 digits): "
AGAIN = "Same PIN again: "
NEW = "PIN + new code: "
DENIED = "Access denied. Wait for a new code, then retry. (ref "


def play(service: Service, user: str, script: list[tuple[str, str | None]], *, rhost: str = "192.0.2.7") -> bool:
    """Hold a login: each prompt must be, or end in, what the script says; the rest of the script must be used up."""
    left = list(script)

    def ask(style: Style, text: str) -> Secret | None:
        expected, answer = left.pop(0)
        assert expected in text
        assert (answer is None) == (style in (Style.INFO, Style.ERROR))
        return None if answer is None else Secret(answer.encode())

    granted = service.client().authenticate(user, "sshd", ask, rhost=rhost)
    assert not left
    return granted


def first_login(service: Service, user: str, token: Token, pin: str = "2846") -> None:
    """The first login up to the shell; uses up the codes of now and of the next step."""
    script = [(PIN_PROMPT, ""), (CODE_PROMPT, token.code()), (CHOOSE, pin), (AGAIN, pin), (NEW, pin + token.code(1))]
    assert play(service, user, script)


def deny(service: Service, user: str, first: str, second: str, **how: str) -> None:
    """A login that must be denied in the one way there is."""
    assert not play(service, user, [(PIN_PROMPT, first), (CODE_PROMPT, second), (DENIED, None)], **how)


def last_reason(service: Service) -> str:
    return str(service.rows(audit)[-1]["reason"])


@pytest.fixture
def token(service: Service) -> Token:
    return service.enrol("alice", "A-1")


def test_the_first_login_creates_the_pin_and_the_next_code_opens(service: Service, token: Token) -> None:
    first_login(service, "alice", token)
    assert [row["event"] for row in service.rows(audit)] == ["login", "pin-create", "login"]


def test_a_code_works_once(service: Service, token: Token) -> None:
    first_login(service, "alice", token)
    deny(service, "alice", "2846", token.code(1))
    assert last_reason(service) == "used-code-again"
    deny(service, "alice", "2846", token.code())
    assert last_reason(service) == "used-code"


def test_pins_that_are_too_easy_short_or_differ_are_asked_for_again(service: Service, token: Token) -> None:
    script: list[tuple[str, str | None]] = [(PIN_PROMPT, ""), (CODE_PROMPT, token.code())]
    script += [(CHOOSE, "123"), ("A PIN has 4 to 6 digits.\n" + CHOOSE, "1234")]
    script += [("Too easy to guess. Choose another.\n" + CHOOSE, "2846"), (AGAIN, "2847")]
    script += [
        ("The two PINs differ. Start again.\n" + CHOOSE, "2846"),
        (AGAIN, "2846"),
        ("PIN created. New code in about ", "2846" + token.code(1)),
    ]
    assert play(service, "alice", script)


def test_the_old_display_typed_again_is_said_and_not_charged(service: Service, token: Token) -> None:
    old = token.code()
    script = [(PIN_PROMPT, ""), (CODE_PROMPT, old), (CHOOSE, "2846"), (AGAIN, "2846"), (NEW, "2846" + old)]
    assert play(service, "alice", [*script, ("Still the old code. Wait for the next.\n" + NEW, "2846" + token.code(1))])
    assert all(row["failures"] == 0 for row in service.rows(origin))


def test_a_login_cut_after_the_pin_was_confirmed_resumes(service: Service, token: Token) -> None:
    class Cut(Exception):
        pass

    def ask(style: Style, text: str) -> Secret:
        if NEW in text:
            raise Cut
        typed = {PIN_PROMPT: "", CODE_PROMPT: token.code(), CHOOSE: "2846", AGAIN: "2846"}
        return Secret(typed[text].encode())

    with pytest.raises(Cut):
        service.client().authenticate("alice", "sshd", ask)
    assert play(service, "alice", [(PIN_PROMPT, "2846"), (CODE_PROMPT, token.code(1))])


@pytest.mark.parametrize("first", ["", "2846"])
def test_the_passcode_field_takes_pin_and_code(service: Service, token: Token, first: str) -> None:
    first_login_by_hand(service, token)
    assert play(service, "alice", [(PIN_PROMPT, first), (CODE_PROMPT, "2846 " + token.code(1))])


def test_the_pin_field_takes_pin_and_code(service: Service, token: Token) -> None:
    first_login_by_hand(service, token)
    assert play(service, "alice", [(PIN_PROMPT, "2846" + token.code(1)), (CODE_PROMPT, "")])


def first_login_by_hand(service: Service, token: Token) -> None:
    """A PIN, and only the code of now used up."""
    script = [(PIN_PROMPT, ""), (CODE_PROMPT, token.code()), (CHOOSE, "2846"), (AGAIN, "2846"), (NEW, "")]
    assert not play(service, "alice", [*script, (DENIED, None)])


def test_a_wrong_pin_is_refused_and_spends_the_code(service: Service, token: Token) -> None:
    first_login_by_hand(service, token)
    code = token.code(1)
    deny(service, "alice", "2847", code)
    assert last_reason(service) == "wrong-pin"
    deny(service, "alice", "2846", code)
    assert last_reason(service) == "used-code"


def test_nobody_gets_in_without_a_token_and_the_prompts_are_the_same(service: Service, token: Token) -> None:
    deny(service, "no-such-name", "2846", "123456")
    deny(service, "bad\x07name", "", "")
    assert [row["reason"] for row in service.rows(stranger)] == ["unknown-name", "malformed"]
    assert "no-such-name" not in repr(service.rows(stranger))
    assert service.rows(audit) == []


def test_sshds_replacement_of_an_answer_is_denied_and_not_counted(service: Service, token: Token) -> None:
    deny(service, "alice", "\b\n\r\x7fINCO", "\b\n\r\x7fINCORR")
    assert last_reason(service) == "malformed"
    assert all(row["failures"] == 0 for row in service.rows(origin))


def test_five_failures_make_that_origin_wait_and_no_other(service: Service, token: Token) -> None:
    first_login_by_hand(service, token)
    for guess in range(5):
        deny(service, "alice", "2846", f"00000{guess}", rhost="203.0.113.9")
    deny(service, "alice", "2846", token.code(1), rhost="203.0.113.9")
    assert last_reason(service) == "waiting"
    deny(service, "alice", "2846", token.code(1), rhost="")
    assert last_reason(service) == "used-code"  # what was typed while waiting is spent
    assert all(not (row["kind"] == "console" and row["wait_until"]) for row in service.rows(origin))


def test_ten_right_codes_with_a_wrong_pin_disable_the_token(tmp_path: Path) -> None:
    extra = '[login]\ndeny_after = "0"\n[lock]\nafter = 9\nwrong_pin_disables = 2\n'
    service = Service(tmp_path, extra)
    service.start()
    try:
        alice = service.enrol("alice", "A-1")
        script = [
            (PIN_PROMPT, ""),
            (CODE_PROMPT, alice.code(-1)),
            (CHOOSE, "2846"),
            (AGAIN, "2846"),
            (NEW, "2849" + alice.code()),
        ]
        assert not play(service, "alice", [*script, (DENIED, None)])
        deny(service, "alice", "2849", alice.code(1))
        assert [row["state"] for row in service.rows(token_table)][-1] == "disabled"
        assert last_reason(service) == "wrong-pin"
    finally:
        service.close()


def test_a_used_code_stays_used_after_a_crash(service: Service, token: Token) -> None:
    first_login(service, "alice", token)
    service.kill()
    service.start()
    deny(service, "alice", "2846", token.code(1))


def test_stopping_gives_those_at_a_prompt_three_seconds(service: Service, token: Token) -> None:
    started = []

    def ask(style: Style, text: str) -> Secret:
        assert service.process is not None
        if not started:
            started.append(time.monotonic())
            service.process.terminate()
        return Secret(b"" if text == PIN_PROMPT else token.code().encode() if text == CODE_PROMPT else b"2846")

    from pam_arena.errors import ServiceDown

    with pytest.raises(ServiceDown):
        service.client().authenticate(
            "alice", "sshd", lambda s, t: ask(s, t) if NEW not in t else (time.sleep(4), Secret(b"x"))[1]
        )
    assert service.process is not None
    assert service.process.wait(10) == 0
    service.start()
    assert play(service, "alice", [(PIN_PROMPT, "2846"), (CODE_PROMPT, token.code(1))])
