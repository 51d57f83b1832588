"""Session grants on real hosts: one passcode, and the same SSH key from the same address is not asked again for a while.

sshd's stack is a key and pam_arena alone, so that whoever is covered types nothing: ssh, sftp, scp, rsync and sudo.
"""

import csv
import io
import json
import re
import textwrap
from collections.abc import Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PASSWORD_PROMPT, PIN, REFUSED, SHELL, Holder, Step, check_golden, password, play
from hosts import PASSWORD, Dialogue, Host

GRANT = '[service.sshd]\ngrant = "8h"\n'
SUDO = '[service.sudo]\ngrant = "8h"\n'
READ_STORE = """
import sqlite3, sys
query = "SELECT service, address, outcome FROM audit WHERE holder = ? AND reason = 'session-grant' ORDER BY id"
for row in sqlite3.connect("file:/var/lib/arena/arena.db?mode=ro", uri=True).execute(query, sys.argv[1:]):
    print(*row)
"""
A_MINUTE_LATER = """
import sqlite3
with sqlite3.connect("/var/lib/arena/arena.db") as store:
    store.execute("UPDATE session_grant SET granted_at = granted_at - 61, valid_until = valid_until - 61")
"""
OPTIONS = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "NumberOfPasswordPrompts=1"]


class KeyHolder(Holder):
    """A holder who logs in with an SSH key, then PIN and code."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, kind="hotp")
        self.key = self.add_key("key")

    def add_key(self, name: str) -> str:
        """A new SSH key that sshd accepts for them; returns its file."""
        file, folder = f"/root/{self.name}-{name}", f"/home/{self.name}/.ssh"
        self.host.shell(
            f"rm -f {file}*; ssh-keygen -q -t ed25519 -N '' -f {file}; install -d -o {self.name} {folder};"
            f" cat {file}.pub >>{folder}/authorized_keys; chown {self.name} {folder}/authorized_keys"
        )
        return file

    def words(self, key: str = "", source: str = "127.0.0.1") -> list[str]:
        """ssh's options: this key, or theirs, from this address. `sftp -b` would have it ask nothing, not even for nothing."""
        options = [*OPTIONS, f"IdentityFile={key or self.key}", f"BindAddress={source}", "BatchMode=no"]
        return [word for one in options for word in ("-o", one)]

    def connect(self, *command: str, key: str = "", source: str = "127.0.0.1") -> Dialogue:
        """ssh on a terminal."""
        return self.host.dialogue(["ssh", "-t", *self.words(key, source), f"{self.name}@127.0.0.1", *command])

    def is_asked(self, key: str = "", source: str = "127.0.0.1") -> bool:
        """Whether a connection is asked for PIN and code; nobody answers."""
        with self.connect("echo", SHELL, key=key, source=source) as dialogue:
            return dialogue.expect(ASK_PIN, SHELL, REFUSED) != 1

    def enter_with_key(self) -> None:
        """A login that gives the grant."""
        play(self.connect("echo", SHELL), self.steps(), SHELL)

    def first_login(self) -> str:
        """The login that creates the PIN, and gives the grant."""
        return play(self.connect("echo", SHELL), self.first_steps(), SHELL)

    def audit(self) -> list[str]:
        """What a grant has opened."""
        return self.host.run("python3", "-c", READ_STORE, self.name).stdout.splitlines()


@pytest.fixture(scope="module")
def plain(host: Host) -> Iterator[Host]:
    """sshd asks pam_arena alone after the key, and grants nothing yet."""
    host.install("rsync")
    host.password_first()
    path = host.root / "etc/pam.d/sshd"
    before = path.read_text()
    path.write_text(before.replace("@include common-auth", "auth required pam_arena.so", 1))
    yield host
    path.write_text(before)


@pytest.fixture
def granting(plain: Host) -> Iterator[Host]:
    with plain.configured(GRANT):
        yield plain


@pytest.fixture(scope="module")
def alice(plain: Host) -> KeyHolder:
    """A holder with a grant of 8 hours."""
    one = KeyHolder(plain)
    with plain.configured(GRANT):
        check_golden("ssh-key-first-login", one.first_login())
    return one


@pytest.mark.usefixtures("granting")
def test_ssh_sftp_scp_and_rsync_are_not_asked_again(alice: KeyHolder) -> None:
    there, host = f"{alice.name}@127.0.0.1", alice.host
    words, before = alice.words(), len(alice.audit())
    check_golden("ssh-granted", play(alice.connect("echo", SHELL), [], SHELL))
    assert host.run("ssh", *words, there, "id", "-un").stdout == f"{alice.name}\n"
    assert f"/home/{alice.name}" in host.run("sftp", *words, "-b", "-", there, input="pwd\n").stdout
    host.run("scp", *words, "/etc/debian_version", f"{there}:copied")
    host.run("rsync", "-e", " ".join(["ssh", *words]), "/etc/debian_version", f"{there}:synchronised")
    host.shell(f"cmp /etc/debian_version ~{alice.name}/copied; cmp /etc/debian_version ~{alice.name}/synchronised")
    assert alice.audit()[before:] == ["sshd 127.0.0.1 granted"] * 5


