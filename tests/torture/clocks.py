"""A host whose clocks a test moves: a real arenad over its real socket, with the injected clocks of stepped_arenad.py.

Truth is the time that passes for people and their keys. The host's wall clock is a number that anybody may set, its boot
clock goes on with the truth, from wherever it began.
"""

import mmap
import re
import struct
import time
from pathlib import Path

from arena import Service
from attrs import define, field
from crowd import PATIENT, PIN, REF, Person

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

LAUNCHER = str(Path(__file__).with_name("stepped_arenad.py"))
ALARM = re.compile(r"^<2>the clock was stepped", re.MULTILINE)
PERIOD = 60
STEP = 60.0  # seconds: more is told
LOOKS = "40000"  # microseconds of a watchdog: arenad looks at its clock twice in each


class Clock:
    """Wall and boot time of one host, in a file that its arenad reads; truth beside them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_bytes(bytes(16))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 0)
        self.truth, self.boot = float(int(time.time())), 1000.0
        self.wall = self.truth
        self._show()

    def pass_by(self, seconds: float, rate: float = 0.0) -> None:
        """Let time go by, awake or asleep; rate: seconds a second by which the wall clock is fast."""
        self.truth += seconds
        self.boot += seconds
        self.wall += seconds * (1 + rate)
        self._show()

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall += seconds
        self._show()

    def set(self, wall: float) -> None:
        """Set the wall clock to a time, in seconds since 1970."""
        self.step(wall - self.wall)

    def start_over(self) -> None:
        """The machine was started again: its boot clock begins anew."""
        self.boot = 1.0
        self._show()

    def _show(self) -> None:
        self._shared[:16] = struct.pack("dd", self.wall, self.boot)


@define
class Verdict:
    """How a login ended: PAM's code, the reference of a denial, and the steps whose codes were typed."""

    code: int
    ref: str
    steps: list[int]

    @property
    def granted(self) -> bool:
        return self.code == 0


@define(eq=False)
class Fob:
    """A person's key, with a clock of its own: `ahead` of the truth, or, of a phone that trusts the host, the host's."""

    person: Person
    ahead: float = 0.0
    follows: bool = False
    opened: set[int] = field(factory=set)  # steps whose codes opened

    def shows(self, clock: Clock) -> int:
        """The step on its display."""
        return int((clock.wall if self.follows else clock.truth + self.ahead) // PERIOD)


class Host:
    """arenad with a clock that is not the machine's. fault: what is planted in it."""

    def __init__(self, folder: Path, extra: str = PATIENT, fault: str = "none") -> None:
        folder.mkdir(exist_ok=True)
        self.clock = Clock(folder / "clock")
        self.service = Service(folder, extra)
        self.service.program = (LAUNCHER, str(self.clock.file), fault)
        self.service.environment = {"WATCHDOG_USEC": LOOKS}
        self.service.start()

    @property
    def alarms(self) -> int:
        """How many steps arenad told the journal."""
        return len(ALARM.findall(self.service.journal.read_text()))

    def look(self) -> None:
        """Wait until arenad has looked at its clock; one look may have begun before."""
        self.service.hear()
        for _ in range(2):
            self.service.wait_for_state("WATCHDOG=1")

    def restart(self) -> None:
        """As a machine does."""
        self.service.stop()
        self.service.start()

    def log_in(self, fob: Fob, step: int | None = None, pin: str = PIN, address: str = "", code: str = "") -> Verdict:
        """Log in with the code of a step, or what the display shows; the next code, if asked for it, comes in its time."""
        typed = [fob.shows(self.clock) if step is None else step]
        said: list[str] = []

        def ask(style: Style, text: str) -> Secret | None:
            if style not in (Style.HIDDEN, Style.SHOWN):
                said.append(text)
                return None
            if text.startswith("PIN"):
                return Secret(pin.encode())
            if "next code" in text:
                self.clock.pass_by(PERIOD)
                typed.append(typed[-1] + 1)
            return Secret((code or fob.person.code(max(typed[-1], 0))).encode())

        start = Start(Operation.AUTHENTICATE, "sshd" if address else "login", fob.person.name, rhost=address)
        done = self.service.client().converse(start, ask)
        assert done.code in (0, 7), (done, said, self.service.journal.read_text()[-2000:])
        refs = REF.findall("".join(said))
        verdict = Verdict(done.code, refs[0] if refs else "", typed)
        if verdict.granted and not code:
            again = fob.opened & {typed[-1]}
            assert not again, f"the code of step {typed[-1]} of {fob.person.name} opened twice"
            fob.opened.add(typed[-1])
        return verdict

    def close(self) -> None:
        """End it."""
        self.service.close()
