"""Before you lock yourself out: doctor finds what would, try shows what a login asks, and pam enable comes back by itself."""

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, Holder, password, play, reference
from hosts import PASSWORD, Dialogue, Host

DONE, REFUSED, USAGE, DOWN, NOT_FOUND = 0, 1, 2, 3, 4
CODE = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}\b")
STATE = "/var/backups/arena-pam"
CHANGE = (r"\[y/N\]: ", "y", "yes")
FILES = "find /etc/pam.d /etc/ssh -type f -printf '%p %m %U:%G %T@\\n' -exec sha256sum {} + | sort"


@pytest.fixture(scope="module")
def sudoer(spare: Host) -> Holder:
    """A sudoer who has not logged in yet."""
    return Holder(spare)


@pytest.fixture
def entered(sudoer: Holder) -> Holder:
    """The same, after a first login."""
    if sudoer.host.in_store(f"SELECT pin IS NULL FROM holder WHERE name = '{sudoer.name}'") == [[1]]:
        sudoer.enrol()
    return sudoer


@pytest.fixture(autouse=True)
def files_come_back(spare: Host) -> Iterator[None]:
    """Every test of this file ends with the files of PAM and sshd as they were, to the byte, the mode and the time."""
    before = spare.shell(FILES).stdout
    yield
    after, left = spare.shell(FILES).stdout, spare.run("ls", STATE, check=False).stdout
    for service in set(left.split()) - {"lock"}:  # one test's failure is not to be the next one's
        spare.arenactl("pam", "disable", service, "--yes", check=False)
    assert after == before
    assert left in ("", "lock\n")
    assert "arena-pam" not in spare.run("systemctl", "list-timers", "--all", "--no-pager").stdout


def examined(host: Host) -> tuple[int, dict[tuple[str, str], dict[str, str]]]:
    """doctor's exit status, and its findings by thing and what was found."""
    done = host.arenactl("doctor", "-o", "json", check=False)
    return done.returncode, {(one["thing"], one["found"]): one for one in json.loads(done.stdout)}


def enable(holder: Holder, *words: str, code: str | None = None, within: str = "60") -> Dialogue:
    """`pam enable` at a terminal, answered up to the passcode."""
    dialogue = holder.host.dialogue(["arenactl", "pam", "enable", *words, "--user", holder.name, "--within", within])
    first = "--arena-first" in words
    asked = [(ASK_PIN, PIN, "PIN"), (ASK_CODE, code or holder.fob.fresh, "code")]
    for prompt, answer, label in [CHANGE, *([*asked, password()] if first else [password(), *asked])]:
        dialogue.expect(prompt)
        dialogue.send(answer, label)
    return dialogue


# doctor


def test_a_good_host_has_no_problem_and_reads_well_in_a_pipe(spare: Host) -> None:
    shown = spare.arenactl("doctor")
    assert shown.stdout.splitlines()[-1].startswith("0 problem, 1 warning")
    assert "the master key was never exported" in shown.stdout and "arenactl key export FILE" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rows = list(csv.DictReader(io.StringIO(spare.arenactl("doctor", "-o", "csv").stdout)))
    assert {row["severity"] for row in rows} == {"good", "note", "warning"}
    assert all(row["remedy"] for row in rows if row["severity"] == "warning")


def test_doctor_without_root_says_what_it_could_not_see(spare: Host) -> None:
    done = spare.run("runuser", "-u", "alice", "--", "arenactl", "doctor", check=False)
    assert "not root: sshd's settings, the journal and /etc/shadow cannot be seen" in " ".join(done.stdout.split())
    assert "key, store and holders were not looked at" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr


def test_without_the_desk_the_rest_is_still_looked_at(spare: Host) -> None:
    spare.run("systemctl", "stop", "arena-desk.socket", "arena-desk.service")
    status, found = examined(spare)
    spare.run("systemctl", "start", "arena-desk.socket")
    assert status == REFUSED
    (said,) = (one for (thing, _), one in found.items() if thing == "desk")
    assert (said["severity"], "systemctl start arena-desk.socket" in said["remedy"]) == ("problem", True)
    assert found["arena-desk.socket", "is inactive: arenactl cannot ask"]["remedy"] == "systemctl start arena-desk.socket"
    assert ("arenad.service", "active, enabled, never started again") in found


