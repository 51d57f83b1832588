"""The configuration: what is shipped loads, what is wrong is refused with file, key and what is allowed."""

import json
import re
from pathlib import Path

import pytest
from arenad.config import Config, Peer, Pin, check_groups, guess_bounds, load, show
from arenad.config_values import seconds

from pam_arena.conversation import PromptStyle
from pam_arena.errors import ConfigError
from pam_arena.pin import PinChoice
from pam_arena.texts import LANGUAGES, REPLACEABLE, texts_in

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


ONLY_THE_NAMES = "prompt, answer_timeout, deny_after"
PROMPT_RULE = "a line of text in quotes, of at most 45 columns, without control characters, with no {placeholder}"
LONG = "x" * 256


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ('[login]\npromt = "split"', "'login.promt'", ONLY_THE_NAMES),
        ('[login]\n"pro\\u0007mpt" = "split"', "'login.pro\\x07mpt'", ONLY_THE_NAMES),
        ('[login]\nprompt = "both"', "login.prompt", '"split" or "joined"'),
        ('[login]\nprompt = "split\\u0000"', "login.prompt", '"split" or "joined"'),
        ('[login]\nprompt = ["split"]', "login.prompt", '"split" or "joined"'),
        ("[login]\nanswer_timeout = 180", "login.answer_timeout", "a time such as"),
        ('[login]\nanswer_timeout = "3 fortnights"', "login.answer_timeout", "a time such as"),
        ('[login]\nanswer_timeout = "-90s"', "login.answer_timeout", "a time such as"),
        ('[login]\nanswer_timeout = "9s"', "login.answer_timeout", "from 10 s to 3600 s"),
        ('[login]\ndeny_after = "9s"', "login.deny_after", "from 0 s to 8 s"),
        ('[login]\ndeny_after = "٣s"', "login.deny_after", "from 0 s to 8 s"),
        ('[logn]\nprompt = "split"', "'logn'", "language, help, store"),
        ('language = "de"', "language", '"en" or "fr"'),
        ("language = 5", "language", '"en" or "fr"'),
        ('help = "call\\nus"', "help", "none of them a control character"),
        ('help = "call \\u202e us"', "help", "none of them a control character"),
        (f'help = "{LONG}"', "help", "at most 255 characters"),
        ('[store]\nurl = "postgresql://db/arena"', "store.url", '"sqlite:////absolute/path"'),
        ('[store]\nurl = "sqlite:///arena.db"', "store.url", '"sqlite:////absolute/path"'),
        ('[store]\nurl = "sqlite:////arena.db?mode=memory"', "store.url", '"sqlite:////absolute/path"'),
        (f'[store]\nurl = "sqlite:////{LONG}"', "store.url", "at most 255 characters"),
        ("[code]\nwindow = true", "code.window", "a whole number from 0 to 5"),
        ("[code]\nwindow = 6", "code.window", "a whole number from 0 to 5"),
        ("[code]\nnext_code_after = 0", "code.next_code_after", "a whole number from 1 to 1000"),
        ("[code]\nnext_code_reach = 11", "code.next_code_reach", "a whole number from 0 to 10"),
        ('[code]\nslow_typing = "301s"', "code.slow_typing", "from 0 s to 300 s"),
        ("[pin]\nlength = [3, 6]", "pin.length", "4 <= shortest"),
        ("[pin]\nlength = [6, 5]", "pin.length", "4 <= shortest"),
        ("[pin]\nlength = 4", "pin.length", "4 <= shortest"),
        ('[pin]\nchoice = "desk"', "pin.choice", '"holder" or "system" or "either"'),
        ("[pin]\nhistory = 25", "pin.history", "a whole number from 0 to 24"),
        ('[pin]\nexpires = "12h"', "pin.expires", 'from 86400 s to 3660 days, or ""'),
        ('[pin]\nexpires = "never"', "pin.expires", 'from 86400 s to 3660 days, or ""'),
        ("[lock]\nguess_bound = 0", "lock.guess_bound", "a number above 0"),
        ("[lock]\nguess_bound = nan", "lock.guess_bound", "a number above 0"),
        ('[service.sshd]\nmode = "enforced"', "service.sshd.mode", '"off" or "observe" or "enforce"'),
        ('[service.sshd]\nmod = "off"', "'service.sshd.mod'", "mode, include_groups"),
        ('[service.sshd]\ninclude_groups = "staff"', "service.sshd.include_groups", "a list of names"),
        ('[service.sshd]\ninclude_groups = ["st\\u001baff"]', "service.sshd.include_groups", "a list of names"),
        ('[service.sshd]\nexempt_groups = [" staff"]', "service.sshd.exempt_groups", "a list of names"),
        (f'[service.sshd]\nexempt_groups = ["{LONG}"]', "service.sshd.exempt_groups", "a list of names"),
        ("[service.sshd]\nexempt_groups = [1000]", "service.sshd.exempt_groups", "a list of names"),
        ("[service.sshd]\nmail_codes = 1", "service.sshd.mail_codes", "true or false"),
        ('[service.sshd]\ngrant = "8d"', "service.sshd.grant", 'from 60 s to 7 days, or "0"'),
        ('[service.sshd]\nlanguage = "FR"', "service.sshd.language", '"en" or "fr"'),
        ('[service.sshd]\ndeadline = "20s"', "service.sshd.deadline", 'from 30 s to 86400 s, or "0"'),
        ('[service.SSHD]\nmode = "off"', "service.'SSHD'", "in lower case"),
        ('[service."../sshd"]\nmode = "off"', "service.'../sshd'", "in lower case"),
        ('[service."s\\u0000"]\nmode = "off"', "service.'s\\x00'", "in lower case"),
        ('[service.sshd.texts]\npins = "PIN: "', "'service.sshd.texts.pins'", "joined, pin, passcode, denied"),
        ('[service.sshd.texts]\npin = "PIN:\\n"', "service.sshd.texts.pin", PROMPT_RULE),
        ('[service.sshd.texts]\npin = " "', "service.sshd.texts.pin", PROMPT_RULE),
        ('[service.sshd.texts]\npin = "PIN of {user}: "', "service.sshd.texts.pin", PROMPT_RULE),
        ('[service.sshd.texts]\npin = "PIN {: "', "service.sshd.texts.pin", PROMPT_RULE),
        (f'[service.sshd.texts]\npin = "{"x" * 46}"', "service.sshd.texts.pin", PROMPT_RULE),
        (f'[service.sshd.texts]\npin = "{"暗" * 23}"', "service.sshd.texts.pin", PROMPT_RULE),
        ('[service.sshd.texts]\nchoose_pin = "{min!r:>9}: "', "service.sshd.texts.choose_pin", "with {max}, {min}"),
        ('[service.sshd.texts]\nchoose_pin = "{min.real}: "', "service.sshd.texts.choose_pin", "with {max}, {min}"),
        ('[service.sshd.texts]\ndenied = "No."', "service.sshd.texts.denied", "{ref}, which must be there"),
        (f'[service.sshd.texts]\ndenied = "{{ref}}{"x" * 120}"', "service.sshd.texts.denied", "at most 120 columns"),
        ('[service.sshd.texts]\ngenerated_pin = "Done."', "service.sshd.texts.generated_pin", "{pin}, which must be there"),
        ('[service.sshd.texts]\nkey_lost = "Oh."', "'service.sshd.texts.key_lost'", "joined, pin, passcode, denied"),
        ("[service.sshd]\ntexts = 1", "service.sshd.texts", "a section, [service.sshd.texts]"),
        ('[[peer]]\nuser = "www-data"', "peer 1", "services is missing"),
        ('[[peer]]\nservices = ["httpd"]', "peer 1", "user is missing"),
        ('[[peer]]\nuser = "root"\nservices = ["httpd"]', "peer 1.user", "other than root's"),
        ('[[peer]]\nuser = 0\nservices = ["httpd"]', "peer 1.user", "other than root's"),
        ('[[peer]]\nuser = "33"\nservices = ["httpd"]', "peer 1.user", "other than root's"),
        ("[[peer]]\nuser = 33\nservices = []", "peer 1.services", "a list of PAM services"),
        ('[[peer]]\nuser = 33\nservices = ["HTTPD"]', "peer 1.services", "in lower case"),
        ('[[peer]]\nuser = 33\nservices = ["a"]\nuid = 33', "'peer 1.uid'", "user, services"),
        ('[peer]\nuser = 33\nservices = ["httpd"]', "peer", "sections, [[peer]]"),
        ('[mail]\nsmtp = "localhost"', "mail.smtp", '"host:port"'),
        ('[mail]\nsmtp = "localhost:0"', "mail.smtp", '"host:port"'),
        ('[mail]\nsmtp = "local host:25"', "mail.smtp", '"host:port"'),
        ('[mail]\nfrom = "arena"', "mail.from", 'an address such as "arena@example.org"'),
        ('[mail]\nfrom = "a@b\\r\\nBcc: c@d"', "mail.from", 'an address such as "arena@example.org"'),
        ('[mail]\ndomain = "@example.org"', "mail.domain", 'a domain such as "example.org"'),
        ("[audit]\nkeep = 3", "audit.keep", 'a time such as "90s" or "15min", from 86400 s to 36600 days, or ""'),
        ('[audit]\nkeep = "1h"', "audit.keep", "from 86400 s"),
        ("[audit]\nmax_size = 1", "audit.max_size", 'a size such as "500MiB" or "1GiB", from 1MiB to 1TiB, or ""'),
        ('[audit]\nmax_size = "1000K"', "audit.max_size", "from 1MiB"),
        ('[audit]\nmax_size = "1 gibibyte"', "audit.max_size", "a size such as"),
        ("service = 1", "service", "a section"),
        ("login = 1", "login", "a section"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_file_and_name(path: Path, text: str, key: str, allowed: str) -> None:
    file = drop_in(path, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{file}: ")
    assert key in str(refused.value)
    assert allowed in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "keys", "allowed"),
    [
        ('[lock]\nwait = "1h"', "lock.wait, lock.wait_max", "at most wait_max"),
        ("[lock]\nafter = 50", "lock.after, lock.close_after", "less than close_after"),
        ("[code]\nwindow = 2\nnext_code_reach = 1", "code.next_code_reach, code.window", "at least window"),
        ("[lock]\nwrong_pin_disables = 200", "lock.wrong_pin_disables, pin.length", "at most lock.guess_bound = 0.01"),
        ("[lock]\nguess_bound = 0.001\n[code]\nwindow = 2", "code.window, code.slow_typing", "with a chance of 0.0014 a year"),
        (
            '[service.sshd]\ninclude_groups = ["staff", "arena-exempt"]',
            "service.sshd.include_groups, service.sshd.exempt_groups",
            "arena-exempt is in both",
        ),
        ("[service.sshd]\nmail_codes = true", "service.sshd.mail_codes, mail.from", "an address in mail.from"),
        ('[service.sshd]\ngrant = "8h"\nmode = "observe"', "service.sshd.grant, service.sshd.mode", 'not with "observe"'),
        ('[service.sshd]\ngrant = "8h"\nmode = "off"', "service.sshd.grant, service.sshd.mode", 'not with "off"'),
        ('[service.su]\ngrant = "8h"', "service.su.grant, service.su.ask", 'with ask = "target" alone'),
    ],
)
def test_keys_that_contradict_are_refused_by_file_and_name(path: Path, text: str, keys: str, allowed: str) -> None:
    drop_in(path, '[login]\nprompt = "joined"\n', "10.toml")
    file = drop_in(path, text)
    drop_in(path, '[pin]\nhistory = 5\n[service.login]\nmode = "observe"\n', "90.toml")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{file}: {keys}")
    assert allowed in str(refused.value)


