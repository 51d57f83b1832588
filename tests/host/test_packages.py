"""Installing, upgrading, removing and purging leave nothing broken; the units are as closed as they say."""

import re
from pathlib import Path

import pytest
from hosts import PASSWORD, Host, talk

UNITS = ("arenad.socket", "arenad.service", "arena-desk.socket", "arena-mail.path")
MODULE_LINE = "auth requisite pam_arena.so"


def password_login(host: Host) -> None:
    """A login with nothing but the password, as before pam_arena."""
    talk(host.login("alice"), [("Password: ", PASSWORD)], r"alice@\S+\$ ")


def state_of(host: Host, package: str) -> str:
    return host.run("dpkg-query", "-W", "-f", "${db:Status-Status}", package, check=False).stdout


def test_installing_starts_the_service_and_changes_no_login(spare: Host) -> None:
    for unit in UNITS:
        assert spare.run("systemctl", "is-active", unit).stdout == "active\n"
        assert spare.run("systemctl", "is-enabled", unit).stdout == "enabled\n"
    assert spare.run("systemctl", "is-system-running").stdout == "running\n"
    assert spare.run("grep", "-r", "pam_arena", "/etc/pam.d", check=False).stdout == ""
    password_login(spare)


def test_files_have_their_owners_and_modes(spare: Host) -> None:
    wanted = {
        "/run/arena": "755 root:root",
        "/run/arena/auth.sock": "666 root:root",
        "/run/arena/desk.sock": "660 root:arena-desk",
        "/var/lib/arena": "700 _arena:_arena",
        "/var/lib/arena/arena.db": "600 _arena:_arena",
        "/var/lib/arena/ballast": "600 _arena:_arena",
        "/var/spool/arena/out": "2770 _arena:_arena-mail",
        "/var/spool/arena/failed": "750 _arena-mail:_arena",
        "/etc/credstore.encrypted": "700 root:root",
        "/etc/credstore.encrypted/arena.key": "600 root:root",
        "/etc/arena/arena.toml": "644 root:root",
    }
    for path, owner_and_mode in wanted.items():
        assert spare.run("stat", "-c", "%a %U:%G", path).stdout.strip() == owner_and_mode, path


def test_the_library_package_ships_no_test_extension_and_nothing_for_one_architecture(spare: Host) -> None:
    files = spare.run("dpkg", "-L", "python3-pam-arena", "arenad").stdout
    assert "_shim" not in files
    assert not re.search(r"\.so$", files, re.MULTILINE)
    assert "pam_arena/locale/fr/LC_MESSAGES/arena.mo" in files
    assert "/usr/share/doc/arenad/openapi.yaml\n" in files


@pytest.mark.parametrize("unit", ["arenad.service", "arena-desk.service"])
def test_a_daemon_is_exposed_at_most_0_5(spare: Host, unit: str) -> None:
    spare.run("systemd-analyze", "security", "--no-pager", "--threshold=5", unit)


def test_the_units_are_well_formed(spare: Host) -> None:
    services = ("arenad.service", "arenad-key.service", "arena-desk.service", "arena-mail.service", "arena-pam-revert.service")
    done = spare.run("systemd-analyze", "verify", "--man=no", *UNITS, *services)
    assert not re.search(r"arena", done.stderr), done.stderr


def test_stopping_takes_the_sockets_away_and_starting_brings_them_back(spare: Host) -> None:
    spare.run("systemctl", "stop", *UNITS)
    assert spare.run("ls", "/run/arena").stdout == ""
    spare.run("systemctl", "start", *UNITS)
    assert spare.run("ls", "/run/arena").stdout == "auth.sock\ndesk.sock\nlogin\n"


def test_a_missing_key_is_named_in_the_journal(spare: Host) -> None:
    """The key is lost, the store is not empty: no new key is made, and arenad itself says what is missing."""
    spare.give_fob("alice", "LOST-1")
    spare.run("mv", "/etc/credstore.encrypted/arena.key", "/root/")
    spare.run("systemctl", "restart", "arenad", check=False)
    said = spare.journal("arenad")
    spare.run("mv", "/root/arena.key", "/etc/credstore.encrypted/")
    spare.run("systemctl", "restart", "arenad")
    assert "there is no master key" in said
    assert "arenactl key import" in said