FAULTS = r"""
cd /etc/pam.d
sed -i '1i auth sufficient pam_permit.so\nauth required pam_arena.so promt=joined' su
sed -i 's/^@include common-auth/&\nauth optional pam_arena.so/' sudo
sed -i 's/^@include common-auth/auth requisite pam_arena.so\n@include nowhere\nauth required pam_nowhere.so\n&/' login
sed -i 's/^@include common-auth/&\nauth required pam_arena.so/' sshd
cat >/etc/ssh/sshd_config.d/000-faults.conf <<'EOF'
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthenticationMethods any
LoginGraceTime 60
Match User alice
  AuthenticationMethods publickey
EOF
cat >/etc/arena/arena.toml.d/faults.toml <<'EOF'
[service.sudo]
mode = "observe"
[service.su]
exempt_groups = ["no-such-group"]
EOF
systemctl disable --quiet --now arena-mail.path
systemctl try-restart arena-desk.service
systemctl kill --kill-who=main -s KILL arenad.service
chmod 0600 /run/arena/auth.sock
chown nobody /run/arena/auth.sock
passwd -d alice
"""
REPAIRS = f"""
cp -a /root/before/pam.d /root/before/ssh /etc/
rm /etc/ssh/sshd_config.d/000-faults.conf /etc/arena/arena.toml.d/faults.toml
echo 'alice:{PASSWORD}' | chpasswd
systemctl enable --quiet --now arena-mail.path
systemctl restart arenad.socket arenad.service
systemctl reset-failed arenad.service
systemctl try-restart arena-desk.service
"""


@pytest.fixture(scope="module")
def faulty(spare: Host, sudoer: Holder) -> Iterator[dict[tuple[str, str], dict[str, str]]]:
    """What doctor finds on a host where much is wrong."""
    spare.shell("rm -rf /root/before; mkdir /root/before; cp -a /etc/pam.d /etc/ssh /root/before/")
    spare.shell(FAULTS)
    try:
        end = time.monotonic() + 20
        while "active" not in spare.run("systemctl", "is-active", "arenad.service", check=False).stdout.split():
            assert time.monotonic() < end
            time.sleep(0.1)
        status, found = examined(spare)
    finally:
        spare.shell(REPAIRS)
    assert status == REFUSED
    yield found


@pytest.mark.parametrize(
    ("severity", "thing", "told", "remedy"),
    [
        ("problem", r"pam su:1", "the yes of pam_permit opens the door without pam_arena", "above it in /etc/pam.d/su"),
        ("problem", r"pam su:2", r"unknown option 'promt=joined'", "take it out of /etc/pam.d/su"),
        ("problem", r"pam sudo:\d+", "optional lets in whom pam_arena refused", "write requisite"),
        ("problem", r"pam login:\d+", "includes nowhere, which is not there", "put it right in /etc/pam.d/login"),
        ("problem", r"pam login:\d+", r"pam_nowhere\.so is not there", "take the line out of /etc/pam.d/login"),
        ("warning", r"pam common-auth:\d+", "nullok, and there is no password of alice", "passwd alice"),
        ("warning", "sshd", "PasswordAuthentication is yes", "00-arena.conf"),
        ("problem", "sshd", "KbdInteractiveAuthentication is no", "00-arena.conf"),
        ("problem", "sshd", "AuthenticationMethods is any: an SSH key alone", "00-arena.conf"),
        ("warning", "sshd", "LoginGraceTime is 60 s", "00-arena.conf"),
        ("problem", r"sshd for alice \(Match\)", "AuthenticationMethods publickey opens the door", "grep -rn Match"),
        ("warning", "login", "LOGIN_TIMEOUT is 60 s", "LOGIN_TIMEOUT 240 in /etc/login.defs"),
        ("problem", "configuration", "there is no group no-such-group", "arenactl config check"),
        ("problem", "groups", "service.su.exempt_groups: there is no group no-such-group", "addgroup no-such-group"),
        ("warning", "service sudo", "mode is observe", "report observe"),
        ("problem", "arena-mail.path", "is inactive: no mail is sent", "systemctl start arena-mail.path"),
        ("problem", "arena-mail.path", "is disabled: gone after the next boot", "systemctl enable arena-mail.path"),
        ("warning", "arenad.service", "was started again 1 times", "journalctl -u arenad.service"),
        ("problem", "/run/arena/auth.sock", "has mode 0600", "systemctl restart arenad.socket"),
        ("problem", "/run/arena/auth.sock", r"belongs to uid \d+", "systemctl restart arenad.socket"),
        ("note", "holders", r"no PIN yet: 1: holder\d+", "have them log in"),
        ("note", "pam sshd", r"a login asks: the password, then PIN, then code, of the user who logs in", ""),
    ],
)
def test_each_fault_is_found_with_its_remedy(
    faulty: dict[tuple[str, str], dict[str, str]], severity: str, thing: str, told: str, remedy: str
) -> None:
    matching = [one for key, one in faulty.items() if re.fullmatch(thing, key[0]) and re.search(told, key[1])]
    assert [(one["severity"], remedy in one["remedy"]) for one in matching] == [(severity, True)], faulty.keys()


