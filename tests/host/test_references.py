"""The reference that every denial carries, from the holder's terminal to the desk: `arenactl why`."""

import json
import re
import time

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, REFUSED, ROOT, Holder, Step, check_golden, password, play, reference, refuse
from hosts import Dialogue, Host

NOT_FOUND = 4
WRONG_PIN = "2847"
NO_CODE = "000000"
FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"sur la clé\)\s: "


@pytest.fixture(scope="module")
def desk(host: Host) -> Host:
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    return host


@pytest.fixture
def holder(desk: Host) -> Holder:
    one = Holder(desk)
    one.enrol()
    return one


def typing(pin: str, code: str) -> list[Step]:
    return [(ASK_PIN, pin, "PIN"), (ASK_CODE, code, "code")]


def denied(dialogue: Dialogue, steps: list[Step]) -> str:
    """The reference of the denial that these answers bring."""
    refuse(dialogue, steps)
    return reference(dialogue.transcript)


def why(host: Host, ref: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(host.arenactl("why", ref, "-o", "json").stdout)
    assert found["ref"] == ref
    return found


def test_ssh_a_used_code(holder: Holder) -> None:
    ref = denied(holder.ssh(), [password(), *typing(PIN, holder.fob.used())])
    found = why(holder.host, ref)
    assert (found["what"], found["remedy"]) == (
        "used code: it opened a login before",
        "wait until the display changes, then log in again",
    )
    assert (found["holder"], found["service"], found["address"]) == (holder.name, "sshd", "127.0.0.1")
    assert abs(int(str(found["at"])) - time.time()) < 60


def test_console_a_wrong_pin_in_french(holder: Holder) -> None:
    steps: list[Step] = [password(), (FRENCH_PIN, WRONG_PIN, "a wrong PIN"), (FRENCH_CODE, holder.fob.fresh, "code")]
    with holder.host.configured('language = "fr"\n'):
        console = holder.host.login(holder.name)
        check_golden("login-refused-french", play(console, steps, REFUSED))
    found = why(holder.host, reference(console.transcript))
    assert (found["what"], found["service"]) == ("right code, wrong PIN", "login")
    assert found["remedy"] == f"a forgotten PIN: arenactl pin reset {holder.name}"


def test_su_a_key_whose_clock_is_off(holder: Holder) -> None:
    fob = holder.fob
    with holder.host.configured("[code]\nnext_code_reach = 1\n"):
        steps: list[Step] = [ROOT, (ASK_PIN, PIN, "PIN"), (ASK_CODE, lambda: fob.at(fob.step + 6), "code of later")]
        found = why(holder.host, denied(holder.host.su(holder.name), steps))
    assert re.search(r"right code of another time: a drift of \+[2-6] steps", str(found["what"]))
    assert f"arenactl token resync {fob.serial}" in str(found["remedy"])


def test_sudo_neither_pin_nor_code(holder: Holder) -> None:
    found = why(holder.host, denied(holder.host.sudo(holder.name), [password(), *typing(WRONG_PIN, NO_CODE)]))
    assert (found["what"], found["service"]) == ("neither PIN nor code was right", "sudo")


def test_ssh_what_is_no_passcode(holder: Holder) -> None:
    found = why(holder.host, denied(holder.ssh(), [password(), *typing("", "28")]))
    assert found["what"] == "what was typed is no passcode"


def test_console_a_wait_until(holder: Holder) -> None:
    host = holder.host
    with host.configured("[lock]\nafter = 1\n"):
        host.authenticate(holder.name, WRONG_PIN, NO_CODE)
        found = why(host, denied(host.login(holder.name), [password(), *typing(PIN, holder.fob.fresh())]))
    until = time.strptime(str(found["what"]).rpartition(" until ")[2], "%Y-%m-%d %H:%M:%S UTC")
    assert 0 < time.mktime(until) - time.timezone - time.time() <= 60
    assert found["remedy"] == f"wait, or arenactl unlock {holder.name}"


def test_ssh_a_disabled_key_and_one_without_a_key(holder: Holder) -> None:
    host = holder.host
    host.arenactl("token", "disable", holder.fob.serial)
    assert why(host, denied(holder.ssh(), [password(), *typing(PIN, holder.fob.fresh())]))["what"] == "the key is disabled"
    found = why(host, denied(host.ssh("frank"), [password(), *typing(PIN, NO_CODE)]))
    assert found["what"] == "unknown name: it has no key, or does not exist"
    assert "arenactl token assign SERIAL frank" in str(found["remedy"])


def test_a_name_that_nobody_has_is_not_told_by_its_reference(desk: Host) -> None:
    """People type passwords where the name belongs: the desk sees that nobody has it, and not what it was."""
    desk.arena_first()
    refs = [denied(way("my-password"), typing(PIN, NO_CODE)) for way in (desk.ssh, desk.login)]
    desk.password_first()
    for ref in refs:
        found = why(desk, ref)
        assert found["what"] == "unknown name: it has no key, or does not exist"
        assert "my-password" not in json.dumps(found)


def test_a_reference_is_read_out_in_any_case_and_never_told_twice(holder: Holder) -> None:
    refs = [denied(holder.ssh(), [password(), *typing(WRONG_PIN, NO_CODE)]) for _ in range(2)]
    assert len(set(refs)) == 2
    spelt = refs[0].lower().replace("0", "o").replace("1", "l")
    assert refs[0] in holder.host.arenactl("why", f"{spelt[:4]}-{spelt[4:]}").stdout
    done = holder.host.arenactl("why", "ZZZZZZZZ", check=False)
    assert (done.returncode, "ZZZZZZZZ" in done.stderr) == (NOT_FOUND, True)
