"""Fixtures that several folders of tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("service")))
from arena import Service  # found by the line above: tests/ is no package


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running arenad that denies without delay."""
    one = Service(tmp_path, '[login]\ndeny_after = "0"\n')
    one.start()
    yield one
    one.close()