# try, and the first login before anything is enabled


def test_nothing_is_enabled_before_a_sudoer_has_come_in(spare: Host, sudoer: Holder) -> None:
    done = spare.arenactl("pam", "enable", "sshd", "--yes", check=False)
    assert done.returncode == REFUSED
    assert "no sudoer has finished a first login" in done.stderr and "arenactl try --alone sshd USER" in done.stderr
    done = spare.arenactl("try", "sshd", sudoer.name, check=False)
    assert (done.returncode, "sshd does not ask for a code: arenactl pam enable sshd" in done.stderr) == (REFUSED, True)


def test_a_first_login_is_held_before_anything_is_enabled(spare: Host, sudoer: Holder) -> None:
    told = play(spare.dialogue(["arenactl", "try", "--alone", "sshd", sudoer.name]), sudoer.first_steps(), r"opened +yes")
    assert "This is a real attempt" in told
    (entered,) = spare.in_store("SELECT holder FROM audit WHERE event = 'login' AND outcome = 'granted'")
    assert entered == [sudoer.name]


def test_a_wrong_code_is_explained_by_its_reference(spare: Host, entered: Holder) -> None:
    dialogue = spare.dialogue(["arenactl", "try", "--alone", "sudo", entered.name])
    told = play(dialogue, [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "000000", "wrong code")], "a real login +refuses[^\n]*")
    assert "right PIN, wrong code" in told
    assert f"arenactl token resync {entered.fob.serial}" in dialogue.transcript
    assert re.search(r"PAM +7 \(", told)
    assert reference(dialogue.transcript)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("nowhere", "alice"), NOT_FOUND, "there is no service 'nowhere'"),
        (("sshd", "nobody-here"), NOT_FOUND, "no user 'nobody-here'"),
        (("../passwd", "alice"), NOT_FOUND, "there is no service"),
    ],
)
def test_what_cannot_be_tried_is_named(spare: Host, words: tuple[str, str], status: int, told: str) -> None:
    done = spare.arenactl("try", *words, check=False)
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr


def test_without_arenad_a_trial_ends_as_service_down(spare: Host, entered: Holder) -> None:
    spare.run("systemctl", "stop", "arenad.socket", "arenad.service")
    done = spare.arenactl("try", "--alone", "sshd", entered.name, check=False)
    spare.run("systemctl", "start", "arenad.socket", "arenad.service")
    assert done.returncode == DOWN
    assert "OTP unavailable" in done.stderr and "arenad gave no answer" in done.stdout


# pam enable, confirm, disable


