"""arenad whose clocks are two numbers in a file that a test moves: wall time and boot time; the machine's stay as they are.

`stepped_arenad.py FILE FAULT`, then arenad's own arguments. FAULT plants one that the attack must find: `floor` lets a step
back of the clock lower what was used, `watch` looks at no clock, `waits` leaves waits where a step put them; `none`.
argon2id costs next to nothing, as in cheap_arenad.py.
"""

import functools
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from arenad import clock
from arenad.__main__ import main
from arenad.store import accounts, stepped
from arenad.store.schema import token

from pam_arena import pin

with Path(sys.argv.pop(1)).open("rb") as file:
    shared = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
fault = sys.argv.pop(1)
clock_of_kernel = time.clock_gettime


def read(which: int) -> float:
    """0: wall time; 8: boot time."""
    seconds: float = struct.unpack_from("d", shared, which)[0]
    return seconds


time.time = lambda: read(0)
time.clock_gettime = lambda which: read(8) if which == time.CLOCK_BOOTTIME else clock_of_kernel(which)
pin.Hasher = functools.partial(pin.Hasher, time_cost=1, memory_kib=8)  # type: ignore[misc,assignment]  # what is planted


def let_the_floor_fall(connection: sa.engine.Connection, slot: accounts.Slot, step: int, at: int) -> bool:
    """As `spend`, but a code that is later than now counts for nothing."""
    here = at // slot.mechanism.period + slot.drift + 20
    lower = sa.update(token).where(token.c.id == slot.id, token.c.last_step > here)
    connection.execute(lower.values(last_step=-1))
    return spend(connection, slot, step, at)


if fault == "floor":
    spend = accounts.spend
    from arenad.login import settle

    settle.spend = let_the_floor_fall
elif fault == "watch":
    clock.StepWatch.seconds = lambda self: 0.0  # type: ignore[method-assign]  # planted
elif fault == "waits":
    from arenad.login import timekeeper

    def settle_nothing(*_: Any) -> stepped.Settled:
        """What is written is not put right."""
        return stepped.Settled(0, 0, 0)

    timekeeper.settle_step = settle_nothing
else:
    assert fault == "none"
sys.exit(main())