def test_a_contradiction_is_told_of_the_file_that_made_it(path: Path) -> None:
    drop_in(path, '[lock]\nwait = "10min"\n', "10.toml")
    file = drop_in(path, '[lock]\nwait_max = "5min"\n', "20.toml")
    with pytest.raises(ConfigError, match=f"^{file}: lock.wait, lock.wait_max: "):
        load(path)


def test_a_grant_for_all_gives_way_where_a_section_excludes_it(path: Path) -> None:
    drop_in(path, '[service.default]\ngrant = "8h"\n[service.login]\nmode = "off"\n')
    loaded = load(path)
    assert [loaded.service(name).grant for name in ("sshd", "login", "su")] == [8 * 3600, 0, 0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[login\n", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'help = "caf\xe9"\n', "is not UTF-8"),
        (b'help = "\x00"\n', "is not TOML"),
        (b'help = "\x1b[2J"\n', "is not TOML"),
        (b"help = " + b"[" * 100_000, "is not TOML"),
        (b"[lock]\nafter = " + b"1" * 5000, "is not TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_by_name(path: Path, content: bytes, told: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{path}: {told}") as refused:
        load(path)
    assert str(refused.value).isprintable()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", REPLACEABLE)
def test_a_service_may_say_every_text_as_it_is_shipped(path: Path, language: str, name: str) -> None:
    shipped = vars(texts_in(language))
    text = shipped[name] if name in shipped else shipped[f"_{name}"]
    drop_in(path, f"[service.sshd.texts]\n{name} = {json.dumps(text)}\n")
    assert load(path).service("sshd").texts == {name: text}


def test_a_service_takes_what_it_leaves_out_from_the_default(path: Path) -> None:
    drop_in(
        path, '[service.default]\nlanguage = "fr"\n[service.default.texts]\npin = "Code\u00a0: "\nsame_pin = "Encore\u00a0: "\n'
    )
    drop_in(
        path, '[service.sshd]\nanswer_timeout = "1min"\ndeadline = "0"\n[service.sshd.texts]\npin = "PIN\u00a0: "\n', "60.toml"
    )
    sshd, login = load(path).service("sshd"), load(path).service("login")
    assert (sshd.language, sshd.answer_timeout, sshd.deadline) == ("fr", 60, 0)
    assert (login.language, login.answer_timeout, login.deadline) == ("fr", None, 240)
    assert sshd.texts == {"pin": "PIN\u00a0: ", "same_pin": "Encore\u00a0: "}
    assert login.texts == {"pin": "Code\u00a0: ", "same_pin": "Encore\u00a0: "}


def test_peers_of_all_files_count_and_a_later_file_replaces_one(path: Path) -> None:
    drop_in(path, '[[peer]]\nuser = "www-data"\nservices = ["httpd"]\n[[peer]]\nuser = 990\nservices = ["radiusd"]\n')
    drop_in(path, '[[peer]]\nuser = "www-data"\nservices = ["intranet", "wiki"]\n', "60.toml")
    assert load(path).peers == (Peer("www-data", ("intranet", "wiki")), Peer(990, ("radiusd",)))


def test_a_pin_may_be_chosen_by_the_system_and_expire(path: Path) -> None:
    drop_in(path, '[pin]\nchoice = "system"\nhistory = 24\nexpires = "1y"\n')
    assert load(path).pin == Pin(choice=PinChoice.SYSTEM, history=24, expires=31557600)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("", (0.001, 0.001)),
        ('[code]\nslow_typing = "0"', (0.001, 0.0006)),
        ('[code]\nslow_typing = "31s"\nwindow = 2', (0.001, 0.0014)),
        ("[pin]\nlength = [6, 8]\n[lock]\nwrong_pin_disables = 100", (0.0001, 0.001)),
    ],
)
def test_the_bounds_of_a_guesser_follow_from_the_configuration(path: Path, text: str, bounds: tuple[float, float]) -> None:
    drop_in(path, text)
    assert guess_bounds(load(path)) == pytest.approx(bounds)


