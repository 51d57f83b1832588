"""What an ordinary user of a host reaches of arenad: auth.sock, for their own account, and nothing else."""

import json

from hosts import Host

LOOK = """
import json, os, socket, sys, time
from pam_arena.client import Client
from pam_arena.errors import ServiceDown
from pam_arena.protocol import Operation
from pam_arena.wire import Start

def tried(work):
    try:
        return work()
    except OSError as error:
        return type(error).__name__

def reach(path):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
    return "open"

def code(operation, name):
    serial = "K-none" if operation is Operation.LOST else ""
    start = Start(operation, "screen", name, "root", "192.0.2.7", "/dev/tty1", uid=0, serial=serial)
    end = time.monotonic() + 10
    while True:
        try:
            return Client().converse(start, lambda style, text: "").code
        except ServiceDown:  # four conversations a second are an ordinary user's
            if time.monotonic() > end:
                raise
            time.sleep(0.1)

me, names = sys.argv[1], ["alice", "root", "no-such-user"]
shut = {"/run/arena/desk.sock": tried(lambda: reach("/run/arena/desk.sock"))}
spool = "/var/spool/arena"
for folder in ("/var/lib/arena", "/run/arena/login", spool + "/out", spool + "/failed", "/etc/credstore.encrypted"):
    shut[folder] = tried(lambda: os.listdir(folder) and "open" or "open")
for folder in ("/run/arena", "/var/spool/arena", "/etc/arena"):
    shut["w " + folder] = tried(lambda: os.mkdir(folder + "/mine") or os.rmdir(folder + "/mine") or "open")
others = sorted({code(operation, name) for name in names for operation in Operation})
print(json.dumps([shut, others, code(Operation.STATUS, me)]))
"""
ROWS = [
    "SELECT name, hex(pin), new_pin_until FROM holder",
    "SELECT serial, state, last_step, granted_step, drift, wrong_pins, used_at FROM token",
    *(f"SELECT * FROM {table}" for table in ("origin", "failure", "request")),
    *(f"SELECT count(*), max(id) FROM {table}" for table in ("recovery", "session_grant", "audit", "stranger")),
]


def look(host: Host, user: str) -> tuple[dict[str, str], list[int], int]:
    """What a user reaches, what they are told about others, and about themselves."""
    shut, others, own = json.loads(host.run("runuser", "-u", user, "--", "python3", "-c", LOOK, user).stdout)
    return shut, others, own


def test_an_ordinary_user_reaches_their_own_account_and_nothing_else(host: Host) -> None:
    host.give_fob("alice", "K-hostile", kind="hotp")
    try:
        before = [host.in_store(statement) for statement in ROWS]
        shut, others, own = look(host, "bob")
        assert set(shut.values()) == {"PermissionError"}, shut
        assert (others, own) == ([6], 0)  # PAM_PERM_DENIED
        assert [host.in_store(statement) for statement in ROWS] == before
        shut, _, own = look(host, "root")  # all of it is there, for root
        assert (set(shut.values()), own) == ({"open"}, 0), shut
    finally:
        host.arenactl("token", "unassign", "K-hostile")