def test_enabled_by_a_real_login_and_confirmed_from_a_second_session(spare: Host, entered: Holder) -> None:
    with spare.dialogue(["bash", "--norc"]) as shell:
        shell.expect(r"[#$] ")
        shell.send(f"arenactl pam enable sshd --user {entered.name} --within 120")
        for prompt, answer, label in [CHANGE, password(), *entered.steps()]:
            shell.expect(prompt)
            shell.send(answer, label)
        shell.expect("arenactl pam confirm sshd +from a second session, within 120 s")
        assert "+@include arena-auth" in shell.transcript and "+++ /etc/ssh/sshd_config.d/00-arena.conf" in shell.transcript
        assert len(set(CODE.findall(shell.transcript))) == 10
        shell.send("arenactl pam confirm")
        shell.expect(r"this is the session that made the change \(the terminal\)")
    assert "not confirmed yet" in spare.arenactl("pam", "status", "-o", "csv").stdout
    trial = spare.dialogue(["arenactl", "try", "sshd", entered.name])
    play(trial, [password(), *entered.steps()], "sshd opens the session")
    second = spare.ssh(entered.name, "sudo arenactl pam confirm -o json")
    steps = [password(), *entered.steps(), (r"password for", PASSWORD, "password")]
    told = play(second, steps, r'"stays": true')
    assert "pam-pending" not in told
    rows = {row["service"]: row for row in json.loads(spare.arenactl("pam", "status", "-o", "json").stdout)}
    assert (rows["sshd"]["asks"], rows["sshd"]["how"]) == (True, "pam enable, password-first")
    assert (rows["sudo"]["asks"], rows["login"]["asks"]) == (False, False)
    assert examined(spare)[0] == DONE
    assert spare.arenactl("pam", "disable", "--revert").returncode == DONE  # as at the next boot
    assert spare.run("grep", "-c", "arena-auth", "/etc/pam.d/sshd").stdout == "1\n"
    twice = spare.arenactl("pam", "enable", "sshd", "--yes", check=False)
    assert (twice.returncode, "sshd is enabled already" in twice.stderr) == (REFUSED, True)
    assert spare.arenactl("pam", "disable", "sshd", "--yes").returncode == DONE
    events = [row[0] for row in spare.in_store("SELECT event FROM audit WHERE event LIKE 'pam-%' ORDER BY id")]
    assert events == ["pam-begin", "pam-enable", "pam-begin", "pam-confirm", "pam-begin", "pam-disable"]


def test_a_refused_login_puts_everything_back_at_once(spare: Host, entered: Holder) -> None:
    with enable(entered, "sshd", code="000000") as dialogue:
        assert dialogue.end(30) == REFUSED
    assert "everything was put back: sshd is as it was" in dialogue.transcript
    assert not CODE.search(dialogue.transcript)


def wait(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.2)


def wait_until_gone(host: Host, seconds: float) -> None:
    wait(lambda: host.run("ls", STATE, check=False).stdout in ("", "lock\n"), seconds)


def test_nobody_confirms_and_it_is_taken_back_though_the_terminal_is_gone(spare: Host, entered: Holder) -> None:
    with enable(entered, "sshd", within="8") as dialogue:
        dialogue.expect("from a second session, within 8 s")
    assert "arena-auth" in spare.run("cat", "/etc/pam.d/sshd").stdout
    wait_until_gone(spare, 30)
    late = spare.arenactl("pam", "confirm", check=False)
    assert (late.returncode, "nothing waits to be confirmed" in late.stderr) == (NOT_FOUND, True)


def test_a_terminal_that_dies_in_the_middle_of_the_login_leaves_nothing(spare: Host, entered: Holder) -> None:
    with spare.dialogue(["arenactl", "pam", "enable", "sshd", "--user", entered.name, "--within", "6"]) as dialogue:
        dialogue.expect(CHANGE[0])
        dialogue.send("y")
        dialogue.expect("Password: ")
    wait_until_gone(spare, 30)
    rows = "SELECT event, detail FROM audit WHERE event LIKE 'pam-%' ORDER BY id DESC LIMIT 2"
    wait(lambda: spare.in_store(rows) == [["pam-revert", "sshd"], ["pam-begin", "sshd enable, password-first"]], 10)


def test_what_cannot_be_noted_is_not_done(spare: Host, entered: Holder) -> None:
    spare.in_store(
        "CREATE TRIGGER mute BEFORE INSERT ON audit WHEN NEW.event = 'pam-begin' BEGIN SELECT RAISE(FAIL, 'mute'); END"
    )
    done = spare.arenactl("pam", "enable", "sshd", "--yes", check=False)
    spare.in_store("DROP TRIGGER mute")
    assert (done.returncode, "not in the audit" in done.stderr, "nothing was changed" in done.stderr) == (REFUSED, True, True)


def test_at_boot_what_nobody_confirmed_is_taken_back(spare: Host, entered: Holder) -> None:
    done = spare.arenactl("pam", "enable", "sshd", "--yes", "--within", "300", "-o", "json")
    assert "Password:" in json.loads(done.stdout)["tried"]  # no terminal: as far as the first question
    assert spare.run("systemctl", "is-enabled", "arena-pam-revert.service").stdout == "enabled\n"
    spare.run("systemctl", "stop", "arena-pam-pending-sshd.timer")  # a reboot takes transient timers away
    spare.run("systemctl", "start", "arena-pam-revert.service")
    wait_until_gone(spare, 5)


