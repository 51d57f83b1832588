"""What doctor makes of a PAM stack: held against Debian's own files, stacks that are wrong, and libpam itself."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pam_arena.cli.host.pam_files import read_stack
from pam_arena.cli.host.pam_judge import find_bypasses
from pam_arena.cli.host.pam_report import report_stacks
from pam_arena.cli.host.pam_talk import Caller, hold

COMMON_AUTH = """
auth\t[success=1 default=ignore]\tpam_unix.so nullok
auth\trequisite\t\t\tpam_deny.so
auth\trequired\t\t\tpam_permit.so
"""
ARENA = "auth required pam_arena.so\n"
CONFIG = {
    "login": {"prompt": "split"},
    "service": {
        "default": {
            "mode": "enforce",
            "ask": "target",
            "prompt": None,
            "include_groups": [],
            "exempt_groups": [],
            "without_token": "deny",
        }
    },
}


def bypasses(folder: Path, text: str, **files: str) -> list[tuple[str, bool]]:
    """(module, whether pam_arena had refused) of each way in."""
    for name, content in {"common-auth": COMMON_AUTH, **files, "door": text}.items():
        (folder / name.replace("_", "-")).write_text(content)
    return [(one.by.name, bool(one.failed)) for one in find_bypasses(read_stack("door", "auth", folder).entries)]


@pytest.mark.parametrize(
    "text",
    [
        "@include common-auth\n" + ARENA,
        "auth requisite pam_arena.so\n@include common-auth\n",
        "auth optional pam_faildelay.so delay=3\nauth requisite pam_nologin.so\n@include common-auth\n" + ARENA,
        "auth include common-auth\nauth [success=ok ignore=ignore default=die] pam_arena.so prompt=joined\n",
        "auth substack common-auth\n" + ARENA,
        "auth [default=1] pam_unix.so\n" + ARENA + "auth requisite pam_arena.so\n",
    ],
)
def test_a_good_stack_has_no_way_round(tmp_path: Path, text: str) -> None:
    assert bypasses(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "by", "refused"),
    [
        ("auth sufficient pam_permit.so\n" + ARENA, "pam_permit", False),
        ("auth sufficient pam_unix.so\n" + ARENA, "pam_unix", False),
        ("auth sufficient pam_rootok.so\n" + ARENA + "@include common-auth\n", "pam_rootok", False),
        (
            "auth [success=1 default=ignore] pam_succeed_if.so uid > 1\n" + ARENA + "@include common-auth\n",
            "pam_succeed_if",
            False,
        ),
        ("@include common-auth\nauth optional pam_arena.so\n", "pam_arena", True),
        ("auth sufficient pam_arena.so\n@include common-auth\n", "pam_arena", True),
        ("@include common-auth\nauth [success=ok authinfo_unavail=ignore default=die] pam_arena.so\n", "pam_arena", True),
        ("@include common-auth\nauth [success=ok module_unknown=ignore default=die] pam_arena.so\n", "pam_arena", True),
        ("auth [success=done default=ignore] pam_u2f.so\n@include common-auth\n" + ARENA, "pam_u2f", False),
        (ARENA.replace("required", "[success=ok default=reset]") + "auth required pam_permit.so\n", "pam_arena", True),
    ],
)
def test_a_way_round_is_named_by_its_line(tmp_path: Path, text: str, by: str, refused: bool) -> None:
    assert (by, refused) in bypasses(tmp_path, text)


CODES = st.sampled_from(["success", "auth_err", "authinfo_unavail", "user_unknown", "ignore", "perm_denied"])
ACTIONS = st.sampled_from(["ok", "done", "ignore", "bad", "die", "reset", "1", "2"])
BRACKETS = st.builds(
    lambda success, other, default: f"[success={success} auth_err={other} default={default}]", ACTIONS, ACTIONS, ACTIONS
)
CONTROLS = st.one_of(st.sampled_from(["required", "requisite", "sufficient", "optional"]), BRACKETS)
LINES = st.lists(
    st.builds(lambda control, code: f"auth {control} pam_debug.so auth={code}\n", CONTROLS, CODES), min_size=1, max_size=4
)


@given(
    before=LINES, inner=LINES, after=LINES, how=st.sampled_from(["@include inner", "auth include inner", "auth substack inner"])
)
@settings(max_examples=120, deadline=None)
def test_it_follows_a_stack_as_libpam_does(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], inner: list[str], after: list[str], how: str
) -> None:
    """pam_debug returns what it is told; a stack without pam_arena has a way in if libpam says yes."""
    folder = tmp_path_factory.mktemp("pam")
    (folder / "inner").write_text("".join(inner))
    how = how.replace("inner", f"{folder}/inner")  # libpam looks for others in /etc/pam.d alone
    (folder / "door").write_text("".join([*before, how + "\n", *after]) + "account required pam_permit.so\n")
    (folder / "other").write_text("auth required pam_deny.so\n")
    entries = read_stack("door", "auth", folder).entries
    opened = hold(Caller("door", "root"), lambda style, text: None, folder).opened
    assert bool(find_bypasses(entries)) == opened, (folder / "door").read_text()


def problems(folder: Path, text: str, **files: str) -> dict[str, str]:
    """found -> remedy of what is no note, in a host of this stack alone."""
    pam = folder / "etc/pam.d"
    pam.mkdir(parents=True)
    modules = folder / "usr/lib/x86_64-linux-gnu/security"
    modules.mkdir(parents=True)
    for name in ("pam_unix", "pam_deny", "pam_permit", "pam_arena"):
        (modules / f"{name}.so").touch()
    (folder / "etc/shadow").write_text(files.pop("shadow", "root:x:1::::::\n"))
    for name, content in {"common-auth": COMMON_AUTH, **files, "door": text}.items():
        (pam / name.replace("_", "-")).write_text(content)
    return {one.found: one.remedy for one in report_stacks(CONFIG, pam, folder) if one.remedy}


def test_a_good_stack_needs_no_remedy(tmp_path: Path) -> None:
    assert problems(tmp_path, "@include common-auth\n" + ARENA) == {}


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        (
            ARENA.replace(".so", ".so promt=joined") + "@include common-auth\n",
            "unknown option 'promt=joined'",
            "take it out of",
        ),
        (ARENA + "auth required pam_none.so\n", "pam_none.so is not there", "take the line out"),
        (ARENA + "@include nowhere\n", "includes nowhere, which is not there", "put it right in"),
        (ARENA + "auth requird pam_unix.so\n", "unknown control 'requird'", "put it right in"),
        (ARENA + "auht required pam_unix.so\n", "no line of PAM", "put it right in"),
        (ARENA.replace("auth", "-auth"), "passes over a missing pam_arena.so", "without the hyphen"),
        (ARENA + "session required pam_arena.so\n", "no session part", "take the line out"),
        (ARENA.replace(".so", ".so socket=/tmp/mine"), "another socket", "take socket=/tmp/mine out"),
    ],
)
def test_a_fault_of_a_line_has_its_remedy(tmp_path: Path, text: str, found: str, remedy: str) -> None:
    said = [(one, told) for one, told in problems(tmp_path, text).items() if found in one]
    assert said and remedy in said[0][1]


def test_nullok_is_named_only_where_a_password_is_empty(tmp_path: Path) -> None:
    said = problems(tmp_path, "@include common-auth\n" + ARENA, shadow="root:x:1::::::\nerin::1::::::\n")
    assert said == {"nullok, and there is no password of erin: the code alone does": "passwd erin"}


def test_what_a_login_asks_follows_the_lines_and_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "common-auth").write_text(COMMON_AUTH)
    (tmp_path / "door").write_text("auth requisite pam_arena.so prompt=joined\n@include common-auth\n")
    (said,) = [one.found for one in report_stacks(CONFIG, tmp_path) if one.thing == "pam door"]
    assert said.startswith("a login asks: PIN + code in one field, of the user who logs in")
    assert said.endswith("then the password")
