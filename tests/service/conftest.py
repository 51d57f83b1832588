"""Fixtures of the tests of mail."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from post import Office, Post


@pytest.fixture
def post() -> Iterator[Post]:
    one = Post()
    yield one
    one.close()


@pytest.fixture
def office(tmp_path: Path, post: Post, caplog: pytest.LogCaptureFixture) -> Office:
    caplog.set_level(logging.INFO, "arenad")
    return Office(tmp_path, post)
