"""Whole logins over real sshd, login, sudo and su, on Debian 12 and 13."""

import base64
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from holders import ASK_CODE, ASK_PIN, NEW, PIN, ROOT, SHELL, Holder, Step, check_golden, password, play, refuse
from hosts import AUTH_ERR, AUTHINFO_UNAVAIL, SUCCESS, Dialogue, Host


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
    holder.host.run("chpasswd", input="root:the root password\n")
    check_golden("su", play(holder.host.su(name), [ROOT, *holder.steps()], "root\r?\n"))


def test_arena_first_every_name_sees_the_same(arena_first: Host) -> None:
    holder = Holder(arena_first)
    play(holder.ssh(), [*holder.first_steps(), password()], SHELL)
    arena_first.add_user("unkeyed")
    guess: list[Step] = [(ASK_PIN, "7931", "PIN"), (ASK_CODE, "000000", "code")]
    seen, times = set(), []
    for name in (holder.name, "unkeyed", "no-such-name", "root"):
        begun = time.monotonic()
        transcript = refuse(arena_first.ssh(name), guess)
        times.append(time.monotonic() - begun)
        seen.add(transcript.replace(name, "alice"))
    assert len(seen) == 1
    assert max(times) - min(times) < 0.8, times
    check_golden("ssh-arena-first-refused", seen.pop())
    for name in (holder.name, "unkeyed", "no-such-name"):
        console = arena_first.login(name)
        refuse(console, guess)
        assert re.search(r"Access denied\. Wait for a new code, then retry\. \(ref [0-9A-Z]{8}\)", console.transcript)


def test_arena_first_console_sudo_and_su_refuse_every_name_alike(arena_first: Host) -> None:
    holder = Holder(arena_first)
    play(holder.ssh(), [*holder.first_steps(), password()], SHELL)
    arena_first.add_user("without", groups="sudo")
    guess: list[Step] = [(ASK_PIN, "7931", "PIN"), (ASK_CODE, "000000", "code")]
    programs: dict[str, tuple[Callable[[str], Dialogue], list[str]]] = {
        "login": (arena_first.login, [holder.name, "without", "no-such-name"]),
        "sudo": (arena_first.sudo, [holder.name, "without"]),
        "su": (arena_first.su, [holder.name, "without"]),
    }
    for program, (start, names) in programs.items():
        seen = {refuse(start(name), guess).replace(name, "alice") for name in names}
        assert len(seen) == 1, seen
        check_golden(f"{program}-arena-first-refused", seen.pop())


def test_password_first_console_sudo_and_su_refuse_a_wrong_pin(holder: Holder) -> None:
    host = holder.host
    holder.enter()
    check_golden("login-refused", refuse(host.login(holder.name), [password(), *holder.steps("2847")]))
    check_golden("sudo-refused", refuse(host.sudo(holder.name), [password(), *holder.steps("2847")]))
    host.run("chpasswd", input="root:the root password\n")
    check_golden("su-refused", refuse(host.su(holder.name), [ROOT, *holder.steps("2847")]))


def test_a_reference_is_explained_to_the_desk(arena_first: Host) -> None:
    holder = Holder(arena_first)
    play(holder.ssh(), [*holder.first_steps(), password()], SHELL)
    console = arena_first.login(holder.name)
    refuse(console, [(ASK_PIN, "2847", "wrong PIN"), (ASK_CODE, holder.fob.fresh, "code")])
    found = re.search(r"\(ref ([0-9A-Z]{8})\)", console.transcript)
    assert found
    assert "right code, wrong PIN" in arena_first.arenactl("why", found[1]).stdout


def test_a_stopped_service_refuses_at_once_and_the_socket_alone_brings_it_back(holder: Holder) -> None:
    host = holder.host
    holder.enter()
    host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    code, seconds, said = host.authenticate(holder.name)
    assert (code, said) == (AUTHINFO_UNAVAIL, "OTP unavailable / OTP indisponible")
    assert seconds < 1
    host.run("systemctl", "start", "arenad.socket")
    code, _, _ = host.authenticate(holder.name, PIN, holder.fob.fresh())
    assert code == SUCCESS
    assert host.run("systemctl", "is-active", "arenad.service").stdout == "active\n"


def test_a_service_that_cannot_start_refuses_within_ten_seconds(holder: Holder) -> None:
    host = holder.host
    holder.enter()
    typo = host.root / "etc/arena/arena.toml.d/typo.toml"
    typo.write_text('[login]\npromt = "split"\n')
    host.run("systemctl", "restart", "arenad.service", check=False)
    code, seconds, said = host.authenticate(holder.name)
    assert (code, said) == (AUTHINFO_UNAVAIL, "OTP unavailable / OTP indisponible")
    assert seconds < 10
    assert "/etc/arena/arena.toml.d/typo.toml: unknown key 'login.promt'; allowed: prompt" in host.journal("arenad.service")
    typo.unlink()
    code, _, _ = host.authenticate(holder.name, PIN, holder.fob.fresh())
    assert code == SUCCESS


def test_a_used_code_stays_used_when_arenad_is_killed(holder: Holder) -> None:
    holder.enter()
    code = holder.fob.fresh()
    assert holder.host.authenticate(holder.name, PIN, code)[0] == SUCCESS
    holder.host.shell('kill -9 "$(systemctl show -P MainPID arenad.service)"')
    assert holder.host.authenticate(holder.name, PIN, code)[0] == AUTH_ERR


def test_fifty_holders_at_once_are_all_let_in(password_first: Host) -> None:
    people = [f"crowd{n}" for n in range(50)]
    password_first.shell("for n in $(seq 0 49); do useradd crowd$n; done")
    fobs = {name: password_first.give_fob(name, f"C-{name}", kind="hotp") for name in people}

    def first_login(name: str) -> int:
        return password_first.authenticate(name, "", fobs[name].fresh(), PIN, PIN, PIN + fobs[name].fresh())[0]

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
