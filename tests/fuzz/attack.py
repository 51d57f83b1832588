"""Runs atheris on one of PARSERS: `attack.py NAME`, then libFuzzer's own arguments. A crash is a finding."""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["arenad", "pam_arena"]):
    from parsers import PARSERS

wanted = sys.argv.pop(1)
atheris.Setup(sys.argv, next(one.attack for one in PARSERS if one.name == wanted))
atheris.Fuzz()
