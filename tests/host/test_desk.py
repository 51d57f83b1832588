"""What the desk does for people, from the words on a terminal to the door that opens: arenactl and arena-key on real hosts."""

import base64
import csv
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, SHELL, Holder, check_golden, password, play, refuse
from hosts import PASSWORD, Dialogue, Fob, Host

REFUSED, DOWN = 1, 3
NEW_PIN = "97531"
CODE = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}\b")
CURRENT, CHOOSE, AGAIN = r"Current passcode \(PIN \+ code\): ", r"Choose a PIN \(4 to 6 digits\): ", "Same PIN again: "
FRENCH_CURRENT = r"Passcode actuel \(PIN \+ code\)\s*: "
FRENCH_CHOOSE, FRENCH_AGAIN = r"Choisissez un code PIN \(4 à 6 chiffres\)\s*: ", r"Confirmez le code PIN\s*: "


@pytest.fixture(scope="module")
def desk(host: Host) -> Host:
    host.password_first()
    return host


@pytest.fixture
def holder(desk: Host) -> Holder:
    one = Holder(desk)
    one.enter()
    return one


def in_json(host: Host, *arguments: str) -> object:
    return json.loads(host.arenactl(*arguments, "-o", "json").stdout)


def test_a_page_of_emergency_codes_opens_without_the_key_once_each(holder: Holder) -> None:
    page = holder.host.arenactl("code", "emergency", holder.name).stdout
    codes = CODE.findall(page)
    assert len(set(codes)) == 10
    assert max(map(len, page.splitlines())) <= 80
    assert holder.name in page and "PIN + code" in page and holder.host.run("uname", "-n").stdout.strip() in page
    steps = [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, codes[0], "emergency code")]
    assert SHELL in play(holder.ssh(), steps, SHELL)
    refuse(holder.ssh(), steps)
    assert holder.host.arenactl("holder", "show", holder.name).stdout.count("recovery codes left  9") == 1


def test_temporary_codes_are_given_in_every_format(holder: Holder) -> None:
    page = holder.host.arenactl("code", "temporary", f"K-{holder.name}", "--count", "2").stdout
    assert "TEMPORARY CODES" in page and "Valid until" in page
    rows = list(csv.DictReader(io.StringIO(holder.host.arenactl("code", "temporary", holder.name, "-o", "csv").stdout)))
    assert [row["holder"] for row in rows] == [holder.name] * 5
    given = in_json(holder.host, "code", "temporary", holder.name, "--days", "1")
    assert isinstance(given, dict)
    play(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, given["codes"][4], "temporary code")], SHELL)


def test_a_key_that_ran_away_comes_back_by_two_codes_at_the_terminal(holder: Holder) -> None:
    fob, host = holder.fob, holder.host
    off = fob.step + 100
    refuse(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, fob.at(off), "code of another time")])
    steps = [("The code on the key now: ", fob.at(off), "code"), ("the next code: ", fob.at(off + 1), "next code")]
    told = play(host.dialogue(["arenactl", "token", "resync", fob.serial]), steps, "drift of .*steps")
    assert "Traceback" not in told
    shown = in_json(host, "token", "show", fob.serial)
    assert isinstance(shown, dict)
    assert 90 <= shown["drift"] <= 101
    here = fob.step + shown["drift"]
    play(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, lambda: fob.at(max(here, off + 2)), "code")], SHELL)


def test_two_lines_on_stdin_do_as_well_and_wrong_ones_are_refused(holder: Holder) -> None:
    fob, host = holder.fob, holder.host
    step = fob.step + 50
    wrong = host.arenactl("token", "resync", fob.serial, input=f"{fob.at(step)}\n{fob.at(step + 2)}\n", check=False)
    assert (wrong.returncode, "no two codes in a row" in wrong.stderr) == (REFUSED, True)
    host.arenactl("token", "resync", fob.serial, input=f"{fob.at(step)}\n{fob.at(step + 1)}\n")
    assert "resynchronised: drift of +" in host.arenactl("holder", "show", fob.serial).stdout


def test_mail_and_language_are_noted_and_the_page_is_in_that_language(holder: Holder) -> None:
    host = holder.host
    host.arenactl("holder", "set", holder.name, "--mail", "a.martin@lycee.example", "--language", "fr")
    shown = host.arenactl("holder", "show", holder.name).stdout
    assert re.search(r"^mail +a\.martin@lycee\.example$", shown, re.MULTILINE)
    assert re.search(r"^tokens +K-\S+ active$", shown, re.MULTILINE)
    assert "CODES DE SECOURS" in host.arenactl("code", "emergency", holder.name).stdout


