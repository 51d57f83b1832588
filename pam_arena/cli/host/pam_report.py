"""PAM's stacks line by line in plain words, and what is wrong with them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .findings import Finding, good, note, problem, warning
from .pam_files import PAM_FOLDER, Entry, Stack, asking, module_path, read_stack
from .pam_judge import Bypass, find_bypasses

OPTIONS = ("try_first_pass", "use_first_pass", "forward_pass", "debug", "prompt=split", "prompt=joined")
AUTH_SOCKET = "/run/arena/auth.sock"
_NO_SESSION = "pam_arena has no session part: PAM refuses the login"
_AFTER = {
    "required": "must say yes; the lines below are asked in any case",
    "requisite": "must say yes, or it ends here",
    "sufficient": "its yes is enough, and ends the questions",
    "optional": "its answer does not count",
}
_ACTIONS = {
    "ok": "counts as yes",
    "done": "is enough, and ends the questions",
    "ignore": "does not count",
    "bad": "refuses at the end",
    "die": "refuses at once",
    "reset": "forgets the lines above",
}
_MODULES = {
    "pam_arena": "PIN and one-time code",
    "pam_unix": "the password",
    "pam_sss": "the directory's password",
    "pam_ldap": "the directory's password",
    "pam_krb5": "the Kerberos password",
    "pam_winbind": "the domain's password",
    "pam_permit": "always yes",
    "pam_deny": "always no",
    "pam_nologin": "no login while /etc/nologin is there",
    "pam_rootok": "yes if root asks",
    "pam_faildelay": "a pause after failures",
    "pam_cap": "capabilities",
    "pam_env": "the environment",
    "pam_group": "groups by /etc/security/group.conf",
    "pam_succeed_if": "a condition",
    "pam_google_authenticator": "another one-time code",
    "pam_oath": "another one-time code",
    "pam_u2f": "a security key",
    "pam_fprintd": "a fingerprint",
}
# Who comes past by these is told by a rule; whether the rule is right, only the sysadmin knows.
_RULES = {"pam_succeed_if", "pam_listfile", "pam_access", "pam_localuser", "pam_usertype", "pam_time", "pam_wheel", "pam_exec"}
_PASSWORDS = {"pam_unix", "pam_sss", "pam_ldap", "pam_krb5", "pam_winbind"}
_ENABLE = "arenactl pam enable {service}"


def meaning(entry: Entry) -> str:
    """What a line does, in plain words."""
    what = _MODULES.get(entry.name, entry.name)
    if entry.control in _AFTER:
        return f"{what}: {_AFTER[entry.control]}"
    return f"{what}: yes {_of_action(entry.action('success'))}, no {_of_action(entry.action('auth_err'))}"


def _of_action(action: str) -> str:
    if action.isdigit():
        return f"skips {action} line{'s' * (action != '1')}"
    return _ACTIONS.get(action, f"{action}?")


def report_stacks(config: Mapping[str, Any] | None, folder: Path = PAM_FOLDER, root: Path = Path("/")) -> list[Finding]:
    """All about the services that name pam_arena: lines, faults, and what a login would ask. config: `arenad config show`."""
    try:
        found = asking(folder)
    except OSError as error:
        return [problem(str(folder), f"{error.filename}: {error.strerror}", f"ls -l {folder}")]
    if not found:
        return [note("pam", "no service asks for a code", _ENABLE.format(service="sshd"))]
    findings = [finding for stack in found.values() for finding in _report(stack, config, folder, root)]
    return list(dict.fromkeys(findings))  # a fault of common-auth is the same for all who include it


def _report(stack: Stack, config: Mapping[str, Any] | None, folder: Path, root: Path) -> Iterator[Finding]:
    for flaw in stack.flaws:
        yield problem(f"pam {flaw.where}", flaw.what, f"put it right in {folder}/{flaw.where.partition(':')[0]}")
    for entry in filter(lambda entry: entry.is_module, stack.entries):
        yield note(f"pam {stack.service} ({entry.where})", meaning(entry))
        yield from _of_line(entry, folder, root)
    for bypass in find_bypasses(stack.entries):
        yield _of_bypass(bypass, folder)
    for kind in ("account", "session"):
        for entry in read_stack(stack.service, kind, folder).entries:
            if entry.is_arena:
                yield from _of_other_type(entry, folder, root)
    yield note(f"pam {stack.service}", what_is_asked(stack, config))


def _of_line(entry: Entry, folder: Path, root: Path) -> Iterator[Finding]:
    """What is wrong with one line by itself."""
    thing, file = f"pam {entry.where}", folder / entry.file
    if module_path(entry.module, root) is None and not entry.may_miss:
        remedy = "apt install --reinstall libpam-arena" if entry.is_arena else f"take the line out of {file}"
        yield problem(thing, f"{entry.module} is not there: PAM takes it for a refusal", remedy)
    if entry.name == "pam_unix" and "nullok" in entry.arguments:
        yield from _of_nullok(entry, root)
    if not entry.is_arena:
        return
    if entry.may_miss:
        yield problem(thing, "by -auth, PAM passes over a missing pam_arena.so", f"write auth, without the hyphen, in {file}")
    for argument in entry.arguments:
        if argument.startswith("socket="):
            if argument != f"socket={AUTH_SOCKET}":
                yield warning(thing, f"asks at another socket: {argument}", f"take {argument} out of {file}")
        elif argument not in OPTIONS:
            yield problem(
                thing, f"unknown option {argument!r}: every login fails here", f"take it out of {file}; see pam_arena(8)"
            )


def _of_nullok(entry: Entry, root: Path) -> Iterator[Finding]:
    try:
        lines = (root / "etc/shadow").read_text("utf-8", "replace").splitlines()
    except OSError:
        yield note(f"pam {entry.where}", "nullok: an empty password does; /etc/shadow was not looked at", "run it as root")
        return
    empty = [line.partition(":")[0] for line in lines if line.count(":") > 1 and not line.split(":")[1]]
    if empty:
        shown = ", ".join(empty[:5]) + (" …" if len(empty) > 5 else "")
        yield warning(
            f"pam {entry.where}", f"nullok, and there is no password of {shown}: the code alone does", f"passwd {empty[0]}"
        )


def _of_bypass(bypass: Bypass, folder: Path) -> Finding:
    entry = bypass.by
    thing, file = f"pam {entry.where}", folder / entry.file
    if bypass.failed:
        by_itself = f"{entry.control} lets in whom pam_arena refused ({bypass.failed})"
        other = f"it lets in whom pam_arena refused ({bypass.failed})"
        return problem(
            thing, by_itself if entry.is_arena else other, f"write requisite in the place of {entry.control} in {file}"
        )
    if entry.name == "pam_rootok":
        return note(thing, "root is not asked here, as Debian ships it")
    if entry.name in _RULES:
        return warning(thing, f"whom {entry.name} lets past is not asked for a code", f"read that line of {file}")
    return problem(
        thing,
        f"the yes of {entry.name} opens the door without pam_arena",
        f"put the line of pam_arena above it in {file}, or: {_ENABLE.format(service='SERVICE')} --arena-first",
    )


def _of_other_type(entry: Entry, folder: Path, root: Path) -> Iterator[Finding]:
    thing, file = f"pam {entry.where}", folder / entry.file
    if entry.kind == "session":
        yield problem(thing, _NO_SESSION, f"take the line out of {file}")
        return
    yield from _of_line(entry, folder, root)
    if entry.file.startswith("common-"):
        yield warning(thing, "cron, polkit and user@.service are refused with it", f"take the line out of {file}")
    else:
        yield good(thing, "account: a holder whose keys are all disabled is refused")


def what_is_asked(stack: Stack, config: Mapping[str, Any] | None) -> str:
    """What a login of this service asks, in order: which prompt, and whose key."""
    parts = []
    for entry in stack.entries:
        if entry.name in _PASSWORDS and "the password" not in parts:
            parts.append("the password")
        elif entry.is_arena:
            parts.append(_of_arena(stack.service, entry, config))
        elif entry.name in ("pam_u2f", "pam_fprintd", "pam_google_authenticator", "pam_oath"):
            parts.append(_MODULES[entry.name])
    return "a login asks: " + ", then ".join(parts)


def _of_arena(service: str, entry: Entry, config: Mapping[str, Any] | None) -> str:
    if config is None:
        return "PIN and code (arena.toml could not be read)"
    section = section_of(config, service)
    if section["mode"] == "off":
        return "nothing of pam_arena (mode is off)"
    joined = "prompt=joined" in entry.arguments
    split = "prompt=split" in entry.arguments
    prompt = "joined" if joined else "split" if split else section["prompt"] or config["login"]["prompt"]
    whose = "of the one who calls" if section["ask"] == "caller" else "of the user who logs in"
    what = "PIN + code in one field" if prompt == "joined" else "PIN, then code"
    words = [f"{what}, {whose}"]
    if section["mode"] == "observe":
        words.append("observe: nothing is enforced")
    if section["include_groups"]:
        words.append("only " + ", ".join(section["include_groups"]))
    if section["exempt_groups"]:
        words.append("not " + ", ".join(section["exempt_groups"]))
    words.append("who has no key is " + ("refused" if section["without_token"] == "deny" else "let by"))
    return f"{words[0]} ({'; '.join(words[1:])})"


def section_of(config: Mapping[str, Any], service: str) -> Mapping[str, Any]:
    """A service's section of the configuration, or the default one."""
    sections: Mapping[str, Mapping[str, Any]] = config["service"]
    return sections.get(service, sections["default"])
