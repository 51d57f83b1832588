"""Lets the tests of this folder find its modules, and those of tests/service: tests/ is no package."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "service")]