def test_groups_and_users_that_do_not_exist_are_told(path: Path) -> None:
    drop_in(
        path,
        '[service.default]\ninclude_groups = ["root", "no-such-group"]\n[service.sshd]\nexempt_groups = ["staf"]\n'
        '[[peer]]\nuser = "no-such-user"\nservices = ["httpd"]\n[[peer]]\nuser = "daemon"\nservices = ["httpd"]\n',
    )
    assert check_groups(load(path)) == [
        "service.default.include_groups: there is no group no-such-group",
        "service.sshd.exempt_groups: there is no group staf",
        "peer.user: there is no user no-such-user",
    ]


def test_the_groups_of_the_shipped_file_may_be_missing(path: Path) -> None:
    assert check_groups(load(path)) == []


def test_what_is_shown_has_the_names_of_the_file(path: Path) -> None:
    drop_in(path, '[[peer]]\nuser = 33\nservices = ["httpd"]\n')
    shown = json.loads(json.dumps(show(load(path))))
    assert shown["mail"] == {"smtp": "localhost:25", "from": "", "domain": ""}
    assert shown["service"]["su"]["ask"] == "caller"
    assert shown["peer"] == [{"user": 33, "services": ["httpd"]}]


@pytest.mark.parametrize(
    ("text", "span"), [("90s", 90), ("1min 30s", 90), ("15min", 900), ("14d", 1209600), ("0", 0), ("500ms", 0.5)]
)
def test_times_are_read_as_systemd_reads_them(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["7" * 200 + "ref", "7" * 16, "1.5.5", "1 " * 100 + "x", "1m" + " " * 100 + "!", "", " ", "s"])
def test_what_is_no_time_is_refused_without_a_search_through_all_ways_to_read_it(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        seconds(text)
