"""arenactl as the desk meets it: formats, exit statuses, and errors that name the thing."""

import json

import pytest
from hosts import Host

SEED = "3132333435363738393031323334353637383930"
DONE, REFUSED, USAGE, NOT_FOUND = 0, 1, 2, 4


def test_a_key_is_added_listed_and_shown_in_every_format(host: Host) -> None:
    added = json.loads(host.arenactl("token", "add", "--serial", "T-1", "--seed-file", "-", "-o", "json", input=SEED).stdout)
    assert (added["serial"], added["state"]) == ("T-1", "stock")
    table = host.arenactl("token", "list").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert "T-1" in table and "stock" in table
    assert "T-1,stock,,totp,6,60," in host.arenactl("token", "list", "-o", "csv").stdout
    assert SEED not in table + host.arenactl("token", "show", "T-1", "-o", "json").stdout


def test_a_generated_key_is_shown_as_a_qr_code(host: Host) -> None:
    shown = host.arenactl("token", "add", "--serial", "T-2").stdout
    assert "otpauth://totp/Arena:T-2?secret=" in shown
    assert "█" in shown
    assert "otpauth" not in host.arenactl("token", "show", "T-2").stdout


@pytest.mark.parametrize(
    ("arguments", "given", "status", "told"),
    [
        (["token", "add", "--serial", "T-3", "--seed-file", "-"], "abcd", REFUSED, "16 bits"),
        (["token", "add", "--serial", "T-3", "--seed-file", "-"], "one\ntwo\n", USAGE, "exactly one"),
        (["token", "add", "--serial", "T-3", "--seed-file", "/nowhere"], "", USAGE, "/nowhere"),
        (["token", "add", "--digits", "7"], "", USAGE, "--digits"),
        (["token", "assign", "T-none", "alice"], "", NOT_FOUND, "no token has the serial 'T-none'"),
        (["token", "show", "../status"], "", NOT_FOUND, "no token has the serial"),
        (["unlock", "nobody-here"], "", NOT_FOUND, "nobody-here"),
        (["why", "00000000"], "", NOT_FOUND, "00000000"),
        (["tokn"], "", USAGE, "there are: audit, backup, code, config, doctor, grant, holder, key"),
        (["key", "import", "/etc/hostname"], "passphrase\n", REFUSED, "no key export"),
        (["token", "resync", "T-1"], "123456\n", USAGE, "two codes are expected"),
        (["token", "resync", "T-1"], "123456\n12345\n", REFUSED, "two codes of 6 digits are needed"),
        (["token", "resync", "T-1", "123456", "654321"], "", USAGE, "unexpected extra arguments"),
        (["code", "emergency", "nobody-here"], "", NOT_FOUND, "nobody-here"),
        (["code", "temporary", "alice", "--days", "31"], "", USAGE, "--days"),
        (["grant", "list", "nobody-here"], "", NOT_FOUND, "nobody-here"),
        (["grant", "revoke", "nobody-here"], "", NOT_FOUND, "nobody-here"),
        (["holder", "show", "nobody-here"], "", NOT_FOUND, "nobody-here"),
        (["holder", "set", "nobody-here"], "", USAGE, "--mail or --language"),
        (["holder", "set", "nobody-here", "--language", "de"], "", USAGE, "--language"),
        (["holder", "set", "nobody-here", "--mail", "alice@school.example"], "", NOT_FOUND, "nobody-here"),
    ],
)
def test_what_is_wrong_is_named_with_its_exit_status(
    host: Host, arguments: list[str], given: str, status: int, told: str
) -> None:
    done = host.arenactl(*arguments, input=given, check=False)
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_the_configuration_is_checked_and_shown(host: Host) -> None:
    assert json.loads(host.arenactl("config", "check", "-o", "json").stdout)["verdict"] == "good"
    assert json.loads(host.arenactl("config", "show", "-o", "json").stdout)["service"]["su"]["ask"] == "caller"
    assert "login.deny_after" in host.arenactl("config", "show").stdout


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "[pin]\nlenght = [4, 6]\n",
            "/etc/arena/arena.toml.d/mine.toml: unknown key 'pin.lenght'; allowed: length, digits_only",
        ),
        ("[lock]\nwrong_pin_disables = 101\n", "guesses its PIN with a chance of 0.0101"),
        (
            "[code]\nslow_typing = '300s'\nwindow = 5\n[lock]\nguess_bound = 0.004\n",
            "guesses a code with a chance of 0.0042 a year",
        ),
        (
            "[service.sshd]\ninclude_groups = ['no-such-group']\n",
            "service.sshd.include_groups: there is no group no-such-group",
        ),
    ],
    ids=["typo", "stolen-key", "known-pin", "group"],
)
def test_a_configuration_that_must_not_be_is_refused_with_the_reason(host: Host, lines: str, told: str) -> None:
    mine = host.root / "etc/arena/arena.toml.d/mine.toml"
    mine.write_text(lines)
    done = host.arenactl("config", "check", check=False)
    mine.unlink()
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert told in done.stderr


def test_the_two_bounds_of_a_guesser_are_printed(host: Host) -> None:
    checked = json.loads(host.arenactl("config", "check", "-o", "json").stdout)
    assert (checked["stolen_key"], checked["known_pin"]) == (0.001, 0.001)
    assert host.arenactl("config", "check").stdout.count("0.001") == 2


def test_a_lost_master_key_comes_back_from_its_export(host: Host) -> None:
    before = json.loads(host.arenactl("key", "status", "-o", "json").stdout)
    assert before["key"] == before["store"]
    host.run("rm", "-f", "/root/key.json")
    host.arenactl("key", "export", "/root/key.json", input="correct horse battery\n")
    host.run("rm", "/etc/credstore.encrypted/arena.key")
    host.run("systemctl", "restart", "arenad.service", check=False)
    assert "there is no master key" in host.journal("arenad.service")
    wrong = host.arenactl("key", "import", "/root/key.json", input="wrong passphrase\n", check=False)
    assert (wrong.returncode, "wrong passphrase" in wrong.stderr) == (REFUSED, True)
    host.arenactl("key", "import", "/root/key.json", input="correct horse battery\n")
    host.run("systemctl", "restart", "arenad.service")
    host.run("systemctl", "try-restart", "arena-desk.service")
    after = json.loads(host.arenactl("key", "status", "-o", "json").stdout)
    assert after.pop("exported_at") is not None
    assert after == {name: value for name, value in before.items() if name != "exported_at"}


def test_the_desk_group_may_help_but_not_hand_out_keys(host: Host) -> None:
    host.shell("id -nG carol | grep -qw arena-desk || usermod -aG arena-desk carol")
    as_carol = ["runuser", "-u", "carol", "--", "arenactl"]
    for allowed in (["token", "list"], ["grant", "list"], ["report", "observe"], ["status"]):
        assert host.run(*as_carol, *allowed).returncode == DONE
    for forbidden in (["token", "add"], ["code", "emergency", "alice"], ["holder", "set", "alice", "--mail", "x@y.example"]):
        refused = host.run(*as_carol, *forbidden, check=False)
        assert (refused.returncode, f"may not: {' '.join(forbidden[:2])}" in refused.stderr) == (REFUSED, True)
    stranger = host.run("runuser", "-u", "bob", "--", "arenactl", "status", check=False)
    assert stranger.returncode == 3
    assert "be root, or in the group arena-desk" in stranger.stderr
