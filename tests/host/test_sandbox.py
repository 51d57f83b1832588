"""The sandbox of the services holds: what is tried from inside fails, and their AppArmor profiles say what they do and no more.

A try that fails inside must be one that others can do: the service's user without the sandbox, or root.
"""

import re
from collections.abc import Callable, Iterator
from socket import AddressFamily, SocketKind

import pytest
from compiled import Profile, read_profiles
from holders import PIN, Holder
from hosts import AUTH_ERR, SUCCESS, Host
from mailserver import PORT, start_server, stop_server, wait_until
from sandboxes import MAKES, OWN, PROFILES, READS, SETUID, WRITES, Outcome, beside, has_apparmor, inside, yard
from tracing import traced

UNITS = {"arenad": "_arena", "arena-desk": "_arena", "arena-mail": "_arena-mail"}
# tenths, as `systemd-analyze security` has them; arena-mail's network makes the difference
EXPOSURE = {"arenad": 4, "arena-desk": 4, "arena-mail": 11}
# What each try ends in, from inside.
ENDS = {
    "EAFNOSUPPORT": (
        *(f"make a socket of AF_{family}" for family in ("INET", "INET6", "NETLINK", "PACKET")),
        *(f"connect to {address}" for address in ("127.0.0.1", "::1")),
    ),
    "ECONNREFUSED": ("connect to the host's abstract socket",),  # its network has none
    "ENOENT": (
        *("read a file in /tmp", "read root's environment", "read root's memory map"),
        *("see that another user's process is there", "see another user's environment", "see the machine in /proc"),
    ),
    "EROFS": (
        *("write to a file that anyone may write to", "make a file in /etc", "make a file in /usr/share/arenad"),
        *("make a file in /etc/arena/arena.toml.d", "make a file in /etc/apparmor.d", "make a file in /var/log"),
        "make a cgroup",
    ),
    "EACCES": (
        *("read /etc/shadow", "read a file in somebody's home", "read shared memory", "read the sealed master key"),
        *("read the host's key", "make a file in /usr/bin", "make a file in /run/arena", "make a file in /root"),
        *("run a program out of its own folder", "run a program out of /tmp", "run a program out of /var/tmp"),
        *("run a program out of /dev/shm", "run a program out of /var/spool/arena/out"),
    ),
    "EPERM": (
        *("make an io_uring", "open a device", "make a device", "make a setuid file", "run a program from memory"),
        *("become root by a setuid program", "map a file of its own as a program", "signal another user's process"),
        *("trace another user's process", "read the memory of another user's process"),
        *("take a descriptor of another user's process", "trace its own user's other process"),
        *("read the memory of its own user's other process", "take a descriptor of its own user's other process"),
        *("become root", "make a user namespace", "make a mount namespace", "change its root", "name the host"),
        *("ask the kernel's clock for its settings", "run in real time", "switch address randomisation off"),
        *("keep a key in the kernel", "make a BPF map", "count events of the processor", "handle page faults of its own"),
        "mount a file system",
    ),
    "EPERM|EACCES": ("map memory that is written and run", "run memory that was written"),  # seccomp's; the kernel's own
}
# What is a service's task, and so may succeed; for the others it ends as said.
STORE = ("read the store", "list the store's folder", "connect to arenad")
NETWORK = ("make a socket of AF_INET", "make a socket of AF_INET6", "connect to 127.0.0.1", "connect to ::1")
TASKS = {
    "arenad": {"read arenad's credential": "done", **dict.fromkeys(STORE, "done")},
    "arena-desk": {"read arenad's credential": "ENOENT", **dict.fromkeys(STORE, "done")},
    "arena-mail": {"read arenad's credential": "EACCES", **dict.fromkeys(STORE, "EACCES")}
    | dict.fromkeys((*NETWORK, "connect to the host's abstract socket"), "done"),
}
# What needs no more than a process of the same user: the sandbox alone refuses it.
ANYBODY = (
    *("make a socket of AF_INET", "make a socket of AF_INET6", "make a socket of AF_NETLINK", "connect to 127.0.0.1"),
    "connect to ::1",
    *("connect to the host's abstract socket", "connect to arenad", "make an io_uring", "read a file in somebody's home"),
    *("read a file in /tmp", "read shared memory", "write to a file that anyone may write to", "open a device"),
    *("make a setuid file", "run a program out of its own folder", "run a program out of /tmp"),
    "run a program out of /var/tmp",
    *("run a program out of /dev/shm", "run a program out of /var/spool/arena/out", "run a program from memory"),
    *("become root by a setuid program", "map a file of its own as a program", "map memory that is written and run"),
    *("run memory that was written", "trace its own user's other process", "read the memory of its own user's other process"),
    *("take a descriptor of its own user's other process", "see that another user's process is there"),
    *("see the machine in /proc", "make a user namespace", "ask the kernel's clock for its settings"),
    *("switch address randomisation off", "keep a key in the kernel"),
)
NO_CAPABILITY = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)