def test_the_packages_are_lintian_clean_and_the_man_pages_render(spare: Host, debs: list[Path]) -> None:
    spare.install("lintian", "man-db")
    spare.run("mkdir", "-p", "/root/debs")
    spare.copy(*debs, to="/root/debs")
    spare.shell("lintian --fail-on error,warning /root/debs/*.deb")
    for page in ("pam_arena.8", "arenad.8", "arenactl.1", "arena-key.1", "arena.toml.5"):
        done = spare.run("man", "--warnings", "-E", "UTF-8", "-l", f"/usr/share/man/man{page[-1]}/{page}.gz")
        assert done.stderr == "", page
        assert len(done.stdout) > 1000, page


def test_an_upgrade_keeps_the_sockets_open_and_the_store(spare: Host, debs: list[Path]) -> None:
    before = spare.run("stat", "-c", "%i", "/run/arena/auth.sock").stdout
    spare.give_fob("alice", "KEPT-1")
    started = spare.run("systemctl", "show", "-p", "ActiveEnterTimestampMonotonic", "arenad.service").stdout
    spare.shell("dpkg -i /root/debs/*.deb")
    assert spare.run("stat", "-c", "%i", "/run/arena/auth.sock").stdout == before
    assert spare.run("systemctl", "show", "-p", "ActiveEnterTimestampMonotonic", "arenad.service").stdout != started
    assert spare.run("systemctl", "is-active", *UNITS).stdout == "active\n" * len(UNITS)
    assert "KEPT-1" in spare.arenactl("token", "list", "-o", "csv").stdout


def test_removing_is_refused_while_a_service_names_the_module(spare: Host) -> None:
    spare.arena_first(["sshd", "sudo"])
    refused = spare.run("apt-get", "-qqy", "remove", "libpam-arena", check=False)
    assert refused.returncode != 0
    assert "  /etc/pam.d/sshd\n  /etc/pam.d/sudo\n" in refused.stdout + refused.stderr
    assert state_of(spare, "libpam-arena") == "installed"
    spare.without_arena()


def test_removing_is_refused_while_a_common_file_edited_by_hand_names_the_module(spare: Host) -> None:
    spare.shell(f"sed -i '/^auth.*pam_permit/i {MODULE_LINE}' /etc/pam.d/common-auth")
    refused = spare.run("apt-get", "-qqy", "remove", "libpam-arena", check=False)
    assert refused.returncode != 0
    assert "  /etc/pam.d/common-auth\n" in refused.stdout + refused.stderr
    spare.without_arena()


def test_removing_takes_the_profile_out_and_leaves_logins_as_they_were(spare: Host) -> None:
    spare.password_first()
    assert "pam_arena.so" in (spare.root / "etc/pam.d/common-auth").read_text()
    spare.run("apt-get", "-qqy", "remove", "libpam-arena", "arenad", "python3-pam-arena")
    assert "pam_arena" not in spare.run("cat", "/etc/pam.d/common-auth").stdout
    assert not (spare.root / "run/arena/auth.sock").exists()
    assert (spare.root / "var/lib/arena/arena.db").exists()
    assert spare.run("systemctl", "--failed", "--no-legend").stdout == ""
    spare.without_arena()
    password_login(spare)


def test_installing_again_finds_the_store_and_the_key(spare: Host, debs: list[Path]) -> None:
    spare.install(*debs)
    assert spare.run("systemctl", "is-active", *UNITS).stdout == "active\n" * len(UNITS)
    assert "KEPT-1" in spare.arenactl("token", "list", "-o", "csv").stdout


def test_purging_removes_store_key_and_configuration(spare: Host) -> None:
    spare.shell("echo 'help = \"4242\"' >/etc/arena/arena.toml.d/school.toml")
    spare.run("apt-get", "-qqy", "purge", "libpam-arena", "arenad", "python3-pam-arena")
    for path in (
        "/var/lib/arena",
        "/var/spool/arena",
        "/run/arena",
        "/etc/arena",
        "/etc/credstore.encrypted/arena.key",
        "/usr/share/arenad",
    ):
        assert not (spare.root / path[1:]).exists(), path
    assert state_of(spare, "libpam-arena") in ("", "not-installed")
    left = spare.run("find", "/usr/lib/python3/dist-packages", "/etc/systemd", "-name", "*arena*").stdout
    assert left == ""
    assert spare.run("systemctl", "is-system-running").stdout == "running\n"
    password_login(spare)
