"""Who may do what at the desk: one table, checked before every verb.

A person's roles come from their uid, which the socket tells, and from their groups through NSS.
"""

import enum
import grp
import os
import pwd

DESK_GROUP = "arena-desk"


class Role(enum.Enum):
    """What a caller is."""

    ADMIN = "admin"  # root, and the groups in admin_groups
    DESK = "desk"  # the group arena-desk


_BOTH = frozenset(Role)
_ADMIN = frozenset({Role.ADMIN})
MAY: dict[str, frozenset[Role]] = {
    "status": _BOTH,
    "token add": _ADMIN,
    "token assign": _ADMIN,
    "token import": _ADMIN,
    "token unassign": _ADMIN,
    "token list": _BOTH,
    "token show": _BOTH,
    "token enable": _ADMIN,
    "token disable": _BOTH,
    "token lost": _BOTH,
    "token replace": _ADMIN,
    "token retire": _ADMIN,
    "token prove": _BOTH,  # it completes what an admin began
    "token resync": _BOTH,
    "holder list": _BOTH,
    "holder show": _BOTH,
    "holder leave": _ADMIN,
    "holder set": _ADMIN,  # the address is where codes by mail go
    "pin reset": _BOTH,
    "request list": _BOTH,
    "request add": _BOTH,
    "request approve": _BOTH,
    "request reject": _BOTH,
    "unlock": _BOTH,
    "code emergency": _ADMIN,
    "code temporary": _BOTH,
    "grant list": _BOTH,
    "grant revoke": _BOTH,
    "report observe": _BOTH,
    "why": _BOTH,
    "mail list": _BOTH,
    "mail test": _ADMIN,  # to any address
    "audit list": _BOTH,
    "audit verify": _BOTH,
    "metrics": _BOTH,
    "doctor": _BOTH,
    "pam enable": _ADMIN,
    "config show": _BOTH,  # anybody may read the file
    "config check": _BOTH,
    "migrate": _BOTH,  # how it stands alone: root migrates
    "backup": _ADMIN,  # the master key is in it
    "key status": _ADMIN,
    "key export": _ADMIN,
}


def roles_of(uid: int, admin_groups: tuple[str, ...]) -> frozenset[Role]:
    """The roles of a uid. A group or a user that NSS does not know gives none."""
    if uid == 0:
        return _BOTH
    try:
        person = pwd.getpwuid(uid)
        gids = set(os.getgrouplist(person.pw_name, person.pw_gid))
    except (KeyError, OSError):
        return frozenset()
    roles = set()
    if gids & _gids(admin_groups):
        roles.add(Role.ADMIN)
    if gids & _gids((DESK_GROUP,)):
        roles.add(Role.DESK)
    return frozenset(roles)


def _gids(groups: tuple[str, ...]) -> set[int]:
    found = set()
    for group in groups:
        try:
            found.add(grp.getgrnam(group).gr_gid)
        except (KeyError, OSError):
            continue
    return found