@pytest.mark.parametrize(
    ("line", "told"),
    [("Nonsense yes", "sshd -t:"), ("AuthenticationMethods publickey", "publickey opens the door without a code")],
    ids=["broken", "said-before"],
)
def test_sshd_settings_that_do_not_do_are_refused_and_nothing_is_changed(
    spare: Host, entered: Holder, line: str, told: str
) -> None:
    path = spare.root / "etc/ssh/sshd_config.d/00-aaa.conf"  # read before 00-arena.conf
    path.write_text(line + "\n")
    before = spare.shell(FILES).stdout
    done = spare.arenactl("pam", "enable", "sshd", "--yes", check=False)
    after = spare.shell(FILES).stdout
    path.unlink()
    assert (done.returncode, told in done.stderr, after == before) == (REFUSED, True, True), done.stderr


def test_sudo_is_enabled_arena_first_with_its_twin_and_asks_so(spare: Host, entered: Holder) -> None:
    with enable(entered, "sudo", "--arena-first") as dialogue:
        dialogue.expect("arenactl pam confirm sudo +from a second session")
    assert "+++ /etc/pam.d/sudo-i" in dialogue.transcript
    assert spare.arenactl("pam", "confirm", "sudo").returncode == DONE
    play(spare.sudo(entered.name), [*entered.steps(), password()], r"root\r?\n")
    play(spare.dialogue(["arenactl", "try", "sudo", entered.name]), [*entered.steps(), password()], r"opened +yes")
    changed = spare.root / "etc/pam.d/sudo-i"
    changed.write_text(changed.read_text() + "# mine\n")
    done = spare.arenactl("pam", "disable", "sudo", "--yes", "-o", "json", check=False)
    (row,) = json.loads(done.stdout)
    assert done.returncode == REFUSED
    assert row["left"][0] == "/etc/pam.d/sudo-i was changed since: only the line `@include arena-auth` was taken out"
    assert "arena" not in changed.read_text() and changed.read_text().endswith("# mine\n")
    aside = row["left"][1].rpartition(" ")[2]
    spare.shell(f"cp -p /root/kept/pam.d/sudo-i /etc/pam.d/; rm -r {aside}")


def test_login_is_enabled_by_a_conversation_as_at_the_console(spare: Host, entered: Holder) -> None:
    with enable(entered, "login") as dialogue:
        dialogue.expect("arenactl pam confirm login +from a second session")
    assert f"{entered.name} was let in" in dialogue.transcript
    assert spare.arenactl("pam", "confirm", "login", "--yes").returncode == DONE
    play(spare.login(entered.name), [password(), *entered.steps()], r"\$ ")
    assert spare.arenactl("pam", "disable", "login", "--yes").returncode == DONE


def test_su_asks_the_one_who_becomes_root(spare: Host, entered: Holder) -> None:
    done = spare.arenactl("pam", "enable", "su", "--yes", "-o", "json")
    assert json.loads(done.stdout)["stack"] == "password-first"
    spare.run("chpasswd", input="root:the root password\n")
    steps = [(r"[Pp]assword: ", "the root password", "root's password"), *entered.steps()]
    told = play(spare.dialogue(["arenactl", "try", "su", entered.name]), steps, r"opened +yes")
    assert "of the one who calls" in told
    assert spare.arenactl("pam", "disable", "su", "--yes").returncode == DONE


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("enable", "nowhere", "--yes"), NOT_FOUND, "there is no service 'nowhere'"),
        (("enable", "common-auth", "--yes"), REFUSED, "no service of its own"),
        (("enable", "sshd"), USAGE, "--yes"),
        (("disable",), USAGE, "which service?"),
        (("disable", "login", "--yes"), NOT_FOUND, "login does not ask for codes"),
        (("confirm",), NOT_FOUND, "nothing waits to be confirmed"),
        (("enable", "sshd", "--yes", "--user", "alice"), REFUSED, "no sudoer alice has finished a first login"),
    ],
)
def test_what_cannot_be_done_is_named(spare: Host, entered: Holder, words: tuple[str, ...], status: int, told: str) -> None:
    done = spare.arenactl("pam", *words, check=False)
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_only_root_changes_pams_files(spare: Host) -> None:
    done = spare.run("runuser", "-u", "alice", "--", "arenactl", "pam", "disable", "sshd", "--yes", check=False)
    assert (done.returncode, "only root" in done.stderr) == (REFUSED, True)
    assert spare.run("runuser", "-u", "alice", "--", "arenactl", "pam", "status").returncode == DONE
