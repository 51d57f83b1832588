"""Whole logins over real sshd, login, sudo and su, on Debian 12 and 13.

What a holder sees is held against tests/host/golden/; ARENA_GOLDEN=write rewrites it, to be read in review.
"""

import base64
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hosts import DRIVER, PASSWORD, Answer, Dialogue, Host

GOLDEN = Path(__file__).with_name("golden")
ASK_PIN, ASK_CODE = r"leave empty\): ", r"on your key\): "
CHOOSE, AGAIN, NEW = r"Choose a PIN \(4 to 6 digits\): ", "Same PIN again: ", r"PIN \+ new code: "
PASSWORD_PROMPT = r"[Pp]assword[^\n]*: "
PIN = "2846"
SHELL, REFUSED = "arena-in", r"Permission denied|Login incorrect|incorrect authentication|Authentication failure"

Step = tuple[str, Answer, str]  # prompt, answer, what stands for the answer in the transcript
_numbers = itertools.count(1)


class Holder:
    """A user of the host with a fob, in new-PIN mode."""

    def __init__(self, host: Host, *, period: int = 5) -> None:
        self.host, self.name = host, f"holder{next(_numbers)}"
        host.add_user(self.name, groups="sudo")
        self.fob = host.give_fob(self.name, f"K-{self.name}", period=period)

    def passcode(self) -> str:
        """PIN + a fresh code."""
        return PIN + self.fob.fresh()

    def first_steps(self) -> list[Step]:
        """What the first login asks after the password."""
        create: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]
        return [(ASK_PIN, "", ""), (ASK_CODE, self.fob.fresh, "code"), *create, (NEW, self.passcode, "PIN + new code")]

    def steps(self, pin: str = PIN) -> list[Step]:
        """What every other login asks after the password."""
        return [(ASK_PIN, pin, "PIN"), (ASK_CODE, self.fob.fresh, "code")]

    def ssh(self) -> Dialogue:
        """A login over ssh, whose shell says that it is there."""
        return self.host.ssh(self.name, "echo arena-in")

    def enter(self) -> None:
        """The first login, password-first."""
        assert SHELL in play(self.ssh(), [password(), *self.first_steps()], SHELL)


def password() -> Step:
    return (PASSWORD_PROMPT, PASSWORD, "password")


def play(dialogue: Dialogue, steps: list[Step], end: str, timeout: float = 15) -> str:
    """Hold a dialogue up to `end`; returns its transcript without what differs from run to run."""
    with dialogue:
        for prompt, answer, label in steps:
            dialogue.expect(prompt, timeout=timeout)
            dialogue.send(answer, label or "nothing")
        dialogue.expect(end, timeout=timeout)
    text = dialogue.transcript.replace("\r", "")
    text = re.sub(r"(about|dans) \d+ s", r"\1 N s", text)
    text = re.sub(r"\(ref [0-9A-Z]{8}\)", "(ref REFERENCE)", text)
    return re.sub(r"holder\d+", "alice", text)


