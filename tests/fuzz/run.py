"""All fuzzers for so many seconds in sum: `run.py SECONDS [NAME…]`. Exits with 1 if one found something.

libFuzzer and AFL++ drive the C sources, atheris what Python reads (parsers.py), schemathesis the desk's HTTP interface.
Each begins with its folder of corpus/, which is replayed whole however few the seconds; what it learns beyond stays in
build/fuzz/grown, and a finding in build/fuzz/found. schemathesis has the interface's description instead.
"""

import os
import re
import shutil
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
AFL_TARGETS = tuple(f"afl_{name}" for name in C_TARGETS)  # the same harnesses once more
PYTHON_TARGETS = ("datagram", "config", "dates", "typing", "ssh_key", "session", "importers", "backup", "export")
API = "api"
EVERY = (*C_TARGETS, *AFL_TARGETS, *PYTHON_TARGETS, API)
# Bytes of an input; of others, a datagram and a little.
LONGEST = dict.fromkeys(("module", "session", "config", "importers", "backup", "export"), 9000)
ROOM = {"importers": 1024, "backup": 1024, "export": 1024}  # MiB that the process may take; others: 4096
CORPUS = {"datagram": "wire"}  # the same bytes
SLOWEST = 25  # seconds for one input, on a machine that does much else


def corpus_of(name: str) -> str:
    """The folder of corpus/ that a fuzzer begins with."""
    return CORPUS.get(name, name.removeprefix("afl_"))


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
    made, harness = BUILD / name, name.removeprefix("afl_")
    BUILD.mkdir(parents=True, exist_ok=True)
    # AFL++'s compiler makes a harness of libFuzzer's kind run on in one process (persistent mode).
    compiler = ["afl-clang-fast", "-fsanitize=fuzzer"] if name in AFL_TARGETS else ["clang", *SANITIZE]
    subprocess.run(
        [*compiler, *C_FLAGS, f"tests/fuzz/{harness}.c", *C_TARGETS[harness], "-o", str(made)],
        cwd=ROOT,
        env=os.environ | {"AFL_QUIET": "1", "AFL_USE_ASAN": "1", "AFL_USE_UBSAN": "1"},
        check=True,
    )
    return [str(made)]


def fuzz_afl(name: str, seconds: float, learnt: Path) -> Outcome:
    """Run AFL++ on a harness. It refuses a corpus in which something crashes: that is a finding too."""
    found, out = BUILD / "found", learnt / name
    found.mkdir(parents=True, exist_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    corpus = HERE / "corpus" / corpus_of(name)
    began = time.monotonic()
    # No core files, no cores of a processor, no speed of it are ours to set; it goes on where it stopped.
    quiet = ("NO_UI", "NO_COLOR", "NO_AFFINITY", "SKIP_CPUFREQ", "I_DONT_CARE_ABOUT_MISSING_CRASHES", "AUTORESUME")
    done = subprocess.run(
        ["afl-fuzz", "-V", str(max(1, round(seconds))), "-t", "5000", "-i", str(corpus), "-o", str(out), "--", *command(name)],
        cwd=ROOT,
        env=os.environ | {f"AFL_{word}": "1" for word in quiet} | {"AFL_HANG_TMOUT": str(SLOWEST * 1000)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    inputs = [one for kind in ("crashes", "hangs") for one in out.glob(f"default/{kind}/id*")]
    for one in inputs:
        shutil.copy(one, found / f"{name}-{one.parent.name}-{one.name.split(',')[0].replace(':', '-')}")
    stats = out / "default/fuzzer_stats"
    runs = re.search(r"execs_done\s*: (\d+)", stats.read_text()) if stats.exists() else None
    failed = done.returncode != 0 or bool(inputs) or runs is None
    return _outcome(name, failed, runs[1] if runs else "?", len(list(corpus.iterdir())), time.monotonic() - began, done.stdout)


def fuzz_api(seconds: float) -> Outcome:
    """Run schemathesis on a real desk for so long: the test that holds the interface to its description."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "whatever_it_is_asked", "tests/service/test_openapi.py"],
        cwd=ROOT,
        env=os.environ | {"ARENA_API_SECONDS": str(max(1, round(seconds)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    runs = re.search(r"(\d+) requests", done.stdout)
    return _outcome(API, done.returncode != 0, runs[1] if runs else "?", 0, time.monotonic() - began, done.stdout)


def _outcome(name: str, found: bool, runs: str, files: int, seconds: float, output: str) -> Outcome:
    told = f"{runs} inputs, {files} of them from the corpus, in {seconds:.0f} s"
    return Outcome(name, found, f"{name}: {told}: " + ("FOUND" if found else "nothing found"), output)


def fuzz(name: str, seconds: float, learnt: Path = BUILD / "grown") -> Outcome:
    """Run one fuzzer; what it learns goes to `learnt`, for the next run to begin with."""
    if name in AFL_TARGETS:
        return fuzz_afl(name, seconds, learnt)
    if name == API:
        return fuzz_api(seconds)
    grown, found = learnt / name, BUILD / "found"
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    corpus = HERE / "corpus" / corpus_of(name)
    options = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST.get(name, 4200)}", f"-timeout={SLOWEST}"]
    options += [f"-rss_limit_mb={ROOM.get(name, 4096)}", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1"]
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
    return _outcome(name, done.returncode != 0, runs[1] if runs else "?", files, time.monotonic() - began, done.stdout)


def main(seconds: str, *names: str) -> int:
    """Run fuzzers one after another."""
    chosen = names or EVERY
    failed = False
    for name in chosen:
        outcome = fuzz(name, float(seconds) / len(chosen))
        print(outcome.line, flush=True)
        if outcome.found:
            failed = True
            print(outcome.output[-6000:])
            print(
                f"The input is in {BUILD}/found; once it is mended, it belongs into tests/fuzz/corpus/{corpus_of(name)}."
                if name != API
                else "What was asked stands above; once it is mended, it belongs into a test of tests/service."
            )
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("run.py SECONDS [NAME…]")
    sys.exit(main(*sys.argv[1:]))
