"""The configuration: what is shipped loads, what is wrong is refused with file, key and what is allowed."""

from pathlib import Path

import pytest
from arenad.config import Config, load, seconds, show

from pam_arena.conversation import PromptStyle
from pam_arena.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "packaging/arena.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "arena.toml.d").mkdir()
    (tmp_path / "arena.toml").write_text(SHIPPED.read_text())
    return tmp_path / "arena.toml"


def drop_in(path: Path, text: str, name: str = "50.toml") -> Path:
    file = path.with_name("arena.toml.d") / name
    file.write_text(text)
    return file


def test_the_shipped_file_changes_nothing_but_su(path: Path) -> None:
    loaded = load(path)
    assert loaded.service("su").ask == loaded.service("su-l").ask == "caller"
    assert loaded.service("sshd").ask == "target"
    defaults = Config()
    for section in ("login", "code", "lock", "pin", "desk", "mail", "audit", "store", "language"):
        assert getattr(loaded, section) == getattr(defaults, section)


def test_what_is_commented_out_in_the_shipped_file_is_the_default(path: Path) -> None:
    lines = [
        line[1:] if line.startswith("#") and " = " in line and not line.startswith("# ") else line
        for line in SHIPPED.read_text().splitlines()
    ]
    shipped = load(path)
    path.write_text("\n".join(lines))
    assert load(path) == shipped


def test_a_later_file_wins_key_by_key(path: Path) -> None:
    drop_in(path, '[login]\nprompt = "joined"\ndeny_after = "2s"\n', "10.toml")
    drop_in(path, '[login]\ndeny_after = "500ms"\n[service.sshd]\nexempt_groups = ["robots"]\n', "20.toml")
    loaded = load(path)
    assert (loaded.login.prompt, loaded.login.deny_after) == (PromptStyle.JOINED, 0.5)
    assert loaded.service("sshd").exempt_groups == ("robots",)
    assert loaded.service("login").exempt_groups == ("arena-exempt",)


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ('[login]\npromt = "split"', "'login.promt'", "prompt, answer_timeout, deny_after"),
        ('[login]\nprompt = "both"', "login.prompt", '"split" or "joined"'),
        ("[login]\nanswer_timeout = 180", "login.answer_timeout", "a time such as"),
        ('[login]\nanswer_timeout = "3 fortnights"', "login.answer_timeout", "a time such as"),
        ('[login]\ndeny_after = "9s"', "login.deny_after", "from 0 s to 8 s"),
        ('[logn]\nprompt = "split"', "'logn'", "language, help, store"),
        ('language = "de"', "language", '"en" or "fr"'),
        ("language = 5", "language", '"en" or "fr"'),
        ("[code]\nwindow = true", "code.window", "a whole number from 0 to 5"),
        ("[code]\nwindow = 6", "code.window", "a whole number from 0 to 5"),
        ("[pin]\nlength = [3, 6]", "pin.length", "4 <= shortest"),
        ("[pin]\nlength = 4", "pin.length", "4 <= shortest"),
        ("[pin]\nhistory = 3", "pin.history", "0 alone"),
        ("[lock]\nguess_bound = 0", "lock.guess_bound", "a number above 0"),
        ("[lock]\nwrong_pin_disables = 200", "lock.wrong_pin_disables", "at most lock.guess_bound"),
        ('[lock]\nwait = "1h"', "lock.wait", "at most lock.wait_max"),
        ('[service.sshd]\nmode = "enforced"', "service.sshd.mode", '"off" or "enforce"'),
        ('[service.sshd]\nmod = "off"', "'service.sshd.mod'", "mode, include_groups"),
        ('[service.sshd]\ninclude_groups = "staff"', "service.sshd.include_groups", "a list of names"),
        ("service = 1", "service", "a section"),
        ("login = 1", "login", "a section"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(path: Path, text: str, key: str, allowed: str) -> None:
    file = drop_in(path, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert key in str(refused.value)
    assert allowed in str(refused.value)
    assert str(file) in str(refused.value) or "at most" in allowed


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"[login\n", "is not TOML"), (b"\xff\xfe", "is not UTF-8")],
)
def test_a_file_that_is_no_toml_is_refused_by_name(path: Path, content: bytes, told: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_what_is_shown_has_the_names_of_the_file(path: Path) -> None:
    shown = show(load(path))
    assert shown["mail"] == {"smtp": "localhost:25", "from": ""}
    assert shown["service"]["su"]["ask"] == "caller"


@pytest.mark.parametrize(
    ("text", "span"), [("90s", 90), ("1min 30s", 90), ("15min", 900), ("14d", 1209600), ("0", 0), ("500ms", 0.5)]
)
def test_times_are_read_as_systemd_reads_them(text: str, span: float) -> None:
    assert seconds(text) == span
