"""Tries what a service must not be able to do, from wherever it runs; prints what came of each try as JSON.

Runs on the host, with nothing but Python's own library; GIVEN stands before this text (sandboxes.py). Each try is a process
of its own: "done", the name of the error, or of the signal that ended it.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

GIVEN: dict = globals().get("GIVEN", {})
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": (248, 298, 321, 323, 425, 438), "aarch64": (217, 241, 280, 282, 425, 438)}
ADD_KEY, PERF_EVENT_OPEN, BPF, USERFAULTFD, IO_URING_SETUP, PIDFD_GETFD = NUMBERS[os.uname().machine]
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
ADDR_NO_RANDOMIZE = 0x40000
TRIES: dict[str, Callable[[], object]] = {}


def attempt(what: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def keep(function: Callable[[], object]) -> Callable[[], object]:
        TRIES[what] = function
        return function

    return keep


def libc(name: str, *arguments: object) -> int:
    """A function of libc. OSError where it returns -1."""
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    function = getattr(LIBC, name)
    function.restype = ctypes.c_long if name in ("syscall", "ptrace", "process_vm_readv") else ctypes.c_int
    if (result := function(*given)) == -1:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def reads(path: str) -> Callable[[], object]:
    return lambda: os.read(os.open(path, os.O_RDONLY), 1)


def writes(path: str, flags: int = 0) -> Callable[[], object]:
    return lambda: os.close(os.open(path, os.O_WRONLY | os.O_NOCTTY | flags, 0o600))


def makes(path: str) -> Callable[[], object]:
    def make() -> None:
        writes(path, os.O_CREAT | os.O_EXCL)()
        os.unlink(path)

    return make


def own_file() -> str:
    path = f"{GIVEN['own']}/probe-{os.getpid()}"
    with open(path, "wb") as file:
        file.write(bytes(mmap.PAGESIZE))
    return path


# The network

for family in ("INET", "INET6", "NETLINK"):
    number = getattr(socket, f"AF_{family}")
    TRIES[f"make a socket of AF_{family}"] = lambda number=number: socket.socket(number, socket.SOCK_DGRAM)
TRIES["make a socket of AF_PACKET"] = lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
TRIES["connect to 127.0.0.1"] = lambda: socket.create_connection(("127.0.0.1", GIVEN["port"]), 5)
TRIES["connect to ::1"] = lambda: socket.create_connection(("::1", GIVEN["port"]), 5)
TRIES["connect to the host's abstract socket"] = lambda: socket.socket(socket.AF_UNIX).connect("\0" + GIVEN["abstract"])
TRIES["connect to arenad"] = lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect("/run/arena/auth.sock")
TRIES["make an io_uring"] = lambda: libc("syscall", IO_URING_SETUP, 4, ctypes.create_string_buffer(256))

# Files and devices

for what, path in GIVEN["reads"].items():
    TRIES[f"read {what}"] = reads(path)
for what, path in GIVEN["writes"].items():
    TRIES[f"write to {what}"] = writes(path)
for folder in GIVEN["makes"]:
    TRIES[f"make a file in {folder}"] = makes(f"{folder}/arena-probe")
TRIES["list the store's folder"] = lambda: os.listdir("/var/lib/arena")
TRIES["open a device"] = writes(GIVEN["device"])
TRIES["make a cgroup"] = lambda: (os.mkdir("/sys/fs/cgroup/arena-probe"), os.rmdir("/sys/fs/cgroup/arena-probe"))


@attempt("make a device")
def _() -> None:
    path = f"{GIVEN['own']}/probe-device"
    os.mknod(path, 0o20600, os.makedev(1, 3))
    os.unlink(path)


@attempt("make a setuid file")
def _() -> None:
    path = own_file()
    try:
        os.chmod(path, 0o4755)
    finally:
        os.unlink(path)


# Programs and memory


def runs_in(folder: str) -> Callable[[], object]:
    def run() -> None:
        path = f"{folder}/probe-{os.getpid()}"
        with open(path, "w") as file:
            file.write("#!/bin/sh\nexit 0\n")
        try:
            os.chmod(path, 0o755)
            subprocess.run([path], check=True)
        finally:
            os.unlink(path)

    return run


for what, folder in GIVEN["writable"].items():
    TRIES[f"run a program out of {what}"] = runs_in(folder)


@attempt("run a program from memory")
def _() -> None:
    program = os.memfd_create("probe", 0)
    os.write(program, b"#!/bin/sh\nexit 0\n")
    subprocess.run([f"/proc/self/fd/{program}"], pass_fds=[program], check=True)


@attempt("become root by a setuid program")
def _() -> None:
    who = subprocess.run([GIVEN["setuid"], "-u"], check=True, capture_output=True, text=True).stdout
    if who != "0\n":
        raise PermissionError(errno.EPERM, "gained nothing")


@attempt("map a file of its own as a program")
def _() -> None:
    path = own_file()
    try:
        mmap.mmap(os.open(path, os.O_RDONLY), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    finally:
        os.unlink(path)


TRIES["map memory that is written and run"] = lambda: mmap.mmap(
    -1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
)


@attempt("run memory that was written")
def _() -> None:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc("mprotect", ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC)


# Other processes

TRIES["signal another user's process"] = lambda: os.kill(GIVEN["other"], 0)
for whose in ("other", "same"):

    def trace(pid: int = GIVEN[whose]) -> None:
        libc("ptrace", PTRACE_ATTACH, pid, 0, 0)
        os.waitpid(pid, 0x40000000)  # __WALL
        libc("ptrace", PTRACE_DETACH, pid, 0, 0)

    def read_memory(pid: int = GIVEN[whose]) -> None:
        byte = ctypes.create_string_buffer(1)
        here, there = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1), (ctypes.c_size_t * 2)(1, 1)
        try:
            libc("process_vm_readv", pid, here, 1, there, 1, 0)
        except OSError as error:
            if error.errno != errno.EFAULT:  # nothing is at 1; but it was looked for
                raise

    name = "another user's process" if whose == "other" else "its own user's other process"
    TRIES[f"trace {name}"] = trace
    TRIES[f"read the memory of {name}"] = read_memory
    TRIES[f"take a descriptor of {name}"] = lambda pid=GIVEN[whose]: libc("syscall", PIDFD_GETFD, os.pidfd_open(pid), 1, 0)
TRIES["see that another user's process is there"] = reads(f"/proc/{GIVEN['other']}/stat")
TRIES["see another user's environment"] = reads(f"/proc/{GIVEN['other']}/environ")
TRIES["see the machine in /proc"] = reads("/proc/cpuinfo")

# The kernel

TRIES["become root"] = lambda: os.setresuid(0, 0, 0)
TRIES["make a user namespace"] = lambda: libc("unshare", CLONE_NEWUSER)
TRIES["make a mount namespace"] = lambda: libc("unshare", CLONE_NEWNS)
TRIES["change its root"] = lambda: os.chroot("/usr")
TRIES["name the host"] = lambda: socket.sethostname(socket.gethostname())
TRIES["ask the kernel's clock for its settings"] = lambda: libc("adjtimex", ctypes.create_string_buffer(512))
TRIES["run in real time"] = lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
TRIES["switch address randomisation off"] = lambda: libc("personality", ADDR_NO_RANDOMIZE)
TRIES["keep a key in the kernel"] = lambda: libc("syscall", ADD_KEY, b"user", b"arena-probe", b"x", 1, -2)
TRIES["make a BPF map"] = lambda: libc("syscall", BPF, 0, (ctypes.c_uint32 * 16)(2, 4, 4, 1), 64)
TRIES["count events of the processor"] = lambda: libc("syscall", PERF_EVENT_OPEN, (ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0)
TRIES["handle page faults of its own"] = lambda: libc("syscall", USERFAULTFD, 0)


@attempt("mount a file system")
def _() -> None:
    libc("mount", b"probe", b"/mnt", b"tmpfs", 0, None)
    libc("umount", b"/mnt")


def outcome(function: Callable[[], object]) -> str:
    """What came of a try, in a process of its own."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        signal.alarm(10)
        word = "done"
        try:
            function()
        except OSError as error:
            word = errno.errorcode[error.errno] if error.errno else repr(error)
        except BaseException as error:  # whatever else goes wrong is told, and fails the test
            word = repr(error)
        with contextlib.suppress(OSError):
            os.write(writing, word.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said


def facts() -> dict[str, str]:
    """What the kernel says of this process: capabilities, no_new_privs, seccomp."""
    with open("/proc/self/status") as status:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    profile = ""
    with contextlib.suppress(OSError), open("/proc/self/attr/apparmor/current") as current:
        profile = current.read().strip()
    return {"AppArmor": profile} | {
        name: lines[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    }


ENDS = {name: outcome(function) for name, function in TRIES.items()}
print("PROBE", json.dumps({"tries": ENDS, "facts": facts()}), flush=True)
