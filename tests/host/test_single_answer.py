"""Programs that can ask one question, or none: sudo -S, python-pam, a screen locker, a web server; and forward_pass.

Each has its own service with prompt=joined; what such a program hands over is one text, PIN and code in a row.
"""

import subprocess
from collections.abc import Iterator

import pytest
from holders import PIN, SHELL, Holder, play
from hosts import PASSWORD, Host

SUCCESS, PERM_DENIED, AUTH_ERR = 0, 6, 7
WRONG_PIN = "2847"
JOINED = "Passcode (PIN + code; first: code): "
JOINED_PROMPT = r"Passcode \(PIN \+ code; first: code\): "
SERVICES = {
    "locker": "auth required pam_arena.so prompt=joined\naccount required pam_permit.so\n",
    "httpd": "auth required pam_arena.so prompt=joined\naccount required pam_permit.so\n",
    "forwarded": "auth requisite pam_arena.so forward_pass\nauth required pam_unix.so use_first_pass\n"
    "account required pam_permit.so\n",
    "tried": "auth required pam_unix.so\nauth required pam_arena.so use_first_pass\naccount required pam_permit.so\n",
    "talkative": "auth required pam_arena.so prompt=joined debug\naccount required pam_permit.so\n",
}
PYTHON_PAM = """
import sys, pam
user, service = sys.argv[1:]
caller = pam.pam()
caller.authenticate(user, sys.stdin.readline().rstrip("\\n"), service=service)
print(caller.code)
"""
SITE = """
<Location "/private">
    AuthType Basic
    AuthName "arena"
    AuthBasicProvider PAM
    AuthPAMService httpd
    Require valid-user
</Location>
"""
GET = """
import base64, sys, urllib.error, urllib.request
credentials = base64.b64encode(sys.stdin.readline().rstrip("\\n").encode()).decode()
request = urllib.request.Request(f"http://127.0.0.1/{sys.argv[1]}", headers={"Authorization": f"Basic {credentials}"})
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""
READ_STORE = """
import sqlite3, sys
for row in sqlite3.connect("file:/var/lib/arena/arena.db?mode=ro", uri=True).execute(sys.argv[1]):
    print(*row)
"""


@pytest.fixture(scope="module")
def clients(host: Host) -> Host:
    """The host with a program of each kind, and a service for it."""
    host.install("python3-pampy", "python3-six")  # which the former imports, and does not depend on
    host.password_first()
    for name, lines in SERVICES.items():
        (host.root / "etc/pam.d" / name).write_text(lines)
    return host


@pytest.fixture
def holder(clients: Host) -> Holder:
    """Someone who has a PIN: a first login needs more than one answer."""
    one = Holder(clients)
    one.enter()
    return one


def authenticate(host: Host, name: str, passcode: str, service: str, *, as_user: str = "root") -> int:
    """What python-pam gets, when `as_user` runs it."""
    done = host.run("runuser", "-u", as_user, "--", "python3", "-c", PYTHON_PAM, name, service, input=passcode + "\n")
    return int(done.stdout)


# --- sudo -S ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sudo_asks_arena_alone(clients: Host) -> Iterator[None]:
    path = clients.root / "etc/pam.d/sudo"
    before = path.read_text()
    path.write_text(before.replace("@include common-auth", "auth required pam_arena.so prompt=joined"))
    yield
    path.write_text(before)


def sudo(holder: Holder, passcode: str) -> subprocess.CompletedProcess[str]:
    command = ["runuser", "-u", holder.name, "--", "sudo", "-k", "-S", "id", "-un"]
    return holder.host.run(*command, input=passcode + "\n", check=False)


@pytest.mark.usefixtures("sudo_asks_arena_alone")
def test_sudo_takes_the_passcode_from_its_input(holder: Holder) -> None:
    done = sudo(holder, holder.passcode())
    assert (done.returncode, done.stdout) == (0, "root\n")
    assert JOINED in done.stderr


@pytest.mark.usefixtures("sudo_asks_arena_alone")
def test_sudo_refuses_a_wrong_passcode_from_its_input(holder: Holder) -> None:
    done = sudo(holder, WRONG_PIN + holder.fob.fresh())
    assert (done.returncode, done.stdout) == (1, "")
    assert "Sorry, try again." in done.stderr
    again = sudo(holder, PIN + holder.fob.used())
    assert (again.returncode, again.stdout) == (1, "")


# --- python-pam, and a screen locker ----------------------------------------------------------------------------------


def test_python_pam_as_root_asks_for_anyone(holder: Holder) -> None:
    assert authenticate(holder.host, holder.name, holder.passcode(), "locker") == SUCCESS
    assert authenticate(holder.host, holder.name, PIN + holder.fob.used(), "locker") == AUTH_ERR
    assert authenticate(holder.host, holder.name, WRONG_PIN + holder.fob.fresh(), "locker") == AUTH_ERR
    assert authenticate(holder.host, "no-such-name", holder.passcode(), "locker") == AUTH_ERR


def test_a_screen_locker_asks_for_its_own_user_alone(holder: Holder) -> None:
    host, other = holder.host, Holder(holder.host)
    assert authenticate(host, holder.name, holder.passcode(), "locker", as_user=holder.name) == SUCCESS
    assert authenticate(host, holder.name, WRONG_PIN + holder.fob.fresh(), "locker", as_user=holder.name) == AUTH_ERR
    passcode = holder.passcode()
    assert authenticate(host, holder.name, passcode, "locker", as_user=other.name) == PERM_DENIED
    assert authenticate(host, holder.name, passcode, "locker", as_user=holder.name) == SUCCESS  # nobody has spent it


def test_a_first_login_needs_more_than_one_answer(clients: Host) -> None:
    newcomer = Holder(clients)
    assert authenticate(clients, newcomer.name, newcomer.fob.fresh(), "locker") == AUTH_ERR
    newcomer.enter()


# --- a web server -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web_server(clients: Host) -> Iterator[Host]:
    """apache2 with basic authentication through PAM: it runs as www-data, and is named as a peer."""
    clients.install("apache2", "libapache2-mod-authnz-pam")
    peer = clients.root / "etc/arena/arena.toml.d/peer.toml"
    peer.write_text('[[peer]]\nuser = "www-data"\nservices = ["httpd"]\n')
    (clients.root / "etc/apache2/conf-available/private.conf").write_text(SITE)
    (clients.root / "var/www/html/private").mkdir()
    (clients.root / "var/www/html/private/index.html").write_text("the intranet")
    clients.shell("a2enmod -q authnz_pam; a2enconf -q private; systemctl restart apache2; systemctl reload arenad.service")
    yield clients
    peer.unlink()
    clients.shell("systemctl disable --now apache2; systemctl reload arenad.service")


def get(host: Host, name: str, passcode: str) -> str:
    """What a browser gets: the page, or the error's number."""
    return host.run("python3", "-c", GET, "private/", input=f"{name}:{passcode}\n").stdout.strip()


