"""Lets the tests of this folder find run.py: tests/ is no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
