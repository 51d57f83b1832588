"""Every denial does the same work on the store: the same statements in the same order, whatever the state of the account."""

from pathlib import Path

from arena import Service
from cases import CASES, REFERENCE
from stopwatch import SETTINGS, Stopwatch

TRACED = str(Path(__file__).with_name("traced_arenad.py"))
# Where a denial is noted: names that are no holder's have a table of their own.
TABLES = ("INSERT INTO audit ", "INSERT INTO stranger ")


def test_every_denial_runs_the_same_statements(tmp_path: Path) -> None:
    noted = tmp_path / "statements"
    noted.touch()
    service = Service(tmp_path, SETTINGS)
    service.program = (TRACED,)
    service.environment["ARENA_STATEMENTS"] = str(noted)
    service.start()
    try:
        stopwatch = Stopwatch(service, CASES, seed=1)
        seen = {}
        for case in CASES:
            for which in ("first", "next"):  # without what an earlier attempt leaves behind, and with it
                begin = noted.stat().st_size
                stopwatch.attempt(case, restored=which == "first")
                seen[case.what, which] = _statements(noted.read_text()[begin:])
    finally:
        service.close()
    expected = seen[REFERENCE.what, "first"]
    assert len(expected) > 10
    different = {
        key: [line for line in (*found, *expected) if found.count(line) != expected.count(line)] or "in another order"
        for key, found in seen.items()
        if found != expected
    }
    assert not different


def _statements(text: str) -> list[str]:
    return ["INSERT a denial" if line.startswith(TABLES) else line for line in text.splitlines()]
