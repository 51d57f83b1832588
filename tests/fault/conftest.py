"""Fixtures of the tests that break what the module stands on."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "shim")]
from application import DRIVER, compile_c  # noqa: E402 - found by the line above: tests/ is no package


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application, with what stands in for libc and libpam."""
    return compile_c(tmp_path_factory.mktemp("driver") / "driver", *DRIVER)
