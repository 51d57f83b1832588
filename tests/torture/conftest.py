"""Lets the tests of this folder find crowd.py and powerlog.py, and those of tests/service: tests/ is no package."""

import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "service")]


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory, where a sync costs nothing: for attacks of thousands of commits."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def seeded() -> random.Random:
    """Chance, whose seed a failure shows."""
    seed = random.randrange(2**32)
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users may go through: pytest's own are shut to them, and shut again by each run that starts."""
    with tempfile.TemporaryDirectory(prefix="arena-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)
