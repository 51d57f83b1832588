"""Fixtures that several folders of tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).with_name("service")))
from arena import Service  # found by the line above: tests/ is no package

# A deadline would time the machine, which is shared, and not what is tested.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Three processes at most: the tests on hosts of each Debian release, which mostly wait, and all others."""
    for item in items:
        suite = getattr(item, "callspec", None) and item.callspec.params.get("suite")  # type: ignore[attr-defined]
        item.add_marker(pytest.mark.xdist_group(suite or "here"))
    items.sort(key=lambda item: next(item.iter_markers("xdist_group")).args[0])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running arenad that denies without delay."""
    one = Service(tmp_path, '[login]\ndeny_after = "0"\n')
    one.start()
    yield one
    one.close()
