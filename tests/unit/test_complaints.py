"""What callers did wrong, in the journal: a few lines of each uid, a hundred in all, and how many were left out."""

import logging

import pytest
from arenad.login.complaints import OF_ALL, OF_ONE, PERIOD, Complaints


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "arenad")
    return caplog


def test_a_user_fills_no_journal_and_shuts_no_other_up(said: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    complaints = Complaints(lambda: now[0])
    for _ in range(1000):
        complaints.say(1001, logging.WARNING, "mallory")
    complaints.say(1002, logging.INFO, "somebody else")
    assert [said.messages.count(line) for line in ("mallory", "somebody else")] == [OF_ONE, 1]
    now[0] = PERIOD
    complaints.say(1001, logging.WARNING, "mallory")
    assert said.messages[-2:] == ["990 more lines about local users were left out within 60 s", "mallory"]
    now[0] = 2 * PERIOD
    complaints.say(1001, logging.WARNING, "mallory")
    assert said.messages.count("mallory") == OF_ONE + 2


def test_thousands_of_uids_fill_no_journal_and_root_is_always_heard(said: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(lambda: 0.0)
    for uid in range(100_000, 165_536):
        complaints.say(uid, logging.WARNING, "a subuid")
    for _ in range(2 * OF_ALL):
        complaints.say(0, logging.ERROR, "root")
    assert [said.messages.count(line) for line in ("a subuid", "root")] == [OF_ALL, 2 * OF_ALL]
