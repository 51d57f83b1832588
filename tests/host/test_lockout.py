"""README.Debian's section "Locked out", played: each command stands there word for word."""

import gzip
import re
from collections.abc import Iterator

import pytest
from holders import PIN, REFUSED, SHELL, Holder, password, play, refuse
from hosts import AUTH_ERR, AUTHINFO_UNAVAIL, SUCCESS, Host

UNAVAILABLE = "OTP unavailable / OTP indisponible"
PASSPHRASE = "correct horse battery\n"


def as_told(host: Host, command: str) -> str:
    """Run a command of README.Debian."""
    told = gzip.decompress((host.root / "usr/share/doc/libpam-arena/README.Debian.gz").read_bytes()).decode()
    assert f"    {command}" in told
    return host.shell(command).stdout


@pytest.fixture
def enabled(host: Host) -> Iterator[Host]:
    """The profile is enabled, and sshd set up; afterwards arenad runs again."""
    host.password_first()
    yield host
    host.run("systemctl", "start", "arenad.socket", "arenad.service")


@pytest.fixture
def down(enabled: Host) -> Host:
    """arenad does not run: nobody gets in."""
    enabled.run("systemctl", "stop", "arenad.socket", "arenad.service")
    assert UNAVAILABLE in refuse(enabled.login("erin"), [password()])
    refuse(enabled.ssh("erin", "echo", SHELL), [password()])
    return enabled


def check_password_alone(host: Host) -> None:
    """Logins ask for the password, and for nothing else."""
    for dialogue in (host.login("erin"), host.ssh("erin"), host.sudo("erin", "echo", SHELL)):
        said = play(dialogue, [password()], rf"erin@\S+\$ |{SHELL}|{REFUSED}")
        assert not re.search(REFUSED, said), said


def test_root_takes_the_profile_out(down: Host) -> None:
    as_told(down, "pam-auth-update --disable arena")
    check_password_alone(down)


def test_root_takes_lines_out_that_were_added_by_hand(down: Host) -> None:
    down.arena_first()
    down.shell("sed -i '/pam_permit/i auth requisite pam_arena.so' /etc/pam.d/common-auth")
    assert UNAVAILABLE in play(down.login("erin"), [], "Login incorrect")
    as_told(down, "pam-auth-update --disable arena")
    as_told(down, "grep -rl pam_arena /etc/pam.d | xargs -r sed -i '/pam_arena/d'")
    check_password_alone(down)
    down.run("pam-auth-update", "--enable", "arena")
    assert "pam_arena.so" in (down.root / "etc/pam.d/common-auth").read_text()


def test_sshd_is_as_before_without_its_drop_in(down: Host) -> None:
    down.shell("mv /etc/ssh/sshd_config.d/arena.conf /etc/ssh/sshd_config.d/00-arena.conf")
    as_told(down, "rm /etc/ssh/sshd_config.d/00-arena.conf")
    as_told(down, "sshd -t && systemctl reload ssh")
    assert "authenticationmethods any" in down.run("sshd", "-T").stdout


def test_single_user_mode_does_not_ask(down: Host) -> None:
    down.run("chpasswd", input="root:the root password\n")
    with down.dialogue(["sulogin"], "root") as console:
        console.expect(r"continue\): ")
        console.send("the root password")
        console.expect(r"root@\S+# ")


def test_an_exempt_user_is_let_by_while_arenad_runs_and_no_longer(down: Host) -> None:
    down.shell("groupadd --system --force arena-exempt; usermod -aG arena-exempt erin")
    assert down.authenticate("erin")[0] == AUTHINFO_UNAVAIL
    down.run("systemctl", "start", "arenad.socket")
    check_password_alone(down)
    down.run("gpasswd", "--delete", "erin", "arena-exempt")


def test_the_journal_names_a_store_that_is_broken(enabled: Host) -> None:
    holder = Holder(enabled)
    holder.enter()
    enabled.shell(
        "systemctl stop arenad.service arena-desk.service; cd /var/lib/arena; mkdir /root/store; mv arena.db* /root/store"
    )
    enabled.shell("echo no database >/var/lib/arena/arena.db; chown _arena: /var/lib/arena/arena.db")
    code, _, said = enabled.authenticate(holder.name)
    assert (code, said) == (AUTHINFO_UNAVAIL, UNAVAILABLE)
    assert "the store /var/lib/arena/arena.db cannot be opened: file is not a database" in as_told(
        enabled, "journalctl -u arenad -n 20"
    )
    enabled.shell("rm /var/lib/arena/arena.db*; mv /root/store/* /var/lib/arena/")
    play(holder.ssh(), [password(), *holder.steps()], SHELL)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ("rm /etc/credstore.encrypted/arena.key", "a saved key is brought back by `arenactl key import FILE`"),
        ("rm /var/lib/systemd/credential.secret; systemd-creds setup", "status=243/CREDENTIALS"),
    ],
    ids=["missing", "another-host"],
)
def test_a_master_key_that_is_lost_comes_back_from_its_export(enabled: Host, loss: str, named: str) -> None:
    holder = Holder(enabled)
    holder.enter()
    enabled.run("rm", "-f", "/root/export")
    enabled.arenactl("key", "export", "/root/export", input=PASSPHRASE)
    enabled.run("systemctl", "stop", "arena-desk.service")
    enabled.shell(loss)
    enabled.run("systemctl", "restart", "arenad.service", check=False)
    assert enabled.authenticate(holder.name)[0] == AUTHINFO_UNAVAIL
    enabled.run("timeout", "12", "arenactl", "status", check=False)  # in vain: the desk needs the key too
    assert named in as_told(enabled, "journalctl -u arenad -n 20")
    enabled.arenactl("key", "import", "/root/export", input=PASSPHRASE)
    as_told(enabled, "systemctl restart arenad")
    assert enabled.arenactl("status").returncode == 0
    play(holder.ssh(), [password(), *holder.steps()], SHELL)


def test_the_desk_unlocks_a_holder_and_resets_a_pin(enabled: Host) -> None:
    holder = Holder(enabled)
    holder.enter()
    name, fob = holder.name, holder.fob

    def attempt(first: str, *then: str) -> int:
        return enabled.authenticate(name, first, *then)[0]

    for _ in range(5):
        assert attempt(PIN, "000000") == AUTH_ERR
    code, _, said = enabled.authenticate(name, PIN, fob.fresh())
    reference = re.search(r"\(ref ([0-9A-Z]{8})\)", said)
    assert code == AUTH_ERR and reference
    told = enabled.arenactl("why", reference[1]).stdout
    assert "too many failures from there" in told and f"arenactl unlock {name}" in told
    enabled.arenactl("unlock", name)
    # The last answer is for a release that asks for the next code too, after failures.
    assert attempt(PIN, fob.fresh(), fob.ahead()) == SUCCESS
    enabled.arenactl("pin", "reset", name)
    assert attempt(PIN, fob.fresh()) == AUTH_ERR
    assert attempt("", fob.fresh(), "8264", "8264", "8264" + fob.ahead()) == SUCCESS