def test_a_phone_counts_once_its_code_was_typed_and_opens_the_door(desk: Host) -> None:
    newcomer = Holder(desk, serial="Z-{}")
    desk.arenactl("token", "retire", newcomer.fob.serial)
    words = ["arenactl", "token", "add", "--qr", "--holder", newcomer.name, "--serial", f"S-{newcomer.name}", "--period", "5"]
    with desk.dialogue(words) as dialogue:
        dialogue.expect(r"uri +otpauth\S+\s")
        uri = re.search(r"otpauth\S+", dialogue.transcript)
        assert uri is not None
        seed = parse_qs(urlsplit(uri[0]).query)["secret"][0]
        newcomer.fob = Fob(f"S-{newcomer.name}", base64.b32decode(seed))
        dialogue.expect(r"The code that the app shows \(empty: later\): ")
        dialogue.send(newcomer.fob.at(newcomer.fob.step + 20), "a code of another time")
        dialogue.expect(r"wrong code; 4 tries left\s+The code that the app shows \(empty: later\): ")
        dialogue.send(newcomer.fob.fresh, "the code")
        dialogue.expect(r"state +active\s")
        assert dialogue.end() == 0
    newcomer.enter()


def test_a_lost_key_is_replaced_and_the_pin_stays(holder: Holder) -> None:
    host, lost = holder.host, holder.fob
    assert "TEMPORARY CODES" in host.arenactl("token", "lost", holder.name, "--codes").stdout
    refuse(holder.ssh(), [password(), *holder.steps()])
    holder.fob = Fob(f"N-{holder.name}")
    host.arenactl(
        "token", "add", "--serial", holder.fob.serial, "--period", "5", "--seed-file", "-", input=holder.fob.seed.hex()
    )
    host.arenactl("token", "replace", lost.serial, holder.fob.serial, "--lost")
    play(holder.ssh(), [password(), *holder.steps()], SHELL)
    shown = host.arenactl("holder", "show", holder.name).stdout
    assert max(map(len, shown.splitlines())) <= 80 and len(shown.splitlines()) <= 24
    assert re.search(rf"^tokens +{lost.serial} lost: reported by uid:0; replaced by {holder.fob.serial}$", shown, re.MULTILINE)
    assert shown.endswith("what to do next\n  nothing: ready to log in\n")


def test_who_leaves_is_asked_for_at_a_terminal(holder: Holder) -> None:
    host, name = holder.host, holder.name
    told = play(host.dialogue(["arenactl", "holder", "leave", name]), [("for good\\? .*: ", "n", "no")], "Aborted")
    assert "Traceback" not in told
    play(holder.ssh(), [password(), *holder.steps()], SHELL)
    host.arenactl("holder", "leave", name)
    refuse(holder.ssh(), [password(), *holder.steps()])
    assert name not in host.arenactl("holder", "list", "-o", "csv").stdout


