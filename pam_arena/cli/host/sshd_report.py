"""sshd's settings in force (`sshd -T`), also under its Match blocks, and login's time limit, against what pam_arena needs."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from .findings import Finding, good, note, problem, run, warning

CONFIG = Path("/etc/ssh/sshd_config")
DROP_IN = Path("/etc/ssh/sshd_config.d/00-arena.conf")
LOGIN_DEFS = Path("/etc/login.defs")
SECONDS = 240  # a first login waits up to a minute for the next code, and its holder chooses a PIN
_CONNECTIONS = 100  # people who type at the same time
_SETTINGS = "cp /usr/share/doc/libpam-arena/examples/sshd_config.d/arena.conf {file} && sshd -t && systemctl reload ssh"
_MATCH = re.compile(r"^\s*Match\s+(.+)", re.IGNORECASE | re.MULTILINE)


def read_settings(*words: str) -> tuple[dict[str, list[str]], str]:
    """What sshd says of itself: keyword (small letters) -> values; and what went wrong, if it did."""
    status, said, complaint = run("sshd", "-T", *words)
    if status != 0:
        return {}, complaint.strip() or f"exit status {status}"
    settings: dict[str, list[str]] = {}
    for line in said.splitlines():
        name, _, value = line.partition(" ")
        settings.setdefault(name.lower(), []).append(value)
    return settings, ""


def match_users(config: Path = CONFIG) -> list[str]:
    """The users whom Match blocks name, so that their settings can be looked at too."""
    users: list[str] = []
    for path in (config, *sorted(config.with_name("sshd_config.d").glob("*.conf"))):
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        for criteria in _MATCH.findall(text):
            words = criteria.split()
            named = [value for name, value in pairwise(words) if name.lower() == "user"]
            users += [user for value in named for user in value.split(",") if not set(user) & set("*?!")]
    return list(dict.fromkeys(users))


def connection_of(user: str) -> tuple[str, str]:
    """The words that have sshd -T look at its Match blocks for a user."""
    return "-C", f"user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"


def report_sshd(asks: bool) -> list[Finding]:
    """Findings about sshd. asks: whether its PAM stack has pam_arena."""
    settings, complaint = read_settings()
    if not settings:
        if "not installed" in complaint:
            return [note("sshd", "sshd is not installed")]
        return [problem("sshd", f"sshd -T: {complaint}", "sshd -t")]
    if not asks:
        return [note("sshd", "its PAM stack does not name pam_arena", "arenactl pam enable sshd")]
    findings = list(judge_sshd(settings))
    for user in match_users():
        theirs, complaint = read_settings(*connection_of(user))
        if not theirs:
            findings.append(warning("sshd", f"sshd -T -C user={user}: {complaint}", "sshd -t"))
            continue
        known = {finding.found for finding in findings}
        findings += [one for one in judge_sshd(theirs, f" for {user} (Match)") if one.remedy and one.found not in known]
    return findings


def judge_sshd(settings: Mapping[str, list[str]], whose: str = "") -> Iterator[Finding]:
    """What is right and wrong with settings, of everybody or of one user under a Match block."""
    thing = f"sshd{whose}"
    remedy = _SETTINGS.format(file=DROP_IN)
    mend = f"look for the Match block: grep -rn Match {CONFIG}*" if whose else remedy

    def value(name: str) -> str:
        return " ".join(settings.get(name, [""]))

    if value("usepam") != "yes":
        yield problem(thing, "UsePAM is no: PAM, and with it pam_arena, is not asked", mend)
    if value("kbdinteractiveauthentication") != "yes":
        yield problem(thing, "KbdInteractiveAuthentication is no: PIN and code cannot be asked", mend)
    if value("passwordauthentication") != "no":
        yield warning(thing, "PasswordAuthentication is yes: it answers PIN and code with the password", mend)
    if value("permitemptypasswords") == "yes":
        yield warning(thing, "PermitEmptyPasswords is yes", f"take it out of {CONFIG}")
    yield _methods(thing, value("authenticationmethods"), value("pubkeyauthentication") == "yes", mend)
    grace = _seconds(value("logingracetime"))
    if 0 < grace < SECONDS:
        yield warning(thing, f"LoginGraceTime is {grace} s: a first login is cut off ({SECONDS} s do)", mend)
    else:
        yield good(thing, f"LoginGraceTime is {grace} s" if grace else "LoginGraceTime is unlimited")
    begin = value("maxstartups").partition(":")[0]
    if begin.isdigit() and int(begin) < _CONNECTIONS:
        yield note(thing, f"MaxStartups is {value('maxstartups')}: {begin} who type at a time", mend)
    penalties = value("persourcepenalties")
    if penalties and penalties != "no" and value("persourcepenaltyexemptlist") in ("", "none"):
        yield note(
            thing,
            "PerSourcePenalties shuts out addresses that fail; many people behind one address share it",
            f"PerSourcePenaltyExemptList ADDRESSES in {DROP_IN}",
        )


def _methods(thing: str, methods: str, keys: bool, mend: str) -> Finding:
    lists = methods.split()
    if lists in ([], ["any"]):
        if keys:
            return problem(thing, "AuthenticationMethods is any: an SSH key alone opens the door, without a code", mend)
        return good(thing, "AuthenticationMethods is any, and SSH keys are off")
    without = [one for one in lists if not any(step.startswith("keyboard-interactive") for step in one.split(","))]
    if without:
        return problem(thing, f"AuthenticationMethods {without[0]} opens the door without a code", mend)
    return good(thing, f"AuthenticationMethods {methods}")


def _seconds(text: str) -> int:
    return int(text) if text.isdigit() else 0


def report_login(asks: bool, path: Path = LOGIN_DEFS) -> list[Finding]:
    """Findings about login(1), which gives up after LOGIN_TIMEOUT seconds."""
    if not asks:
        return []
    try:
        found = re.findall(r"^\s*LOGIN_TIMEOUT\s+(\d+)", path.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError as error:
        return [warning("login", f"{path}: {error.strerror}", f"ls -l {path}")]
    seconds = int(found[-1]) if found else 60
    if 0 < seconds < SECONDS:
        remedy = f"LOGIN_TIMEOUT {SECONDS} in {path}"
        return [warning("login", f"LOGIN_TIMEOUT is {seconds} s: a first login is cut off ({SECONDS} s do)", remedy)]
    return [good("login", f"LOGIN_TIMEOUT is {seconds} s")]
