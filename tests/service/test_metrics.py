"""GET /metrics: OpenMetrics that prometheus_client reads again, of the store and of what the login daemon counts."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from arena import Service
from arenad.login.counts import OTHER, Counts
from arenad.store.schema import origin
from desk_service import DeskService
from dialogues import PIN, Holder, change, deny, grant, split
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_classic

OPEN = "application/openmetrics-text; version="
CLASSIC = "text/plain; version=0.0.4"


def ask(desk: DeskService, accept: str = "*/*") -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=desk.path), timeout=20) as client:
        return client.get("http://desk/metrics", headers={"Accept": accept})


def samples(desk: DeskService) -> dict[str, float]:
    """Each sample by its name and the values of its labels."""
    families = read_open(ask(desk).text)
    return {" ".join([one.name, *one.labels.values()]): one.value for family in families for one in family.samples}


def wait_for(desk: DeskService, there: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The samples, once the login daemon has handed on what is waited for."""
    end = time.monotonic() + 15
    while not there(found := samples(desk)):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def test_logins_are_counted_by_outcome_and_service(service: Service, desk: DeskService) -> None:
    alice = Holder(service)
    deny(service, "alice", split("9999", "000000"))
    grant(service, "alice", split(PIN, alice.code()))
    deny(service, "alice", split("9999", "000000"), service="sudo", rhost="", ruser="alice")
    found = wait_for(desk, lambda now: now.get("arena_logins_total denied sudo", 0) == 1)
    assert found["arena_up"] == 1
    assert (found["arena_logins_total denied sshd"], found["arena_logins_total granted sshd"]) == (1, 1)
    assert (found["arena_verdict_seconds_count"], found["arena_verdict_seconds_bucket +Inf"]) == (3, 3)
    assert 0 < found["arena_verdict_seconds_sum"] < 30
    assert abs(found["arena_clock_offset_seconds"]) < 5
    assert (found["arena_conversations"], found["arena_attempts_waiting"]) == (0, 0)


def test_the_store_is_counted(service: Service, desk: DeskService) -> None:
    Holder(service)
    service.enrol("bob", "K-bob")
    desk.do("/tokens", {"serial": "K-stock"})
    desk.do("/tokens/K-bob/disable")
    for _ in range(5):
        deny(service, "alice", split("9999", "000000"))
    (service.spool / "1.mail").write_text("")
    (service.spool / ".half").write_text("")
    found = samples(desk)
    assert {state: found[f"arena_tokens {state}"] for state in ("stock", "active", "disabled", "lost")} == {
        "stock": 1,
        "active": 1,
        "disabled": 1,
        "lost": 0,
    }
    assert (found["arena_holders yes"], found["arena_holders no"]) == (1, 1)
    assert (found["arena_origins waiting"], found["arena_origins closed"]) == (1, 0)
    assert found["arena_mails waiting"] == 1
    assert found["arena_audit_rows"] == found["arena_audit_head"] == 7
    assert found["arena_store_bytes database"] > 4096
    assert found[f"arena_key_info {desk.get('/key')['key']}"] == 1
    change(service, origin, closed=True)
    assert samples(desk)["arena_origins closed"] >= 1


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", OPEN),
        ("", OPEN),
        ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPEN),
        ("text/plain", CLASSIC),
    ],
)
def test_who_asks_gets_the_format_that_they_name(desk: DeskService, accept: str, form: str) -> None:
    answer = ask(desk, accept)
    assert answer.headers["Content-Type"].startswith(form)
    assert answer.text.endswith("# EOF\n") == (form == OPEN)
    read = read_open if form == OPEN else read_classic
    assert "arena_tokens" in {family.name for family in read(answer.text)}


@pytest.mark.parametrize("damage", ["missing", "old", "cut"])
def test_without_a_fresh_report_the_login_daemon_is_down(service: Service, desk: DeskService, damage: str) -> None:
    assert service.stop() == 0
    file = service.folder / "counts.json"
    report = json.loads(file.read_text())
    if damage == "missing":
        file.unlink()
    else:
        text = json.dumps({**report, "at": report["at"] - 3600})
        file.write_text(text if damage == "old" else text[:40])
    found = samples(desk)
    assert found["arena_up"] == 0
    assert not [name for name in found if name.startswith(("arena_logins", "arena_verdict"))]
    assert "arena_tokens stock" in found


def test_made_up_services_are_counted_together(tmp_path: Path) -> None:
    counts = Counts()
    for number in range(1000):
        counts.count("denied", f"service{number}")
    assert len(counts.logins) == 65
    assert counts.logins["denied", OTHER] == 1000 - 64
    assert counts.total("denied") == 1000


def test_a_report_is_there_as_a_whole(tmp_path: Path) -> None:
    counts = Counts()
    for seconds in (0.01, 0.03, 0.1, 60):
        counts.took(seconds)
    counts.write(tmp_path, at=1.0)
    found = json.loads((tmp_path / "counts.json").read_text())
    assert (found["buckets"]["0.025"], found["buckets"]["0.05"], found["buckets"]["+Inf"]) == (1, 1, 1)
    assert os.listdir(tmp_path) == ["counts.json"]