def check_golden(name: str, transcript: str) -> None:
    """Hold a transcript against the one in golden/."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ARENA_GOLDEN") == "write":
        path.write_text(transcript)
    assert transcript == path.read_text()


def refuse(dialogue: Dialogue, steps: list[Step]) -> str:
    transcript = play(dialogue, steps, REFUSED)
    assert SHELL not in transcript
    return transcript


@pytest.fixture(scope="module")
def password_first(host: Host) -> Host:
    host.password_first()
    return host


@pytest.fixture
def arena_first(host: Host) -> Iterator[Host]:
    host.arena_first()
    yield host
    host.password_first()


@pytest.fixture
def holder(password_first: Host) -> Holder:
    return Holder(password_first)


def test_the_first_ssh_login_creates_the_pin_and_opens_a_shell(holder: Holder) -> None:
    check_golden("ssh-first-login", play(holder.ssh(), [password(), *holder.first_steps()], SHELL))


def test_the_same_code_is_refused_and_the_next_one_opens(holder: Holder) -> None:
    holder.enter()
    refuse(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, holder.fob.used, "used code")])
    check_golden("ssh-login", play(holder.ssh(), [password(), *holder.steps()], SHELL))


@pytest.mark.parametrize("first", ["", PIN], ids=["pin-empty", "pin-typed-before"])
def test_the_passcode_field_takes_pin_and_code(holder: Holder, first: str) -> None:
    holder.enter()
    play(holder.ssh(), [password(), (ASK_PIN, first, "PIN"), (ASK_CODE, holder.passcode, "PIN + code")], SHELL)


def test_a_wrong_pin_is_refused_and_spends_the_code(holder: Holder) -> None:
    holder.enter()
    check_golden("ssh-refused", refuse(holder.ssh(), [password(), *holder.steps("2847")]))
    refuse(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, holder.fob.used, "spent code")])


def test_a_connection_cut_after_the_pin_was_confirmed_resumes(holder: Holder) -> None:
    play(holder.ssh(), [password(), *holder.first_steps()[:-1]], NEW)
    play(holder.ssh(), [password(), *holder.steps()], SHELL)


def test_console_sudo_and_su_ask_for_the_callers_key(holder: Holder) -> None:
    name = holder.name
    transcript = play(holder.host.login(name), [password(), *holder.first_steps()], r"\$ ")
    assert "PIN created. New code in about N s." in transcript
    check_golden("sudo", play(holder.host.sudo(name, "echo", SHELL), [password(), *holder.steps()], SHELL))
    play(holder.host.sudo(name), [password(), *holder.steps("2847")], "Sorry, try again")
    root: Step = (PASSWORD_PROMPT, "the root password", "root's password")
    holder.host.run("chpasswd", input="root:the root password\n")
    check_golden("su", play(holder.host.su(name), [root, *holder.steps()], "root\r?\n"))


def test_arena_first_every_name_sees_the_same(arena_first: Host) -> None:
    holder = Holder(arena_first)
    play(holder.ssh(), [*holder.first_steps(), password()], SHELL)
    arena_first.add_user("keyless")
    guess: list[Step] = [(ASK_PIN, "7931", "PIN"), (ASK_CODE, "000000", "code")]
    seen, times = set(), []
    for name in (holder.name, "keyless", "no-such-name", "root"):
        begun = time.monotonic()
        transcript = refuse(arena_first.ssh(name), guess)
        times.append(time.monotonic() - begun)
        seen.add(transcript.replace(name, "alice"))
    assert len(seen) == 1
    assert max(times) - min(times) < 0.8, times
    check_golden("ssh-arena-first-refused", seen.pop())
    for name in (holder.name, "keyless", "no-such-name"):
        console = arena_first.login(name)
        refuse(console, guess)
        assert re.search(r"Access denied\. Wait for a new code, then retry\. \(ref [0-9A-Z]{8}\)", console.transcript)


def test_a_reference_is_explained_to_the_desk(arena_first: Host) -> None:
    holder = Holder(arena_first)
    play(holder.ssh(), [*holder.first_steps(), password()], SHELL)
    console = arena_first.login(holder.name)
    refuse(console, [(ASK_PIN, "2847", "wrong PIN"), (ASK_CODE, holder.fob.fresh, "code")])
    found = re.search(r"\(ref ([0-9A-Z]{8})\)", console.transcript)
    assert found
    assert "right code, wrong PIN" in arena_first.arenactl("why", found[1]).stdout


SUCCESS, AUTH_ERR, AUTHINFO_UNAVAIL = 0, 7, 9


@pytest.fixture
def module_alone(password_first: Host) -> Callable[..., tuple[int, float, str]]:
    """Runs the module by itself: (PAM's code, seconds, what was said)."""
    (password_first.root / "etc/pam.d/arena-only").write_text("auth required pam_arena.so\naccount required pam_permit.so\n")
    password_first.copy(Path(__file__).with_name("authenticate.py"), to=DRIVER)

    def authenticate(user: str, *answers: str) -> tuple[int, float, str]:
        output = password_first.run("python3", f"{DRIVER}/authenticate.py", user, *answers).stdout
        said, _, verdict = output.rpartition("|")
        code, seconds = verdict.split()
        return int(code), float(seconds), said

    return authenticate


def test_a_stopped_service_refuses_at_once_and_the_socket_alone_brings_it_back(
    holder: Holder, module_alone: Callable[..., tuple[int, float, str]]
) -> None:
    host = holder.host
    holder.enter()
    host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    code, seconds, said = module_alone(holder.name)
    assert (code, said) == (AUTHINFO_UNAVAIL, "OTP unavailable / OTP indisponible")
    assert seconds < 1
    host.run("systemctl", "start", "arenad.socket")
    code, _, _ = module_alone(holder.name, PIN, holder.fob.fresh())
    assert code == SUCCESS
    assert host.run("systemctl", "is-active", "arenad.service").stdout == "active\n"


def test_a_service_that_cannot_start_refuses_within_ten_seconds(
    holder: Holder, module_alone: Callable[..., tuple[int, float, str]]
) -> None:
    host = holder.host
    holder.enter()
    typo = host.root / "etc/arena/arena.toml.d/typo.toml"
    typo.write_text('[login]\npromt = "split"\n')
    host.run("systemctl", "restart", "arenad.service", check=False)
    code, seconds, said = module_alone(holder.name)
    assert (code, said) == (AUTHINFO_UNAVAIL, "OTP unavailable / OTP indisponible")
    assert seconds < 10
    assert "/etc/arena/arena.toml.d/typo.toml: unknown key 'login.promt'; allowed: prompt" in host.journal("arenad.service")
    typo.unlink()
    code, _, _ = module_alone(holder.name, PIN, holder.fob.fresh())
    assert code == SUCCESS


def test_a_used_code_stays_used_when_arenad_is_killed(
    holder: Holder, module_alone: Callable[..., tuple[int, float, str]]
) -> None:
    holder.enter()
    code = holder.fob.fresh()
    assert module_alone(holder.name, PIN, code)[0] == SUCCESS
    holder.host.shell('kill -9 "$(systemctl show -P MainPID arenad.service)"')
    assert module_alone(holder.name, PIN, code)[0] == AUTH_ERR


def test_fifty_holders_at_once_are_all_let_in(
    password_first: Host, module_alone: Callable[..., tuple[int, float, str]]
) -> None:
    people = [f"crowd{n}" for n in range(50)]
    password_first.shell("for n in $(seq 0 49); do useradd crowd$n; done")
    fobs = {name: password_first.give_fob(name, f"C-{name}", period=600) for name in people}

    def first_login(name: str) -> int:
        fob = fobs[name]
        return module_alone(name, "", fob.at(fob.step), PIN, PIN, PIN + fob.at(fob.step + 1))[0]

    with ThreadPoolExecutor(50) as crowd:
        assert list(crowd.map(first_login, people)) == [SUCCESS] * 50


def test_nothing_that_is_kept_holds_a_secret_in_clear(holder: Holder) -> None:
    host, seed = holder.host, holder.fob.seed
    holder.enter()
    passcode = holder.passcode()
    play(holder.ssh(), [password(), (ASK_PIN, "", ""), (ASK_CODE, passcode, "PIN + code")], SHELL)
    kept = host.shell("journalctl -o export; arenactl token list -o json", check=False).stdout
    raw = (host.root / "var/lib/arena/arena.db").read_bytes() + (host.root / "var/lib/arena/arena.db-wal").read_bytes()
    for secret in (seed.hex(), seed.hex().upper(), base64.b32encode(seed).decode(), passcode, "$argon2id"):
        assert secret not in kept
        assert secret.encode() not in raw
    assert seed not in raw
    pid = host.shell("systemctl show -P MainPID arenad.service").stdout.strip()
    processes = host.shell(f"cat /proc/{pid}/cmdline /proc/{pid}/environ | tr '\\0' '\\n'").stdout
    assert passcode not in processes and seed.hex() not in processes


def test_a_service_that_is_down_is_told_in_plain_words(password_first: Host) -> None:
    password_first.run("systemctl", "stop", "arena-desk.socket", "arena-desk.service")
    done = password_first.arenactl("status", check=False)
    password_first.run("systemctl", "start", "arena-desk.socket")
    assert done.returncode == 3
    assert "systemctl start arena-desk.socket" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_takes_the_new_configuration_and_keeps_the_old_for_a_bad_one(holder: Holder) -> None:
    host = holder.host
    drop_in = host.root / "etc/arena/arena.toml.d/language.toml"
    drop_in.write_text('language = "fr"\n')
    host.run("systemctl", "reload", "arenad.service")
    create: list[Step] = [(r"chiffres\).: ", PIN, "a PIN"), (r"Confirmez le code PIN.: ", PIN, "the same PIN")]
    french: list[Step] = [(r"laisser vide\).: ", "", ""), (r"sur la cl..?\).: ", holder.fob.fresh, "code"), *create]
    transcript = play(holder.ssh(), [password(), *french, (r"nouveau code.: ", holder.passcode, "PIN + new code")], SHELL)
    drop_in.write_text('language = "de"\n')
    host.run("systemctl", "reload", "arenad.service")
    assert 'language: allowed: "en" or "fr"' in host.journal("arenad.service")
    play(
        holder.ssh(), [password(), (r"laisser vide\).: ", PIN, "PIN"), (r"sur la cl..?\).: ", holder.fob.fresh, "code")], SHELL
    )
    drop_in.unlink()
    host.run("systemctl", "reload", "arenad.service")
    check_golden("ssh-first-login-french", transcript)