EDITOR = """
import socket, subprocess, sys
ssh = subprocess.Popen(["ssh", "-T", "-D", "9150", *sys.argv[1:], "bash"], stdin=-1, stdout=-1, text=True)
print("echo $((40 + 2))", file=ssh.stdin, flush=True)
print(ssh.stdout.readline(), end="")
with socket.create_connection(("127.0.0.1", 9150)) as through:
    through.sendall(b"\\5\\1\\0")
    through.recv(2)
    through.sendall(b"\\5\\1\\0\\1\\x7f\\0\\0\\1\\0\\x16")
    through.recv(10)
    print(through.recv(8).decode())
ssh.communicate("exit\\n")
"""


@pytest.mark.usefixtures("granting")
def test_an_editor_that_forwards_its_own_connections_is_not_asked_again(alice: KeyHolder) -> None:
    """As VS Code's Remote-SSH connects: a shell without a terminal, and SOCKS for what goes to the editor's server."""
    told = alice.host.run("python3", "-c", EDITOR, *alice.words(), f"{alice.name}@127.0.0.1").stdout
    assert told == "42\nSSH-2.0-\n"


@pytest.mark.usefixtures("granting")
def test_ansible_works_with_the_settings_of_the_manual(alice: KeyHolder) -> None:
    """README.Debian's ansible.cfg, word for word: Ansible forbids ssh to be asked anything otherwise."""
    host, before = alice.host, len(alice.audit())
    host.install("ansible-core")
    manual = host.run("zcat", "/usr/share/doc/libpam-arena/README.Debian.gz").stdout
    written = textwrap.dedent(manual[manual.index("    [ssh_connection]") :].partition("\n\n")[0])
    (host.root / "root/ansible.cfg").write_text(written + "\n")
    target = f"ansible_host=127.0.0.1 ansible_user={alice.name} ansible_ssh_private_key_file={alice.key}"
    (host.root / "root/inventory").write_text(f"here {target} ansible_ssh_common_args='-o UserKnownHostsFile=/dev/null'\n")
    settings = "HOME=/root ANSIBLE_HOST_KEY_CHECKING=no ANSIBLE_SSH_CONTROL_PATH_DIR=/root/masters"
    ping = f"cd /root && {settings} ansible -i inventory here -m ansible.builtin.ping"
    assert '"ping": "pong"' in host.shell(ping).stdout
    # The connection that ssh keeps for a minute would be a session to the tests after this one.
    host.shell('for master in /root/masters/*; do ssh -O exit -S "$master" here; done')
    assert alice.audit()[before:] != []


@pytest.mark.usefixtures("granting")
def test_another_key_another_address_and_no_key_are_asked(alice: KeyHolder) -> None:
    assert alice.is_asked(key=alice.add_key("other"))
    assert alice.is_asked(source="127.0.0.2")
    assert alice.is_asked(key="/nowhere")
    assert not alice.is_asked()


@pytest.mark.usefixtures("granting")
def test_a_grant_is_for_its_holder_alone(alice: KeyHolder) -> None:
    """The same key, trusted for another account as well."""
    other = Holder(alice.host)
    folder = f"/home/{other.name}/.ssh"
    alice.host.shell(f"install -d -o {other.name} {folder}; install -o {other.name} {alice.key}.pub {folder}/authorized_keys")
    with alice.host.dialogue(["ssh", "-t", *alice.words(), f"{other.name}@127.0.0.1", "echo", SHELL]) as dialogue:
        assert dialogue.expect(ASK_PIN, SHELL, REFUSED) == 0


def test_a_grant_that_is_no_longer_configured_covers_nothing(alice: KeyHolder) -> None:
    assert alice.is_asked()


@pytest.mark.usefixtures("granting")
def test_grants_are_listed_by_the_fingerprint_of_their_key_and_revoked(alice: KeyHolder) -> None:
    host = alice.host
    fingerprint = host.run("ssh-keygen", "-lf", f"{alice.key}.pub").stdout.split()[1]
    (found,) = json.loads(host.arenactl("grant", "list", alice.name, "-o", "json").stdout)
    assert (found["service"], found["address"], found["key"]) == ("sshd", "127.0.0.1", fingerprint)
    rows = list(csv.DictReader(io.StringIO(host.arenactl("grant", "list", "-o", "csv").stdout)))
    assert (alice.name, fingerprint) in [(row["holder"], row["key"]) for row in rows]
    assert max(map(len, host.arenactl("grant", "list").stdout.splitlines())) <= 80
    host.arenactl("grant", "revoke", alice.name)
    assert json.loads(host.arenactl("grant", "list", alice.name, "-o", "json").stdout) == []
    assert alice.is_asked()
    alice.enter_with_key()
    assert not alice.is_asked()


# --- sudo in a session with a grant -----------------------------------------------------------------------------------


