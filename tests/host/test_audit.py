"""The audit on a real host: in its journal, its numbers, its completions, and in a bundle that tells no secret."""

import base64
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from holders import PIN, Holder, password, reference, refuse
from hosts import Host

UNITS = "/run/systemd/system"
PHRASE = "wombat-Lantern-739164"
COMPLETE = """
source /usr/share/bash-completion/completions/{name}
COMP_WORDS=({words}) COMP_CWORD={at}
_{function}_completion {name}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def audited(host: Host) -> Host:
    host.password_first()
    return host


def entries(host: Host, *match: str) -> list[dict[str, str]]:
    """Entries of the journal, all that was sent so far."""
    host.run("journalctl", "--sync")
    told = host.run("journalctl", "--no-pager", "-o", "json", *match).stdout
    return [json.loads(line) for line in told.splitlines()]


def test_a_refused_login_is_in_the_journal_with_its_fields(audited: Host) -> None:
    holder = Holder(audited)
    holder.enter()
    refuse(dialogue := holder.ssh(), [password(), *holder.steps("9999")])
    ref = reference(dialogue.transcript)
    (entry,) = entries(audited, f"ARENA_REF={ref}")
    assert entry["_SYSTEMD_UNIT"] == "arenad.service"
    assert (entry["ARENA_USER"], entry["ARENA_EVENT"], entry["ARENA_OUTCOME"]) == (holder.name, "login", "denied")
    assert (entry["ARENA_SERVICE"], entry["ARENA_ADDRESS"], entry["ARENA_REASON"]) == ("sshd", "127.0.0.1", "wrong-pin")
    assert (entry["ARENA_SERIAL"], entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == (holder.fob.serial, "arenad", "5")
    assert entry["MESSAGE"].startswith(
        f"login denied: {holder.name} at sshd from 127.0.0.1 with key {holder.fob.serial}: wrong pin"
    )
    audited.arenactl("unlock", holder.name)
    assert entries(audited, f"ARENA_USER={holder.name}", "ARENA_EVENT=unlock")[0]["_SYSTEMD_UNIT"] == "arena-desk.service"
    listed = json.loads(audited.arenactl("audit", "list", "--holder", holder.name, "-o", "json").stdout)
    assert [row["event"] for row in listed][-2:] == ["login", "unlock"]
    table = audited.arenactl("audit", "list").stdout
    assert max(map(len, table.splitlines())) <= 80 and ref in table


def test_the_audit_is_whole_until_its_end_is_cut_off(audited: Host) -> None:
    audited.run("systemctl", "restart", "arenad.service")
    (head, *_) = entries(audited, "ARENA_EVENT=audit-head", "-r")
    good = json.loads(audited.arenactl("audit", "verify", "-o", "json").stdout)
    assert (good["verdict"], good["problems"]) == ("good", [])
    assert good["head"] == f"{head['ARENA_AUDIT_ROW']}:{head['ARENA_AUDIT_HASH']}"
    assert good["heads_checked"] >= good["rows"]
    audited.in_store("CREATE TABLE cut_off AS SELECT * FROM audit WHERE id = (SELECT max(id) FROM audit)")
    audited.in_store("DELETE FROM audit WHERE id IN (SELECT id FROM cut_off)")
    cut = audited.arenactl("audit", "verify", check=False)
    audited.in_store("INSERT INTO audit SELECT * FROM cut_off")  # others verify it on this host
    audited.in_store("DROP TABLE cut_off")
    assert cut.returncode == 1
    assert f"row {head['ARENA_AUDIT_ROW']} is missing" in cut.stderr
    assert json.loads(audited.arenactl("audit", "verify", "-o", "json").stdout)["verdict"] == "good"


def test_the_numbers_say_that_it_runs_and_stops(audited: Host) -> None:
    numbers = audited.arenactl("metrics").stdout
    assert "arena_up 1.0\n" in numbers and "arena_journal_lost_total 0.0\n" in numbers
    audited.run("systemctl", "stop", "arenad.service")
    assert not (audited.root / "run/arena/login").exists()
    assert "arena_up 0.0\n" in audited.arenactl("metrics").stdout
    audited.run("systemctl", "start", "arenad.service")


@pytest.mark.parametrize(
    ("words", "found"), [("arenactl audit ver", "verify\n"), ("arenactl key st", "status\n"), ("arena-key pi", "pin\n")]
)
def test_a_word_is_completed_by_what_the_package_ships(audited: Host, words: str, found: str) -> None:
    name, at = words.split()[0], len(words.split()) - 1
    script = COMPLETE.format(name=name, words=words, at=at, function=name.replace("-", "_"))
    assert audited.run("bash", "-c", script).stdout == found


def shapes(secret: bytes) -> set[str]:
    """A secret as it might stand in a text."""
    base32, base64_ = base64.b32encode(secret).decode(), base64.b64encode(secret).decode()
    found = {secret.hex(), secret.hex().upper(), base32, base32.lower(), base64_, base64.urlsafe_b64encode(secret).decode()}
    return {one.rstrip("=") for one in found} | {secret.decode("latin-1")}


def test_the_bundle_for_a_helper_holds_no_secret(audited: Host, tmp_path: Path) -> None:
    holder = Holder(audited)
    holder.enrol("739164")
    codes = json.loads(audited.arenactl("code", "emergency", holder.name, "-o", "json").stdout)["codes"]
    code = holder.fob.at(holder.fob.step + 1)
    exported = audited.arenactl("key", "export", "/root/canary.json", input=f"{PHRASE}\n")
    assert "canary.json" in exported.stdout
    key = (audited.root / "etc/credstore.encrypted/arena.key").read_bytes()
    canaries = [holder.fob.seed, b"739164", code.encode(), b"739164" + code.encode(), PHRASE.encode(), key[:60]]
    canaries += [one.encode() for one in codes]
    said = [
        f"passphrase: {PHRASE}",
        f"typed 739164{code} and {codes[0]}",
        f"seed {base64.b32encode(holder.fob.seed).decode()}",
        f"otpauth://totp/x?secret={base64.b32encode(holder.fob.seed).decode()}",
        f"raw {holder.fob.seed.hex()} {base64.b64encode(holder.fob.seed).decode()}",
        *(shape for shape in shapes(b"739164") if shape.isdigit()),
    ]
    root = audited.root
    drop_in = root / f"{UNITS[1:]}/arenad.service.d"
    drop_in.mkdir(parents=True, exist_ok=True)
    echoes = "".join(f'ExecStartPost=/usr/bin/echo "{line}"\n' for line in said)
    (drop_in / "canary.conf").write_text(f"[Service]\nEnvironment=CANARY={PHRASE}\n{echoes}")
    (root / "etc/arena/arena.toml.d/canary.toml").write_text(f'help = "4242"\n# smtp_password = "{PHRASE}"\n')
    (root / "etc/pam.d/canary").write_text(f"auth required pam_arena.so\nauth optional pam_echo.so secret={PHRASE}\n")
    try:
        audited.run("systemctl", "daemon-reload")
        audited.run("systemctl", "restart", "arenad.service")
        assert PHRASE in audited.journal("arenad.service")
        audited.run("env", f"CANARY={PHRASE}", "arenactl", "support", "/root/bundle.tar.gz")
        packed = (root / "root/bundle.tar.gz").read_bytes()
        assert audited.run("stat", "-c", "%a %U", "/root/bundle.tar.gz").stdout == "600 root\n"
        assert audited.arenactl("support", "/root/bundle.tar.gz", check=False).returncode == 1
    finally:
        (drop_in / "canary.conf").unlink()
        (root / "etc/arena/arena.toml.d/canary.toml").unlink()
        (root / "etc/pam.d/canary").unlink()
        audited.run("rm", "-f", "/root/bundle.tar.gz", "/root/canary.json")
        audited.run("systemctl", "daemon-reload")
        audited.run("systemctl", "restart", "arenad.service")
    with tarfile.open(fileobj=io.BytesIO(packed)) as bundle:
        files = {one.name.partition("/")[2]: bundle.extractfile(one).read().decode() for one in bundle}  # type: ignore[union-attr]  # all are files
    whole = "\n".join(files.values())
    for secret in canaries:
        for shape in shapes(secret):
            assert shape not in whole, next(name for name, text in files.items() if shape in text)
    assert PIN not in re.sub(r"\[\d+\]", "", files["journal.txt"])  # the id of a process may have its digits
    check_useful(files, holder)


def check_useful(files: dict[str, str], holder: Holder) -> None:
    """What a helper needs is there."""
    assert files["missing.txt"] == "", files["missing.txt"]
    assert '"help": "4242"' in files["config.json"] and '"verdict": "good"' in files["config-check.txt"]
    assert "arena.toml.d/canary.toml" in files["config-files.txt"]
    assert "Id=arenad.service" in files["units.txt"] and "SubState=running" in files["units.txt"]
    assert "ready: key" in files["journal.txt"] and "[scrubbed]" in files["journal.txt"]
    store = json.loads(files["store.json"])
    assert (
        store["check"] == ["ok"] and store["rows"]["holder"] >= 2 and "CREATE TABLE" in store["schema"][-1] + store["schema"][0]
    )
    assert "arena_up" in files["metrics.txt"]
    assert "pam_arena.so" in files["pam.d/common-auth"] and "secret=[scrubbed]" in files["pam.d/canary"]
    assert "kbdinteractiveauthentication yes" in files["sshd.txt"]
    assert holder.fob.serial not in files["store.json"]


def test_the_bundle_is_for_root(audited: Host) -> None:
    refused = audited.run("runuser", "-u", "alice", "--", "arenactl", "support", "/tmp/bundle", check=False)
    assert (refused.returncode, "run it as root" in refused.stderr) == (1, True)
    assert not (audited.root / "tmp/bundle").exists()
