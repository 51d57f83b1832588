"""What arenad holds when nobody logs in: argon2's memory is given back, and what only a network needs is not there."""

import re
import time
from pathlib import Path

from arena import Service
from dialogues import PIN, Holder, grant, split

UNIT = Path(__file__).parents[2] / "packaging/debian/arenad.service"
HASH_KIB = 19 * 1024


def memory(service: Service) -> tuple[int, int]:
    """What it holds, and the most that it held, in KiB."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    most, now = re.findall(r"^Vm(?:HWM|RSS):\s+(\d+) kB", status, re.M)
    return int(now), int(most)


def wait_until_given_back(service: Service) -> None:
    end = time.monotonic() + 10
    while True:
        now, most = memory(service)
        if now < most - HASH_KIB * 0.8:
            return
        assert time.monotonic() < end, f"{now} KiB of {most} KiB at most are still held"
        time.sleep(0.1)


def test_what_a_hash_took_is_given_back_after_the_first_start_and_after_logins(tmp_path: Path) -> None:
    service = Service(tmp_path)
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("Environment=")]
    service.environment = dict(word.split("=", 1) for line in lines for word in line.removeprefix("Environment=").split())
    try:
        service.start()  # makes the decoys, whose PIN is hashed
        wait_until_given_back(service)
        alice = Holder(service)
        grant(service, alice.name, split(PIN, alice.code()))
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")  # type: ignore[union-attr]  # VmHWM from now on
        grant(service, alice.name, split(PIN, alice.code(1)))
        wait_until_given_back(service)
    finally:
        service.close()


def test_what_only_a_network_needs_is_not_loaded(service: Service) -> None:
    assert service.process is not None
    mapped = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "_sqlite3" in mapped
    assert not re.findall(r"_ssl\.|_greenlet\.", mapped)
