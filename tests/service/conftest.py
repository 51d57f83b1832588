"""Fixtures of the tests of mail and of the desk."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad import sealedfile
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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskService]:
    """A desk for all tests of a module: those that want it empty empty it first (keys.empty)."""
    service = Service(tmp_path_factory.mktemp("house"), '[login]\ndeny_after = "0"\n[mail]\ndomain = "school.example"\n')
    service.start()
    one = DeskService(service)
    yield one
    one.close()
    service.close()


@pytest.fixture
def cheap_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id at its real cost is for the one test that says so: others open many files."""
    cheap = {"time_cost": 1, "memory_cost": 64, "parallelism": 1}
    monkeypatch.setattr(sealedfile.SealedWriter.__init__, "__defaults__", (cheap,))
