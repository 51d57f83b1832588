"""Who is asked: whose key a service wants, who is let by, and which peers may converse at all.

Groups are looked up through NSS. A lookup that fails means *asked*.
"""

import enum
import grp
import os
import pwd

from attrs import frozen

from pam_arena.conversation import Manner, PromptStyle
from pam_arena.protocol import Option
from pam_arena.texts import texts_in
from pam_arena.wire import Start

from ..config import Config, Service


class Treatment(enum.Enum):
    """What becomes of a START."""

    ASK = "ask"
    IGNORE = "ignore"  # this service does not ask this person
    REFUSE = "refuse"  # this peer may not converse for this account


@frozen
class Decision:
    """What becomes of a START, and for whom."""

    treatment: Treatment
    name: str
    service: Service
    why: str = ""


def decide(config: Config, start: Start, peer_uid: int) -> Decision:
    """Decide by configuration, NSS and the peer's uid; never by the state of an account."""
    service = config.service(start.service)
    caller = start.uid if peer_uid == 0 else peer_uid
    name = _name_of(caller) if service.ask == "caller" else start.user
    if peer_uid != 0 and uid_of(name) != peer_uid:
        return Decision(Treatment.REFUSE, name, service, f"uid {peer_uid} may only converse for itself")
    if service.mode == "off":
        return Decision(Treatment.IGNORE, name, service, "mode is off")
    if service.include_groups and _is_member(name, service.include_groups) is False:
        return Decision(Treatment.IGNORE, name, service, "in no group of include_groups")
    if service.exempt_groups and _is_member(name, service.exempt_groups) is True:
        return Decision(Treatment.IGNORE, name, service, "in a group of exempt_groups")
    return Decision(Treatment.ASK, name, service)


def manner_of(config: Config, service: Service, options: Option) -> Manner:
    """How a service asks: by its PAM line, else its section, else [login]."""
    prompt = service.prompt or config.login.prompt
    if options & Option.SPLIT:
        prompt = PromptStyle.SPLIT
    elif options & Option.JOINED:
        prompt = PromptStyle.JOINED
    return Manner(texts_in(config.language), prompt, config.pin.policy)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return ""


def uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError, OSError):
        return None


def _is_member(name: str, groups: tuple[str, ...]) -> bool | None:
    """Whether `name` is in one of `groups`; None if that cannot be told, because NSS does not know a group or the name."""
    gids, missing = set(), False
    for group in groups:
        try:
            gids.add(grp.getgrnam(group).gr_gid)
        except (KeyError, OSError):
            missing = True
    try:
        member = not gids.isdisjoint(os.getgrouplist(name, pwd.getpwnam(name).pw_gid))
    except (KeyError, ValueError, OSError):
        return None
    return member or (None if missing else False)


def is_system_name(name: str) -> bool:
    """Whether NSS knows this name."""
    return uid_of(name) is not None
