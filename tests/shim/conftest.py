"""Fixtures of the module's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stage import Peer, Stage  # found by the line above: tests/ is no package


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A service of libpam that calls the module as built."""
    return Stage(tmp_path)


@pytest.fixture
def peer(stage: Stage) -> Iterator[Peer]:
    """What listens on the stage's socket; as root, because the tests run as root."""
    one = Peer(stage.socket_path)
    yield one
    one.finish()
    one.close()
