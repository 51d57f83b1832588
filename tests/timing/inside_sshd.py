"""Runs inside the guest as _arena: puts the cases into its store, or times denials through sshd.

Usage: inside_sshd.py enrol                            with the master key; prints the people
       inside_sshd.py time COUNT SEED <PEOPLE          prints the milliseconds of each case
"""

import gc
import json
import os
import random
import socket
import sys
import time
from collections import defaultdict
from contextlib import closing
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, "/usr/share/arenad")

from arenad.store.engine import open_store, store_path
from arenad.vault import Vault, read_master_key
from attrs import define, evolve
from cases import CASES, Case, Person, Restorer, enrol, make_people

URL = "sqlite:////var/lib/arena/arena.db"
# sshd itself replaces what is typed for a name that the system does not know; `no holder` is one that it does.
STRANGER = "unknown user"
SSHD_CASES = (*CASES, Case("no holder", "t-no-holder", "unknown-name", holder=False))
WARM = 2  # rounds that are not looked at


def dump(people: list[Person]) -> str:
    """People as one JSON document; their seeds are this guest's alone."""
    return json.dumps([[one.case.what, *(seed.hex() for seed in one.seeds)] for one in people])


def read(document: str) -> list[Person]:
    """The way back."""
    known = {case.what: case for case in SSHD_CASES}
    made = {one.case.what: one for one in make_people(SSHD_CASES)}
    return [
        evolve(made[what], case=known[what], seeds=tuple(map(bytes.fromhex, seeds))) for what, *seeds in json.loads(document)
    ]


@define
class Attempt:
    """One login by keyboard-interactive, and when its last answer left and the next word came. Times in ns."""

    pin: str
    code: str
    asked: int = 0
    answered: int = 0
    ended: int = 0
    said: str = ""

    def answer(self, title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        """What paramiko calls with each of sshd's requests."""
        now = time.perf_counter_ns()
        if not prompts:  # the denial's own text
            self.ended, self.said = self.ended or now, self.said + instructions + title
            return []
        self.asked += len(prompts)
        if self.asked == 1:
            return [self.pin]
        assert self.asked == 2 and not self.answered, prompts
        self.answered = time.perf_counter_ns()
        return [self.code]

    def failed(self) -> None:
        """sshd's own denial came."""
        self.ended = self.ended or time.perf_counter_ns()


def log_in(one: Person) -> float:
    """Milliseconds from the last answer to the denial, over a connection of its own."""
    import paramiko
    from paramiko.auth_handler import AuthHandler
    from paramiko.common import MSG_USERAUTH_FAILURE

    attempt = Attempt(*one.typed(time.time()))
    tables = [table for name, table in vars(AuthHandler).items() if isinstance(table, dict) and MSG_USERAUTH_FAILURE in table]
    assert len(tables) == 1, "paramiko is not the one that is known here"
    original: Any = AuthHandler._parse_userauth_failure

    def failed(handler: Any, message: Any) -> Any:
        attempt.failed()
        return original(handler, message)

    tables[0][MSG_USERAUTH_FAILURE] = failed
    with closing(socket.create_connection(("127.0.0.1", 22))) as line:
        transport = paramiko.Transport(line)
        try:
            transport.start_client(timeout=60)
            transport.auth_interactive(one.case.name, attempt.answer)
            raise AssertionError(f"{one.case.what}: this was to be denied")
        except paramiko.AuthenticationException:
            pass
        finally:
            transport.close()
            tables[0][MSG_USERAUTH_FAILURE] = original
    assert attempt.answered and attempt.ended, (one.case.what, attempt.asked)
    return (attempt.ended - attempt.answered) / 1e6


def time_all(count: int, seed: int, people: list[Person]) -> dict[str, list[float]]:
    """So many of each case, drawn in an order of its own each round."""
    restorer = Restorer(str(store_path(URL)), people)
    order, taken = random.Random(seed), defaultdict(list)
    gc.collect()
    gc.disable()
    for number in range(WARM + count):
        restorer.checkpoint()
        for one in order.sample(people, len(people)):
            restorer.restore(time.time())
            took = log_in(one)
            if number >= WARM:
                taken[one.case.what].append(took)
        gc.collect()
    _check(restorer, WARM + count)
    return taken


def _check(restorer: Restorer, rounds: int) -> None:
    """Each case was denied for its own reason, and no other."""
    reasons = restorer.reasons_by_name()
    for case in SSHD_CASES:
        # The name that the system does not know is in the audit as a keyed hash only; sshd types junk for it.
        if case.what != STRANGER:
            assert reasons.get(case.name) == {case.reason: rounds}, (case.what, reasons.get(case.name))


def main() -> None:
    """Do what the first word says."""
    if sys.argv[1] == "enrol":
        people = make_people(SSHD_CASES)
        with open_store(URL).begin() as connection:
            enrol(connection, Vault(read_master_key(os.environ["CREDENTIALS_DIRECTORY"])), people)
        print(dump(people))
    else:
        print(json.dumps(time_all(int(sys.argv[2]), int(sys.argv[3]), read(sys.stdin.read()))))


if __name__ == "__main__":
    main()
