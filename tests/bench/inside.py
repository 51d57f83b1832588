"""Runs inside the guest as root: what is measured there without PAM. Prints one JSON document.

Usage: inside.py argon2 | sync | prompts COUNT
"""

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from pam_arena import protocol
from pam_arena.pin import Hasher, verify
from pam_arena.protocol import Operation
from pam_arena.wire import Prompt, Start, decode, encode

TIMES = 100
SECONDS = 4.0  # of argon2id on all cores
AT_ONCE = 500  # connections opened before their prompts are read


def argon2() -> dict[str, float]:
    """Milliseconds of one PIN's argon2id alone, and how many a second all cores do."""
    hashed = Hasher().hash("2846", os.urandom(16))

    def timed(_: object = None) -> float:
        begun = time.perf_counter()
        assert verify(hashed, "2846")
        return (time.perf_counter() - begun) * 1000

    alone = [timed() for _ in range(TIMES)]
    end = time.perf_counter() + SECONDS

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            timed()
            done += 1
        return done

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        total = sum(pool.map(work, range(cores)))
    return {"ms": statistics.median(alone), "rate": total / (time.perf_counter() - end + SECONDS)}


def sync() -> dict[str, float]:
    """Milliseconds of 8 KiB appended and synced, where the store is."""
    path, took = "/var/lib/arena/bench-sync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(TIMES):
            begun = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begun) * 1000)
    os.unlink(path)
    return {"ms": statistics.median(took)}


def resident(pid: int) -> dict[str, float]:
    """A process's memory in MiB: what is resident, and the most that ever was."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {"rss": int(fields["VmRSS"].split()[0]) / 1024, "peak": int(fields["VmHWM"].split()[0]) / 1024}


def prompts(count: int) -> dict[str, float]:
    """arenad's memory with `count` people at the first prompt; 0: as it is."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, max(count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    pid = int(subprocess.run(["systemctl", "show", "-P", "MainPID", "arenad"], capture_output=True, check=True).stdout)
    lines: list[socket.socket] = []
    for begin in range(0, count, AT_ONCE):
        fresh = []
        for n in range(begin, min(begin + AT_ONCE, count)):
            line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            line.settimeout(10)
            line.connect(protocol.SOCKET)
            line.send(encode(Start(Operation.AUTHENTICATE, "bench-arena", f"h{n}")))
            fresh.append(line)
        for line in fresh:
            assert isinstance(decode(line.recv(protocol.DATAGRAM_MAX)), Prompt)
        lines += fresh
    time.sleep(0.5)
    return resident(pid)


PARTS = {"argon2": argon2, "sync": sync, "prompts": prompts}
print(json.dumps(PARTS[sys.argv[1]](*map(int, sys.argv[2:]))))