def test_a_web_server_asks_for_anyone_and_is_believed(holder: Holder, web_server: Host) -> None:
    passcode = holder.passcode()
    assert get(web_server, holder.name, passcode) == "the intranet"
    assert get(web_server, holder.name, passcode) == "401"
    assert get(web_server, holder.name, WRONG_PIN + holder.fob.fresh()) == "401"
    query = "SELECT outcome, address FROM audit WHERE service = 'httpd' ORDER BY id"
    rows = web_server.run("python3", "-c", READ_STORE, query).stdout
    assert rows.splitlines() == ["granted 127.0.0.1", "denied 127.0.0.1", "denied 127.0.0.1"]


def test_a_web_server_may_ask_at_its_services_alone(holder: Holder, web_server: Host) -> None:
    passcode = holder.passcode()
    assert authenticate(web_server, holder.name, passcode, "locker", as_user="www-data") == PERM_DENIED
    assert authenticate(web_server, holder.name, passcode, "httpd", as_user="nobody") == PERM_DENIED
    assert authenticate(web_server, holder.name, passcode, "httpd", as_user="www-data") == SUCCESS


# --- password and passcode in one field -------------------------------------------------------------------------------


def test_a_forwarded_password_opens_with_its_pin_and_code_alone(holder: Holder) -> None:
    host, name = holder.host, holder.name
    assert authenticate(host, name, PASSWORD + holder.passcode(), "forwarded") == SUCCESS
    assert authenticate(host, name, PASSWORD + PIN + holder.fob.used(), "forwarded") == AUTH_ERR
    assert authenticate(host, name, "wrong horse" + holder.passcode(), "forwarded") == AUTH_ERR
    assert authenticate(host, name, PASSWORD + WRONG_PIN + holder.fob.fresh(), "forwarded") == AUTH_ERR
    assert authenticate(host, name, holder.passcode(), "forwarded") == AUTH_ERR
    assert authenticate(host, name, PASSWORD, "forwarded") == AUTH_ERR
    assert authenticate(host, name, PASSWORD + holder.passcode(), "forwarded") == SUCCESS


def test_a_forwarded_password_opens_over_ssh(holder: Holder) -> None:
    path = holder.host.root / "etc/pam.d/sshd"
    before = path.read_text()
    stack = "auth requisite pam_arena.so forward_pass\nauth required pam_unix.so use_first_pass"
    path.write_text(before.replace("@include common-auth", stack, 1))
    try:
        typed = [(JOINED_PROMPT, lambda: PASSWORD + holder.passcode(), "password + PIN + code")]
        assert play(holder.ssh(), typed, SHELL).count("⟦") == 1
    finally:
        path.write_text(before)


# --- options ----------------------------------------------------------------------------------------------------------


def test_a_password_that_was_collected_is_no_passcode(holder: Holder) -> None:
    assert authenticate(holder.host, holder.name, PASSWORD, "tried") == AUTH_ERR


def test_a_passcode_that_was_collected_is_used_and_nothing_is_asked(holder: Holder) -> None:
    """The account's password is set to the passcode, so that pam_unix lets it through."""
    for passcode, code in ((holder.passcode(), SUCCESS), (WRONG_PIN + holder.fob.fresh(), AUTH_ERR)):
        holder.host.run("chpasswd", input=f"{holder.name}:{passcode}\n")
        assert authenticate(holder.host, holder.name, passcode, "tried") == code


def test_debug_logs_each_step_and_no_secret(holder: Holder) -> None:
    passcode = holder.passcode()
    assert authenticate(holder.host, holder.name, passcode, "talkative") == SUCCESS
    assert authenticate(holder.host, holder.name, WRONG_PIN + holder.fob.fresh(), "talkative") == AUTH_ERR
    journal = holder.host.run("journalctl", "-o", "export").stdout
    for line in ("pam_arena(talkative:auth): prompt of style 1", "operation 1: Success", "operation 1: Authentication failure"):
        assert line in journal
    assert passcode not in journal
    assert WRONG_PIN + holder.fob.used() not in journal
