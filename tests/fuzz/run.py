"""All fuzzers for so many seconds in sum: `run.py SECONDS [NAME…]`. Exits with 1 if one found something.

libFuzzer drives the C sources, atheris what Python reads (parsers.py). Each begins with its folder of corpus/, which is
replayed whole however few the seconds; what it learns beyond stays in build/fuzz/grown, and a finding in build/fuzz/found.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build/fuzz"
C_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Ic_shim"]
SANITIZE = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
WRAPPED = ("socket", "connect", "pam_syslog", "pam_set_item", "pam_get_item")
MODULE = ["c_shim/wire.c", "c_shim/channel.c", "c_shim/pam_arena.c"]
C_TARGETS = {
    "wire": ["c_shim/wire.c"],
    "module": [*MODULE, "-lpam", *(f"-Wl,--wrap={name}" for name in WRAPPED)],
}
PYTHON_TARGETS = ("datagram", "config", "typing", "ssh_key", "session")
LONGEST = {"module": 9000, "session": 9000, "config": 9000}  # bytes of an input; of others, a datagram and a little
CORPUS = {"datagram": "wire"}  # the same bytes
SLOWEST = 25  # seconds for one input, on a machine that does much else


@frozen
class Outcome:
    """How one fuzzer ended."""

    name: str
    found: bool
    line: str
    output: str


def command(name: str) -> list[str]:
    """What starts a fuzzer; a C one is built first."""
    if name in PYTHON_TARGETS:
        return [sys.executable, str(HERE / "attack.py"), name]
    made = BUILD / name
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["clang", *C_FLAGS, *SANITIZE, f"tests/fuzz/{name}.c", *C_TARGETS[name], "-o", str(made)], cwd=ROOT, check=True
    )
    return [str(made)]


def fuzz(name: str, seconds: float, learnt: Path = BUILD / "grown") -> Outcome:
    """Run one fuzzer; what it learns goes to `learnt`, for the next run to begin with."""
    grown, found = learnt / name, BUILD / "found"
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    corpus = HERE / "corpus" / CORPUS.get(name, name)
    options = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST.get(name, 4200)}", f"-timeout={SLOWEST}"]
    options += ["-rss_limit_mb=4096", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1"]
    began = time.monotonic()
    done = subprocess.run(
        [*command(name), str(grown), str(corpus), *options],
        cwd=ROOT,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    runs = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    files = len(list(corpus.iterdir()))
    told = f"{runs[1] if runs else '?'} inputs, {files} of them from the corpus, in {time.monotonic() - began:.0f} s"
    return Outcome(
        name, done.returncode != 0, f"{name}: {told}: " + ("FOUND" if done.returncode else "nothing found"), done.stdout
    )


def main(seconds: str, *names: str) -> int:
    """Run fuzzers one after another."""
    chosen = names or (*C_TARGETS, *PYTHON_TARGETS)
    failed = False
    for name in chosen:
        outcome = fuzz(name, float(seconds) / len(chosen))
        print(outcome.line, flush=True)
        if outcome.found:
            failed = True
            print(outcome.output[-6000:])
            print(
                f"The input is in {BUILD}/found; once it is mended, it belongs into tests/fuzz/corpus/{CORPUS.get(name, name)}."
            )
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("run.py SECONDS [NAME…]")
    sys.exit(main(*sys.argv[1:]))