def ssh_with_key(holder: Holder) -> Dialogue:
    """ssh by public key first, as sshd's settings in the example allow."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "NumberOfPasswordPrompts=1"]
    options += ["IdentityFile=/root/grant-key", "PreferredAuthentications=publickey,keyboard-interactive"]
    words = [word for one in options for word in ("-o", one)]
    return holder.host.dialogue(["ssh", "-t", *words, f"{holder.name}@127.0.0.1", "echo arena-in"])


def test_a_session_grant_is_listed_and_ends_when_it_is_revoked(holder: Holder) -> None:
    host, name = holder.host, holder.name
    host.shell(
        f"rm -f /root/grant-key*; ssh-keygen -q -t ed25519 -N '' -f /root/grant-key; install -d -o {name} ~{name}/.ssh;"
        f" install -o {name} /root/grant-key.pub ~{name}/.ssh/authorized_keys"
    )
    fingerprint = host.run("ssh-keygen", "-lf", "/root/grant-key.pub").stdout.split()[1]
    with host.configured('[service.sshd]\ngrant = "8h"\n'):
        play(ssh_with_key(holder), [password(), *holder.steps()], SHELL)
        (found,) = json.loads(host.arenactl("grant", "list", name, "-o", "json").stdout)
        assert (found["holder"], found["service"], found["address"], found["key"]) == (name, "sshd", "127.0.0.1", fingerprint)
        assert fingerprint in host.arenactl("grant", "list", "-o", "csv").stdout
        assert "PIN" not in play(ssh_with_key(holder), [password()], SHELL)
        assert re.search(r"^ended +1$", host.arenactl("grant", "revoke", name).stdout, re.MULTILINE)
        play(ssh_with_key(holder), [password(), *holder.steps()], SHELL)


def test_the_report_on_observe_mode_says_who_is_ready(holder: Holder) -> None:
    host, keyless = holder.host, "erin"
    newcomer = Holder(host)
    with host.configured('[service.sshd]\nmode = "observe"\n'):
        play(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, "000000", "wrong code")], SHELL)
        play(
            host.ssh(keyless, "echo arena-in"), [(r"[Pp]assword: ", PASSWORD, ""), (ASK_PIN, "", ""), (ASK_CODE, "", "")], SHELL
        )
        rows = {row["name"]: row for row in json.loads(host.arenactl("report", "observe", "-o", "json").stdout)}
        assert [rows[name]["ready"] for name in (holder.name, newcomer.name, keyless)] == [False] * 3
        assert (rows[holder.name]["failures"], rows[holder.name]["reason"]) == (1, "right PIN, wrong code")
        assert (rows[newcomer.name]["missing"], rows[newcomer.name]["pin"]) == ("a PIN", False)
        assert (rows[keyless]["missing"], rows[keyless]["remedy"]) == ("a key", f"arenactl token assign SERIAL {keyless}")
        play(holder.ssh(), [password(), *holder.steps()], SHELL)
        rows = {row["name"]: row for row in csv.DictReader(io.StringIO(host.arenactl("report", "observe", "-o", "csv").stdout))}
        assert (rows[holder.name]["ready"], rows[holder.name]["keys"], rows[holder.name]["pin"]) == (
            "yes",
            f"K-{holder.name}",
            "yes",
        )
    table = host.arenactl("report", "observe").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert re.fullmatch(r"\d+ ready, \d+ not", table.splitlines()[-1])
    assert f"arenactl token assign SERIAL {keyless}" in table


def test_status_counts_holders_with_a_pin_and_without(desk: Host, holder: Holder) -> None:
    shown = desk.arenactl("status").stdout
    assert re.search(r"^holders with a PIN +[1-9]", shown, re.MULTILINE)
    assert re.search(r"^holders without a PIN +\d", shown, re.MULTILINE)


# arena-key: the holder's own command


def arena_key(holder: Holder) -> Dialogue:
    return holder.host.dialogue(["arena-key", "pin"], holder.name)


def test_a_holder_changes_their_pin_at_the_terminal(holder: Holder) -> None:
    steps = [(CURRENT, holder.passcode, "PIN + code"), (CHOOSE, "1234", "an easy PIN"), (CHOOSE, NEW_PIN, "a PIN")]
    told = play(arena_key(holder), [*steps, (AGAIN, NEW_PIN, "the same PIN")], r"PIN changed\.\s+")
    check_golden("arena-key-pin", told)
    refuse(holder.ssh(), [password(), *holder.steps()])
    play(holder.ssh(), [password(), *holder.steps(NEW_PIN)], SHELL)


def test_arena_key_speaks_french_where_the_service_does(holder: Holder) -> None:
    with holder.host.configured('language = "fr"\n'):
        steps = [(FRENCH_CURRENT, holder.passcode, "PIN + code"), (FRENCH_CHOOSE, NEW_PIN, "a PIN")]
        told = play(arena_key(holder), [*steps, (FRENCH_AGAIN, NEW_PIN, "the same PIN")], r"Code PIN modifié\.\s+")
    check_golden("arena-key-pin-french", told)


def run_arena_key(holder: Holder, *lines: str) -> tuple[int, str]:
    """arena-key without a terminal."""
    given = "".join(f"{line}\n" for line in lines)
    done = holder.host.run("runuser", "-u", holder.name, "--", "arena-key", "pin", input=given, check=False)
    return done.returncode, done.stdout + done.stderr


def test_without_a_terminal_answers_are_lines(holder: Holder) -> None:
    assert run_arena_key(holder, holder.passcode(), NEW_PIN, NEW_PIN)[0] == 0
    status, told = run_arena_key(holder, holder.passcode())
    assert (status, "Access denied." in told) == (REFUSED, True)
    ref = re.search(r"\(ref (\w+)\)", told)
    assert ref is not None
    assert "right code, wrong PIN" in holder.host.arenactl("why", ref[1]).stdout


def test_a_service_that_is_down_is_named_with_the_command_that_starts_it(holder: Holder) -> None:
    holder.host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    status, told = run_arena_key(holder)
    holder.host.run("systemctl", "start", "arenad.socket", "arenad.service")
    assert status == DOWN
    assert "OTP unavailable" in told
    assert "systemctl start arenad.socket arenad.service" in told
    assert holder.host.run("arena-key", "pine", check=False).returncode == 2