def sudo_asks(dialogue: Dialogue, command: str = f"sudo -k echo {SHELL}-root") -> bool:
    """Whether sudo, in a shell on a terminal, asks for more than the password."""
    dialogue.send(command)
    dialogue.expect(PASSWORD_PROMPT)
    dialogue.send(PASSWORD)
    return dialogue.expect(ASK_PIN, rf"\n{SHELL}-root") == 0


def prompt_of(holder: Holder) -> str:
    return rf"{holder.name}@\S+\$ "


def sessions(host: Host, name: str) -> list[dict[str, str]]:
    """What logind knows of a user's sessions."""
    listed = f"loginctl list-sessions --no-legend | awk '$3 == \"{name}\" {{print $1}}'"
    blocks = host.shell(f"for one in $({listed}); do loginctl show-session $one; echo; done").stdout.strip().split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks if block]


def test_sudo_within_the_session_is_covered_where_it_has_a_grant_of_its_own(alice: KeyHolder, granting: Host) -> None:
    with granting.configured(GRANT + SUDO), alice.connect() as shell:
        shell.expect(prompt_of(alice))
        found = [one for one in sessions(granting, alice.name) if one["Service"] == "sshd"]
        assert [(one["Remote"], one["RemoteHost"]) for one in found] == [("yes", "127.0.0.1")]
        before = len(alice.audit())
        assert not sudo_asks(shell)
        assert alice.audit()[before:] == ["sudo  granted"]
        granting.arenactl("grant", "revoke", alice.name)
        shell.expect(prompt_of(alice))
        assert sudo_asks(shell)
    with granting.configured(GRANT):
        alice.enter_with_key()
        with alice.connect() as shell:
            shell.expect(prompt_of(alice))
            assert sudo_asks(shell)


def test_sudo_without_a_terminal_of_its_own_session_is_covered_as_an_editors_is(alice: KeyHolder, granting: Host) -> None:
    """script(1) gives the command a terminal that logind does not know; sudo -S has none at all."""
    with granting.configured(GRANT + SUDO):
        with alice.connect() as shell:
            shell.expect(prompt_of(alice))
            assert not sudo_asks(shell, f"script -qec 'sudo -k echo {SHELL}-root' /dev/null")
        done = granting.run(
            "ssh", *alice.words(), f"{alice.name}@127.0.0.1", "sudo", "-k", "-S", "id", "-un", input=PASSWORD + "\n"
        )
        assert done.stdout == "root\n"


def test_sudo_on_the_console_and_from_another_address_is_asked(alice: KeyHolder, granting: Host) -> None:
    with granting.configured(GRANT + SUDO):
        console = granting.login(alice.name)
        with console:
            for prompt, answer, label in [password(), *alice.steps()]:
                console.expect(prompt)
                console.send(answer, label)
            console.expect(prompt_of(alice))
            assert sudo_asks(console)
    with granting.configured('[service.sshd]\ngrant = "0"\n'), alice.connect(source="127.0.0.3") as shell:
        for prompt, answer, label in alice.steps():
            shell.expect(prompt)
            shell.send(answer, label)
        shell.expect(prompt_of(alice))
        with granting.configured(GRANT + SUDO):
            assert sudo_asks(shell)


def test_sudo_in_the_session_of_somebody_else_is_asked(alice: KeyHolder, granting: Host) -> None:
    """Both have a grant; bob became himself by su in alice's session, on alice's terminal."""
    bob = KeyHolder(granting)
    bob.first_login()
    with granting.configured(GRANT + SUDO), alice.connect() as shell:
        shell.expect(prompt_of(alice))
        shell.send(f"su - {bob.name}")
        steps: list[Step] = [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, alice.fob.fresh, "code")]
        for prompt, answer, label in steps:
            shell.expect(prompt)
            shell.send(answer, label)
        shell.expect(prompt_of(bob))
        assert sudo_asks(shell)


# --- the end of a grant -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("granting")
def test_a_grant_ends_by_itself(alice: KeyHolder) -> None:
    """A grant of a minute, the shortest there is, whose minute is over: as it is in the store then."""
    with alice.host.configured('[service.sshd]\ngrant = "60s"\n'):
        alice.host.arenactl("grant", "revoke", alice.name)
        alice.enter_with_key()
        assert not alice.is_asked()
        alice.host.run("setpriv", "--reuid=_arena", "--regid=_arena", "--clear-groups", "python3", "-c", A_MINUTE_LATER)
        assert alice.is_asked()
    assert alice.is_asked()
    assert json.loads(alice.host.arenactl("grant", "list", alice.name, "-o", "json").stdout) == []
    alice.enter_with_key()


@pytest.mark.usefixtures("granting")
def test_a_pin_that_was_reset_ends_the_grant(alice: KeyHolder) -> None:
    assert not alice.is_asked()
    alice.host.arenactl("pin", "reset", alice.name)
    told = alice.first_login()
    assert re.search("Choose a PIN", told)
    assert not alice.is_asked()


@pytest.mark.usefixtures("granting")
def test_a_disabled_key_ends_the_grant(alice: KeyHolder) -> None:
    alice.host.arenactl("token", "disable", alice.fob.serial)
    assert alice.is_asked()
