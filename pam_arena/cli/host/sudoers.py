"""Who may become root: the people without whom nobody could put anything right."""

import grp
import os
import pwd
import re

from .findings import run

_GROUPS = ("sudo", "admin", "wheel")
_ALL = re.compile(r"^\s+\((root|ALL)\b.*\bALL\s*$", re.MULTILINE)


def is_sudoer(name: str) -> bool:
    """Whether a user may run everything as root: by uid, by a group that sudo is shipped with, or by sudoers(5)."""
    try:
        person = pwd.getpwnam(name)
        gids = os.getgrouplist(name, person.pw_gid)
    except (KeyError, OSError):
        return False
    if person.pw_uid == 0:
        return True
    status, said, _ = run("sudo", "-n", "-l", "-U", name)
    if status == 127:  # no sudo here
        return bool({_name(gid) for gid in gids} & set(_GROUPS))
    return status == 0 and _ALL.search(said) is not None


def _name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OSError):
        return ""