@pytest.fixture(scope="module")
def tried(host: Host) -> Iterator[Host]:
    """The host with everything on it that is tried."""
    host.install("apparmor", "strace", "python3-aiosmtpd")
    with yard(host):
        yield host


@pytest.fixture(scope="module")
def as_root(tried: Host) -> Outcome:
    """What root can do."""
    return beside(tried, "_arena", as_root=True)


def ends(unit: str) -> dict[str, str]:
    """How each try ends inside a unit: an error's name, more with | between, or "done"."""
    found = {name: end for end, names in ENDS.items() for name in names} | TASKS[unit]
    # Where AppArmor is asked first, it says EACCES.
    return {name: "EPERM|EACCES" if end == "EPERM" and has_apparmor() else end for name, end in found.items()}


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_that_is_tried_from_inside_succeeds(
    tried: Host, as_root: Outcome, unit: str, count: Callable[[str], None]
) -> None:
    anybody = beside(tried, UNITS[unit])
    found = inside(tried, unit, UNITS[unit])
    wanted = ends(unit)
    assert found.tries.keys() == wanted.keys()
    assert {name: end for name, end in found.tries.items() if end not in wanted[name].split("|")} == {}
    # The controls: each of them can be done by somebody, and most by anybody.
    assert {name: end for name, end in as_root.tries.items() if end != "done"} == {}
    assert {name: anybody.tries[name] for name in ANYBODY if anybody.tries[name] != "done"} == {}
    assert found.facts.items() >= {**NO_CAPABILITY, "NoNewPrivs": "1", "Seccomp": "2"}.items()
    assert anybody.facts["Seccomp"] == "0" and anybody.facts["CapBnd"] != "0" * 16
    allowed = sum(end == "done" for end in wanted.values())
    refused = sum(end != "done" for end in found.tries.values())
    count(
        f"{unit} on {tried.suite}: {refused} tries, 0 succeeded ({sum(end == 'done' for end in anybody.tries.values())} do"
        f" for the same user outside, all for root); {allowed} that are its task"
    )


def test_the_daemons_have_no_capability_and_run_under_seccomp_and_apparmor_where_there_is_any(tried: Host) -> None:
    tried.arenactl("status")  # starts the desk's
    for unit in ("arenad", "arena-desk"):
        pid = tried.run("systemctl", "show", "-P", "MainPID", unit).stdout.strip()
        status = tried.run("cat", f"/proc/{pid}/status").stdout
        for name, value in {**NO_CAPABILITY, "NoNewPrivs": "1", "Seccomp": "2"}.items():
            assert re.search(rf"^{name}:\s+{value}$", status, re.MULTILINE), (unit, name)
        if has_apparmor():
            assert tried.run("cat", f"/proc/{pid}/attr/apparmor/current").stdout == f"{unit} (enforce)\n"


def test_the_score_is_as_promised(tried: Host, count: Callable[[str], None]) -> None:
    for unit, most in EXPOSURE.items():
        done = tried.run("systemd-analyze", "security", "--no-pager", f"--threshold={most}", f"{unit}.service", check=False)
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
        assert found and done.returncode == 0, done.stdout + done.stderr
        count(f"{unit} on {tried.suite}: {found[1]}")


# --- AppArmor ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profiles(tried: Host) -> dict[str, Profile]:
    """The profiles as this release's parser compiles them."""
    host = tried
    host.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", PROFILES)
    binary = f"apparmor_parser --stdout --skip-cache --features-file=/etc/apparmor.d/abi/3.0 {PROFILES} >/root/arenad.compiled"
    host.shell(binary)
    return read_profiles((host.root / "root/arenad.compiled").read_bytes())


