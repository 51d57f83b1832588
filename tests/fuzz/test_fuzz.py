"""The short form of `make fuzz T=seconds`: the whole corpus, in which everything that was found stays, and a little more."""

from collections.abc import Callable
from pathlib import Path

import pytest
from run import API, EVERY, HERE, corpus_of, fuzz

SECONDS = 2  # for each fuzzer, beside its start


@pytest.mark.parametrize("name", [name for name in EVERY if name != API])  # that one is tests/service/test_openapi.py
def test_a_fuzzer_finds_nothing(name: str, tmp_path: Path, count: Callable[[str], None]) -> None:
    outcome = fuzz(name, SECONDS, tmp_path)
    assert not outcome.found, outcome.output[-6000:]
    count(outcome.line)


def test_every_fuzzer_has_a_corpus_and_no_corpus_is_left_over() -> None:
    wanted = {corpus_of(name) for name in EVERY if name != API}
    assert {folder.name for folder in (HERE / "corpus").iterdir() if any(folder.iterdir())} == wanted
