"""arenactl request and mail at a real desk, with a real arena-mail and a real mail server behind it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import audit
from desk_service import DeskService
from post import SENDER, Post


class Office:
    """A desk whose mails go to a server of this test's."""

    def __init__(self, folder: Path, post: Post) -> None:
        text = f'[mail]\nsmtp = "127.0.0.1:{post.port}"\nfrom = "{SENDER}"\ndomain = "school.example"\n'
        self.service = Service(folder, text)
        (folder / "failed").mkdir()
        self.service.start()
        self.desk = DeskService(self.service)
        self.postmen: list[subprocess.Popen[bytes]] = []

    def arenactl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.desk.arenactl_command(*words), capture_output=True, text=True)

    def start_postman(self) -> None:
        """arena-mail, as arena-mail.path starts it when a mail is there."""
        words = ["--config", str(self.service.config), "--spool", str(self.service.spool), "mail"]
        waits = f"import glob, os, time\nwhile not glob.glob('{self.service.spool}/*.mail'): time.sleep(0.05)\n"
        command = f"{waits}os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'arenad', *{words!r}])"
        self.postmen.append(subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.DEVNULL))

    def close(self) -> None:
        for process in self.postmen:
            process.kill()
            process.wait(15)
        self.desk.close()
        self.service.close()


@pytest.fixture
def office(tmp_path: Path, post: Post) -> Iterator[Office]:
    one = Office(tmp_path, post)
    yield one
    one.close()


def test_a_test_mail_goes_the_whole_way_and_its_end_is_told(office: Office, post: Post) -> None:
    office.start_postman()
    done = office.arenactl("mail", "test", "boss@school.example", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["to"], told["result"]) == ("boss@school.example", "the server took it")
    [mail] = post.accepted
    assert mail["Subject"] == "Test of the mails of one-time codes"
    assert mail["Message-ID"] == f"<{told['id'].lower()}@school.example>"
    assert [row["event"] for row in office.service.rows(audit)] == ["mail-test", "mail"]


@pytest.mark.parametrize(
    ("reply", "result", "state"),
    [
        ("550 5.1.1 no such user", "refused for good, and set aside", "failed"),
        ("450 4.2.0 greylisted", "the server did not take it yet; it is tried again", "waiting"),
    ],
)
def test_a_server_that_refuses_is_told_and_the_mail_is_listed(
    office: Office, post: Post, reply: str, result: str, state: str
) -> None:
    post.to_recipient["boss@school.example"] = reply
    office.start_postman()
    done = office.arenactl("mail", "test", "boss@school.example")
    assert (done.returncode, result in done.stdout, "journalctl -u arena-mail" in done.stdout) == (1, True, True)
    [listed] = json.loads(office.arenactl("mail", "list", "-o", "json").stdout)
    assert (listed["to"], listed["state"]) == ("boss@school.example", state)
    assert set(listed) == {"id", "state", "to", "written_at", "tries", "next_try_at"}
    table = office.arenactl("mail", "list").stdout
    assert "boss@school.example" in table and "nothing to do" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_bad_address_is_refused(office: Office) -> None:
    refused = office.arenactl("mail", "test", "nobody here")
    assert (refused.returncode, refused.stderr) == (1, "Error: 'nobody here' is no mail address\n")
    assert list(office.service.spool.iterdir()) == []


def test_requests_are_readable_in_80_columns_and_whole_in_json(office: Office) -> None:
    office.desk.do("/tokens", {"serial": "0091234567890", "seed": "31" * 20})
    words = ["request", "add", "0091234567890", "games", "--ticket", "INC-2026-000123", "--until", "2099-06-30"]
    assert office.arenactl(*words).returncode == 0
    table = office.arenactl("request", "list").stdout
    assert "0091234567890" in table and "ticket INC-2026-000123" in table
    assert max(map(len, table.splitlines())) <= 80
    [row] = json.loads(office.arenactl("request", "list", "-o", "json").stdout)
    assert (row["holder"], row["proven"], row["state"]) == ("games", False, "open")
    assert office.arenactl("request", "reject", "0091234567890").returncode == 2  # without a reason
    assert office.arenactl("request", "reject", "0091234567890", "--why", "Lost the box.").returncode == 0
    assert "rejected: Lost the box." in office.arenactl("request", "list", "--state", "all").stdout
    missing: Callable[..., int] = lambda *of: office.arenactl("request", "approve", *of).returncode  # noqa: E731
    assert missing("0091234567890") == 4