def test_each_unit_asks_for_its_profile_and_starts_without(host: Host, profiles: dict[str, Profile]) -> None:
    assert profiles.keys() == UNITS.keys()
    for unit in UNITS:
        assert host.run("systemctl", "show", "-P", "AppArmorProfile", unit).stdout.strip() in (f"-{unit}", unit)


def test_the_profiles_refuse_what_is_tried(profiles: dict[str, Profile]) -> None:
    for unit, profile in profiles.items():
        own = {"/var/lib/arena/arena.db", f"/run/credentials/{unit}.service/arena.key"} if unit != "arena-mail" else set()
        for owned in (True, False):
            allowed = {path for path in READS.values() if profile.allows(path, "r", owned)}
            assert allowed <= own | {"/proc/1/maps"}, unit  # abstractions/base has every maps; the kernel asks for ptrace
            written = [*WRITES.values(), *(f"{folder}/arena-probe" for folder in MAKES)]
            assert [path for path in written if profile.allows(path, "w", owned)] == []
            run = [SETUID, "/bin/sh", "/usr/bin/dash", "/tmp/probe", *(f"{folder}/probe" for folder in OWN.values())]
            assert [path for path in run if profile.allows(path, "x", owned)] == []
        wanted = {"AF_UNIX"} | ({"AF_INET", "AF_INET6"} if unit == "arena-mail" else set())
        streams = {family.name for family in AddressFamily if profile.allows_socket(family, SocketKind.SOCK_STREAM)}
        assert streams == wanted


def test_the_profiles_allow_all_that_the_services_do(
    host: Host, profiles: dict[str, Profile], count: Callable[[str], None]
) -> None:
    """Every file and socket of a first login, others, the desk's verbs and a mail: under strace, held against the profile."""
    mail = f'[mail]\nsmtp = "127.0.0.1:{PORT}"\nfrom = "arena@school.example"\n[service.arena-only]\ngrant = "8h"\n'
    start_server(host)
    host.run("systemctl", "stop", "arena-mail.path")  # its service is to start under strace, and to find mails then
    with host.configured(mail):
        with traced(host, "arenad", "") as login, traced(host, "arena-desk", "desk") as desk:
            address = work(host)
        with traced(host, "arena-mail", "mail") as sent:
            wait_until(host, f"[ $(grep -l '^X-RcptTo: {address}$' /var/tmp/mailbox/new/* | wc -l) -ge 2 ]")
    host.run("systemctl", "start", "arena-mail.path")
    stop_server(host)
    for unit, trace in {"arenad": login, "arena-desk": desk, "arena-mail": sent}.items():
        assert {"/var/lib/arena/arena.db"} & {path for path, _ in trace.uses} or unit == "arena-mail"
        missing = sorted((path, need) for path, need in trace.uses if not profiles[unit].allows(path, need))
        assert missing == [], f"{unit}: {missing}"
        families = {family for family, _ in trace.sockets}
        assert families <= ({"AF_UNIX"} if unit != "arena-mail" else {"AF_UNIX", "AF_INET", "AF_INET6"})
        for family, kind in trace.sockets:
            assert profiles[unit].allows_socket(AddressFamily[family], SocketKind[kind]), (unit, family, kind)
        count(f"{unit} on {host.suite}: {len(trace.uses)} uses of files, all in its profile")
    assert "AF_INET" in {family for family, _ in sent.sockets}
    # The control: the mail sender's profile has nothing of what the others do.
    assert ("/var/lib/arena/arena.db", "rw") in {use for use in login.uses if not profiles["arena-mail"].allows(*use)}


def work(host: Host) -> str:
    """What services are for; returns the address that the mails go to."""
    holder = Holder(host, kind="hotp")
    address = f"{holder.name}@school.example"
    host.arenactl("holder", "set", holder.name, "--mail", address)
    holder.enrol()
    assert host.authenticate(holder.name, PIN, holder.fob.fresh())[0] == SUCCESS
    assert host.authenticate(holder.name, PIN, "000000")[0] == AUTH_ERR
    assert host.authenticate("nobody-here", PIN, "000000")[0] == AUTH_ERR
    for words in ("status", "doctor", "metrics", "token list", f"holder show {holder.name}", "audit verify", "config show"):
        host.arenactl(*words.split(), check=False)
    host.arenactl("pin", "reset", holder.name, "--yes")
    host.run("runuser", "-u", holder.name, "--", "arena-key", "status")
    host.run("systemctl", "reload", "arenad")
    return address
