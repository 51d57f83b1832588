"""Ways in without the key, over sshd, login, sudo and su: emergency and temporary codes, and codes by mail."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, ROOT, SHELL, Holder, Step, check_golden, password, play, refuse
from hosts import Dialogue, Host
from mailserver import PORT, mailed_code, mails_to, start_server, stop_server, wait_until

MAILED = r"a code was mailed\. Code: "
JOINED = r"Passcode \(PIN \+ code; first: code\): "
WRONG_PIN = "2847"
LEFT = r"Emergency codes left: \d+"
FRENCH_PIN, FRENCH_CODE = r"laisser vide\).: ", r"sur la clé\).: "
MAIL = f"""
[mail]
smtp = "127.0.0.1:{PORT}"
from = "arena@school.example"
domain = "school.example"
[service.default]
mail_codes = true
"""


def codes(holder: Holder, kind: str) -> list[str]:
    """What the desk gives."""
    given: list[str] = json.loads(holder.host.arenactl("code", kind, holder.name, "-o", "json").stdout)["codes"]
    return given


def with_code(code: str, pin: str = PIN) -> list[Step]:
    return [(ASK_PIN, pin, "PIN"), (ASK_CODE, code, "emergency code")]


PROGRAMS: dict[str, tuple[Callable[[Holder], Dialogue], Step, str]] = {
    "ssh": (lambda one: one.host.ssh(one.name), password(), r"(?s)left: \d+.*\$ "),
    "login": (lambda one: one.host.login(one.name), password(), LEFT),
    "sudo": (lambda one: one.host.sudo(one.name, "echo", SHELL), password(), SHELL),
    "su": (lambda one: one.host.su(one.name), ROOT, "root\r?\n"),
}


def test_each_emergency_code_opens_each_door_once(holder: Holder) -> None:
    given = codes(holder, "emergency")
    for code, (name, (start, first, end)) in zip(given, PROGRAMS.items(), strict=False):
        told = play(start(holder), [first, *with_code(code)], end)
        told = re.sub(r"\n[^\n]*Linux.*?(?=Emergency|\Z)|(?<=left: \d)\s.*\$ \Z", "\n", told, flags=re.DOTALL)
        check_golden(f"{name}-emergency-code", told)
    for code in given[:2]:  # used at one door, they open no other
        refuse(holder.host.sudo(holder.name), [password(), *with_code(code)])
    assert f"recovery codes left  {len(given) - len(PROGRAMS)}" in holder.host.arenactl("holder", "show", holder.name).stdout


def test_an_emergency_code_with_a_wrong_pin_is_spent(holder: Holder) -> None:
    code = codes(holder, "emergency")[0]
    refuse(holder.host.sudo(holder.name), [password(), *with_code(code, WRONG_PIN)])
    refuse(holder.host.sudo(holder.name), [password(), *with_code(code)])


def test_temporary_codes_open_each_door_in_french_and_in_one_field(holder: Holder) -> None:
    host, (first, second, third, fourth, _) = holder.host, codes(holder, "temporary")
    french: list[Step] = [(FRENCH_PIN, PIN, "code PIN"), (FRENCH_CODE, first.lower(), "code de secours")]
    with host.configured('language = "fr"\n[service.sudo]\nprompt = "joined"\nlanguage = "en"\n'):
        told = play(host.su(holder.name), [ROOT, *french], "root\r?\n")
        check_golden("su-temporary-code-french", re.sub(r"\d+\nroot", "N\nroot", told))
        joined: Step = (JOINED, PIN + second, "PIN + code")
        play(host.sudo(holder.name, "echo", SHELL), [password(), joined], SHELL)
        refuse(host.sudo(holder.name), [password(), joined])
    play(holder.ssh(), [password(), *with_code(third)], SHELL)
    assert "Emergency codes left: 1" in play(host.login(holder.name), [password(), *with_code(fourth)], LEFT)


def test_a_first_login_without_the_key_goes_by_two_temporary_codes(plain: Host) -> None:
    newcomer = Holder(plain)
    first, second, *_ = codes(newcomer, "temporary")
    steps: list[Step] = [(ASK_PIN, "", ""), (ASK_CODE, first, "temporary code"), *newcomer.first_steps()[2:4]]
    play(newcomer.ssh(), [password(), *steps, (r"PIN \+ new code: ", PIN + second, "PIN + temporary code")], SHELL)


# --- codes by mail ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(plain: Host) -> Iterator[Host]:
    plain.install("python3-aiosmtpd")
    start_server(plain)
    yield plain
    stop_server(plain)


@pytest.fixture
def mailing(server: Host) -> Iterator[Host]:
    with server.configured(MAIL):
        yield server
        wait_until(server, 'test "$(systemctl is-active arena-mail.service)" = inactive')


def by_mail(holder: Holder, number: int = 1) -> list[Step]:
    """PIN, an empty passcode, and the code of the holder's mail of that number."""

    def read() -> str:
        return mailed_code(holder.host, f"{holder.name}@school.example", number)

    return [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "", ""), (MAILED, read, "code of the mail")]


@pytest.mark.usefixtures("mailing")
def test_a_code_by_mail_opens_each_door_once(holder: Holder) -> None:
    for number, (name, (start, first, end)) in enumerate(PROGRAMS.items(), 1):
        end = r"@\S+\$ " if name in ("ssh", "login") else end
        told = play(start(holder), [first, *by_mail(holder, number)], end)
        if name == "su":
            check_golden("su-mailed-code", told)
    (mail, *_) = mails_to(holder.host, f"{holder.name}@school.example")
    assert (mail["From"], mail["Subject"]) == ("arena@school.example", "Your login code")
    refuse(holder.host.sudo(holder.name), [password(), *with_code(mailed_code(holder.host, f"{holder.name}@school.example"))])


def test_one_field_asks_for_mail_with_a_star_and_the_desk_knows_address_and_language(holder: Holder, server: Host) -> None:
    address = f"{holder.name}@lycee.example"
    server.arenactl("holder", "set", holder.name, "--mail", address, "--language", "fr")
    with server.configured(MAIL + '[service.sshd]\nprompt = "joined"\nlanguage = "fr"\n'):
        steps: list[Step] = [
            (r"1re fois.: code\).: ", PIN + "*", "code PIN + *"),
            (r"envoyé par mel\. Code.: ", lambda: mailed_code(server, address), "code du mel"),
        ]
        check_golden("ssh-mailed-code-french", play(holder.ssh(), [password(), *steps], SHELL))
    (mail,) = mails_to(server, address)
    assert mail["Subject"] == "Votre code de connexion"
    assert "Le code que vous avez demandé" in mail.get_content()


def test_a_wrong_pin_and_an_unknown_name_see_the_same_and_no_mail_goes(holder: Holder, server: Host) -> None:
    guess: list[Step] = [(ASK_PIN, WRONG_PIN, "PIN"), (ASK_CODE, "", ""), (MAILED, "ABCDE-FGH23", "code")]
    server.arena_first()
    before = sorted(server.root.joinpath("var/tmp/mailbox/new").iterdir())
    try:
        with server.configured(MAIL):
            seen = {refuse(server.ssh(name), guess).replace(name, "alice") for name in (holder.name, "no-such-name")}
            refused = refuse(server.login(holder.name), guess)
    finally:
        server.password_first()
    assert len(seen) == 1
    check_golden("login-mailed-code-refused", refused)
    assert server.run("ls", "-A", "/var/spool/arena/out").stdout == ""
    assert sorted(server.root.joinpath("var/tmp/mailbox/new").iterdir()) == before
