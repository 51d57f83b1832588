"""Fixtures of the tests of mail and of the desk."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from desk_service import DeskService
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


@pytest.fixture
def desk(service: Service) -> Iterator[DeskService]:
    one = DeskService(service)
    yield one
    one.close()
