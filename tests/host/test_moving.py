"""A host saved into one file and brought back, on itself and on one that is new: nobody's old code works, their next does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from holders import PIN, Holder
from hosts import AUTH_ERR, SUCCESS, Host

PHRASE = "correct horse battery"
FILE = "/root/arena.backup"
UNITS = ("arenad.socket", "arenad.service", "arena-desk.socket", "arena-mail.path")


@pytest.fixture(scope="module")
def saved(host: Host) -> Holder:
    """A holder of a time-based key, and the backup of their host, its passphrase typed at a terminal."""
    holder = Holder(host)
    holder.enrol()
    host.run("rm", "-f", FILE)
    with host.dialogue(["arenactl", "backup", FILE, "-o", "json"]) as terminal:
        terminal.expect("Passphrase: ")
        terminal.send(PHRASE)
        terminal.expect("Same again: ")
        terminal.send(PHRASE)
        terminal.expect(r'"bytes": [0-9]+')
        assert terminal.end() == 0
    return holder


def bring_back(host: Host, *options: str, check: bool = True, phrase: str = PHRASE) -> dict[str, Any]:
    done = host.arenactl("restore", FILE, *options, "-o", "json", input=phrase + "\n", check=check)
    restored: dict[str, Any] = json.loads(done.stdout) if check else {"error": done.stderr, "status": done.returncode}
    return restored


def key_in_force(host: Host) -> str:
    return str(json.loads(host.arenactl("key", "status", "-o", "json").stdout)["key"])


def test_a_backup_is_for_root_and_admins_alone(saved: Holder) -> None:
    host = saved.host
    assert host.run("stat", "-c", "%a %U:%G", FILE).stdout == "600 root:root\n"
    mine = ["runuser", "-u", "alice", "--", "arenactl", "backup", "/tmp/mine"]
    refused = host.run(*mine, input=PHRASE + "\n", check=False)
    assert (refused.returncode, "permission denied: be root, or in the group arena-desk" in refused.stderr) == (3, True)
    assert not (host.root / "tmp/mine").exists()
    again = host.arenactl("backup", FILE, input=PHRASE + "\n", check=False)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert host.shell("ls -A /var/lib/arena").stdout.split()[0] == "arena.db"
    assert "backup" not in host.shell("ls -A /var/lib/arena").stdout


def test_what_is_refused_leaves_arenad_running_as_it_was(saved: Holder) -> None:
    host = saved.host
    started = host.run("systemctl", "show", "-P", "MainPID", "arenad.service").stdout
    for options, phrase, told in [
        ((), PHRASE, "with --replace it is kept aside"),
        (("--replace",), "another phrase", "wrong passphrase"),
    ]:
        refused = bring_back(host, *options, check=False, phrase=phrase)
        assert refused["status"] == 1
        assert told in str(refused["error"])
    assert host.run("systemctl", "show", "-P", "MainPID", "arenad.service").stdout == started


def test_brought_back_no_old_code_works_and_the_next_does(saved: Holder) -> None:
    host, button = saved.host, Holder(saved.host, kind="hotp")
    button.enrol()
    since = Holder(host)
    host.run("rm", FILE)
    host.arenactl("backup", FILE, input=PHRASE + "\n")
    used = saved.passcode()
    assert host.authenticate(saved.name, "", used)[0] == SUCCESS
    assert host.authenticate(button.name, "", PIN + button.fob.ahead())[0] == SUCCESS
    host.arenactl("token", "unassign", since.fob.serial)

    told = bring_back(host, "--replace", "--yes")
    aside = [str(one) for one in told["kept_aside"]]
    assert len(aside) == 1 and re.fullmatch(r"/var/lib/arena/arena\.db\.before-\d{8}T\d{6}Z", aside[0])
    assert host.run("stat", "-c", "%a %U:%G", aside[0], "/var/lib/arena/arena.db").stdout == "600 _arena:_arena\n" * 2
    assert host.run("systemctl", "is-active", *UNITS).stdout == "active\n" * len(UNITS)
    host.run("journalctl", "--sync")
    verified = json.loads(host.arenactl("audit", "verify", "-o", "json").stdout)
    assert (verified["verdict"], "of the time after it are in the journal" in verified["restored"][-1]) == ("good", True)
    assert host.authenticate(saved.name, "", used)[0] == AUTH_ERR
    for _ in range(3):  # the window of what may have been seen, and the step that the first login learnt
        saved.fob.fresh()
    assert host.authenticate(saved.name, "", saved.passcode())[0] == SUCCESS
    assert json.loads(host.arenactl("token", "show", since.fob.serial, "-o", "json").stdout)["holder"] == since.name

    serial = button.fob.serial
    listed = host.arenactl("token", "list", "--state", "disabled", "-o", "csv").stdout
    assert f"restored from a backup: arenactl token resync {serial}" in listed
    assert host.authenticate(button.name, "", PIN + button.fob.used())[0] == AUTH_ERR
    assert host.authenticate(button.name, "", PIN + button.fob.ahead())[0] == AUTH_ERR
    host.arenactl("token", "resync", serial, input=f"{button.fob.ahead()}\n{button.fob.ahead()}\n")
    assert host.authenticate(button.name, "", PIN + button.fob.ahead())[0] == SUCCESS
    host.run("rm", *aside)


@pytest.fixture
def reaching_less(saved: Holder) -> Iterator[Path]:
    """A drop-in by which the keys of another host work soon; nothing of it and of the backup stays."""
    host, drop_in = saved.host, "/etc/arena/arena.toml.d/moved.toml"
    (host.root / drop_in[1:]).write_text('help = "4242"\n[code]\nnext_code_reach = 1\n')
    yield Path(drop_in)
    host.shell(f"rm -f {drop_in} /etc/credstore.encrypted/*.before-* {FILE}; systemctl reload arenad")


def test_a_new_host_takes_store_key_and_configuration(saved: Holder, reaching_less: Path) -> None:
    host, key = saved.host, key_in_force(saved.host)
    host.run("rm", FILE)
    host.arenactl("backup", FILE, input=PHRASE + "\n")
    host.run("systemctl", "stop", "arenad.socket", "arenad.service", "arena-desk.socket", "arena-desk.service")
    host.shell(f"rm /var/lib/arena/* /etc/credstore.encrypted/arena.key {reaching_less}; arenactl migrate")
    host.run("systemctl", "start", "arenad.socket", "arenad.service", "arena-desk.socket")
    assert key_in_force(host) != key
    told = bring_back(host, "--yes")
    assert any(str(one).startswith("/etc/credstore.encrypted/arena.key.before-") for one in told["kept_aside"])
    assert key_in_force(host) == key
    assert "4242" in (host.root / reaching_less.relative_to("/")).read_text()
    for _ in range(4):  # as above, and the reach of the next code
        saved.fob.fresh()
    assert host.authenticate(saved.name, "", saved.passcode())[0] == SUCCESS
