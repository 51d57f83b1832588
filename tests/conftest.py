"""Fixtures that several folders of tests share."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).with_name("service")))
from arena import Service  # found by the line above: tests/ is no package

# A deadline would time the machine, which is shared, and not what is tested.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Six processes at most: the tests on the host of each Debian release, which mostly wait, those on hosts of their own,
    the services', and all others.
    """
    for item in items:
        suite = getattr(item, "callspec", None) and item.callspec.params.get("suite")  # type: ignore[attr-defined]  # a Function has it
        if suite and "host" not in item.fixturenames:  # type: ignore[attr-defined]  # a Function has it
            suite += "-own"
        here = "service" if "service" in item.path.parts else "here"
        item.add_marker(pytest.mark.xdist_group(suite or here))
    items.sort(key=lambda item: next(item.iter_markers("xdist_group")).args[0])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running arenad that denies without delay."""
    one = Service(tmp_path, '[login]\ndeny_after = "0"\n')
    one.start()
    yield one
    one.close()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Prints a line of counts at the end of the run, whichever process the test ran in."""
    return lambda line: record_property("count", line)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The counts of attacks: a number in a document is one that was printed here."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [f"{report.nodeid}: {line}" for report in reports for name, line in report.user_properties if name == "count"]
    if lines:
        terminalreporter.section("counts")
        terminalreporter.write_line("\n".join(sorted(set(lines))))
