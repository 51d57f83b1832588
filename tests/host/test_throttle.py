"""Who waits after failures, and who never does: sources, callers and the console of one holder, on a real host."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, Holder, Step, doors, play, reference, refuse
from hosts import AUTH_ERR, SUCCESS, Host

GUESS: list[Step] = [(ASK_PIN, "7931", "a guess"), (ASK_CODE, "000000", "a guess")]
NEXT = "Wait; next code alone: "
ELSEWHERE = "127.0.0.9"
# Two failures are enough: what counts here is who waits, not after how many.
STRICT = '[login]\ndeny_after = "0"\n[lock]\nafter = 2\nwait = "10min"\n'
CLOSED_SOON = '[lock]\nafter = 2\nwait = "1s"\nclose_after = 3\n'


@pytest.fixture(scope="module")
def strict(host: Host) -> Iterator[Host]:
    host.arena_first()
    host.run("chpasswd", input="root:the root password\n")
    with host.configured(STRICT):
        yield host
    # Names that do not exist have one console together: the next test's would wait for those of this one.
    host.in_store("UPDATE origin SET failures = 0, wait_until = 0 WHERE holder_id = 0")
    host.password_first()


@pytest.fixture
def holder(strict: Host) -> Holder:
    """Someone who logged in from 127.0.0.1 already."""
    one = Holder(strict, kind="hotp")
    one.enrol()
    doors(one)["ssh"].enter(one.steps())
    return one


def guess(holder: Holder, times: int) -> None:
    """Guesses over ssh, each from another address, at the same time."""

    def once(number: int) -> None:
        refuse(holder.ssh(source=f"127.0.1.{number}"), GUESS)

    with ThreadPoolExecutor(times) as crowd:
        list(crowd.map(once, range(1, times + 1)))


def why(holder: Holder, source: str = ELSEWHERE) -> str:
    """Be refused over ssh with a right passcode; what the desk reads about it."""
    dialogue = holder.ssh(source=source)
    refuse(dialogue, holder.steps())
    return holder.host.arenactl("why", reference(dialogue.transcript)).stdout


def origins(holder: str, host: Host) -> dict[str, int]:
    """Failures by origin, as the desk sees them."""
    shown = json.loads(host.arenactl("holder", "show", holder, "-o", "json").stdout)
    return {one["origin"]: one["failures"] for one in shown["waits"] if one["failures"]}


def test_a_flood_from_elsewhere_makes_no_door_of_the_holders_wait(holder: Holder) -> None:
    guess(holder, 4)
    told = why(holder)
    assert "too many failures from there: waiting until" in told
    assert f"arenactl unlock {holder.name}" in told
    for door in doors(holder).values():
        assert NEXT not in door.enter(holder.steps())


def test_guesses_at_the_console_leave_a_known_address_open(holder: Holder) -> None:
    play(holder.host.sudo(holder.name), GUESS * 2, "again[^⟦]*PIN")
    refuse(holder.host.login(holder.name), holder.steps())
    doors(holder)["ssh"].enter(holder.steps())


def test_su_by_another_user_makes_that_user_alone_wait(holder: Holder) -> None:
    host, name = holder.host, holder.name
    with host.configured('[service.su]\nask = "target"\n'):
        for _ in range(2):
            refuse(host.su("bob", name), GUESS)
        refuse(host.su("bob", name), holder.steps())
        assert list(origins(name, host)) == [f"uid {host.run('id', '-u', 'bob').stdout.strip()} on this host"]
        for by in ("carol", name):
            password = (r"Password: ", "correct horse", "password")
            play(host.su(by, name), [*holder.steps(), password], f"{name}\r?\n")
    for door in doors(holder).values():
        door.enter(holder.steps())


def test_su_asks_for_the_callers_own_key_and_counts_for_the_caller(holder: Holder) -> None:
    host, other = holder.host, Holder(holder.host, kind="hotp")
    other.enrol()
    for _ in range(2):
        refuse(host.su(other.name, holder.name), GUESS)
    assert (origins(other.name, host), origins(holder.name, host)) == ({"console": 2}, {})


def test_what_sshd_types_for_a_root_who_may_not_log_in_never_counts(strict: Host) -> None:
    fob = strict.give_fob("root", "K-root", kind="hotp")
    strict.arenactl("pin", "reset", "root")  # of an earlier test's
    assert strict.authenticate("root", "", fob.fresh(), PIN, PIN, PIN + fob.fresh())[0] == SUCCESS
    drop_in = strict.root / "etc/ssh/sshd_config.d/00-root.conf"
    drop_in.write_text("PermitRootLogin no\n")
    strict.run("systemctl", "reload", "ssh")
    try:
        for _ in range(3):
            dialogue = strict.ssh("root")
            refuse(dialogue, [(ASK_PIN, PIN, "PIN"), (ASK_CODE, fob.fresh, "code")])
        assert "no passcode" in strict.arenactl("why", reference(dialogue.transcript)).stdout
        assert origins("root", strict) == {}
        assert strict.authenticate("root", PIN, fob.fresh())[0] == SUCCESS
    finally:
        drop_in.unlink()
        strict.run("systemctl", "reload", "ssh")
        strict.arenactl("token", "unassign", "K-root")


@pytest.mark.parametrize("name", ["ssh", "login"])
def test_what_is_closed_is_opened_by_the_desk_alone(strict: Host, name: str) -> None:
    holder = Holder(strict, kind="hotp")
    holder.enrol()
    door = doors(holder)[name]
    guessed_at = door if name == "ssh" else doors(holder)["su"]  # which login's own three seconds do not slow down
    with strict.configured(CLOSED_SOON):
        for _ in range(3):
            time.sleep(1)  # the wait, from the second failure on
            refuse(guessed_at.start(), GUESS)
        dialogue = door.start()
        refuse(dialogue, holder.steps())
        told = strict.arenactl("why", reference(dialogue.transcript)).stdout
        assert "far too many failures from there: closed" in told
        assert f"arenactl unlock {holder.name}" in told
        strict.arenactl("unlock", holder.name)
        door.enter(holder.steps())


def test_a_list_of_ten_thousand_devices_brings_no_more_guesses(holder: Holder) -> None:
    """CVE-2015-5600: sshd asked once for each device that a client named."""
    many, devices = "NumberOfPasswordPrompts=10000", f"KbdInteractiveDevices={','.join(['pam'] * 10_000)}"
    options = [word for one in ("PreferredAuthentications=keyboard-interactive", many, devices) for word in ("-o", one)]
    asked = 0
    with holder.host.dialogue(["ssh", "-b", "127.0.3.1", *options, f"{holder.name}@127.0.0.1"]) as dialogue:
        while dialogue.expect(ASK_PIN, r"Permission denied \(|Too many|Received disconnect|closed by") == 0:
            asked += 1
            dialogue.send("7931")
            dialogue.expect(ASK_CODE)
            dialogue.send("000000")
    assert 0 < asked <= 6  # sshd's MaxAuthTries
    assert origins(holder.name, holder.host) == {"other addresses": 2}  # the others came while it waited, and were no guesses


def test_a_wait_outlives_arenad(holder: Holder) -> None:
    guess(holder, 2)
    holder.host.shell('kill -9 "$(systemctl show -P MainPID arenad.service)"')
    assert "waiting until" in why(holder)
    assert holder.host.authenticate(holder.name, PIN, holder.fob.fresh())[0] == SUCCESS


def test_names_that_do_not_exist_fill_no_table(strict: Host) -> None:
    def rows() -> list[int]:
        return [strict.in_store(f"SELECT count(*) FROM {table}")[0][0] for table in ("holder", "origin", "failure", "audit")]

    assert strict.authenticate("made-up", "7931", "000000")[0] == AUTH_ERR
    before = rows()
    for number in range(3):
        assert strict.authenticate(f"made-up-{number}", "7931", "000000")[0] == AUTH_ERR
    assert rows() == before
