"""Who is asked, and how: whose key a service wants, who is let by, which peers may converse at all, and in whose words.

Groups are looked up through NSS. A lookup that fails means *asked*. The manner of asking comes from the configuration and
the PAM line alone, never from the account.
"""

import enum
import grp
import os
import pwd
import time
from functools import lru_cache

from attrs import frozen

from pam_arena.conversation import Manner, PromptStyle
from pam_arena.protocol import Option
from pam_arena.texts import texts_in
from pam_arena.wire import Start

from ..config import Config, Service

_GROUPS_FOR = 10.0  # seconds that a group keeps its number, or stays unknown


class Treatment(enum.Enum):
    """What becomes of a START."""

    ASK = "ask"
    IGNORE = "ignore"  # this service does not ask this person
    REFUSE = "refuse"  # this peer may not converse for this account


@frozen
class Decision:
    """What becomes of a START, and for whom. peer_trusted: whether the peer's word on rhost, ruser and uid counts."""

    treatment: Treatment
    name: str
    service: Service
    peer_trusted: bool
    why: str = ""


def decide(config: Config, start: Start, peer_uid: int) -> Decision:
    """Decide by configuration, NSS and the peer's uid; never by the state of an account."""
    service = config.service(start.service)
    trusted = peer_uid == 0 or peer_uid in peer_uids(config, start.service)
    caller = start.uid if trusted else peer_uid
    name = _name_of(caller) if service.ask == "caller" else start.user

    def decision(treatment: Treatment, why: str = "") -> Decision:
        return Decision(treatment, name, service, trusted, why)

    if not trusted and uid_of(name) != peer_uid:
        return decision(Treatment.REFUSE, f"uid {peer_uid} may only converse for itself")
    if service.mode == "off":
        return decision(Treatment.IGNORE, "mode is off")
    if service.include_groups and _is_member(name, service.include_groups) is False:
        return decision(Treatment.IGNORE, "in no group of include_groups")
    if service.exempt_groups and _is_member(name, service.exempt_groups) is True:
        return decision(Treatment.IGNORE, "in a group of exempt_groups")
    return decision(Treatment.ASK)


def peer_uids(config: Config, service: str | None = None) -> frozenset[int]:
    """The uids other than root that may converse for anyone at this service; at any, without one."""
    peers = (peer for peer in config.peers if service is None or service in peer.services)
    uids = (peer.user if isinstance(peer.user, int) else uid_of(peer.user) for peer in peers)
    return frozenset(uid for uid in uids if uid)  # 0, if ever a peer's name has it, is root and no peer


def manner_of(config: Config, service: Service, options: Option, *, plain: bool = False) -> Manner:
    """How a service asks: by its PAM line, else its section, else what is said for all. plain: without U+00A0."""
    prompt = service.prompt or config.login.prompt
    if options & Option.SPLIT:
        prompt = PromptStyle.SPLIT
    elif options & Option.JOINED:
        prompt = PromptStyle.JOINED
    return Manner(
        texts=texts_in(service.language or config.language, service.texts, plain),
        prompt=prompt,
        policy=config.pin.policy,
        choice=config.pin.choice,
        mail_codes=service.mail_codes,
        forward=bool(options & Option.FORWARD_PASS),
        observe=service.mode == "observe",
    )


class Manners:
    """The manner of each service and PAM line, made once for a configuration: thousands may stand at a prompt."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._config: Config | None = None
        self._made: dict[tuple[str, Option], Manner] = {}

    def of(self, config: Config, service: str, options: Option) -> Manner:
        """How a service asks."""
        if config is not self._config:
            self._config, self._made = config, {}
        known = service if service in config.services else "default"
        if (known, options) not in self._made:
            self._made[known, options] = manner_of(config, config.service(known), options, plain=self._plain)
        return self._made[known, options]


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
    gids = [_gid_of(group, int(time.monotonic() // _GROUPS_FOR)) for group in groups]
    known = {gid for gid in gids if gid is not None}
    if not known:
        return None
    try:
        member = not known.isdisjoint(os.getgrouplist(name, pwd.getpwnam(name).pw_gid))
    except (KeyError, ValueError, OSError):
        return None
    return member or (None if None in gids else False)


def forget_groups() -> None:
    """Look every group up anew: the configuration was read again."""
    _gid_of.cache_clear()


@lru_cache(maxsize=256)
def _gid_of(group: str, _period: int) -> int | None:
    """The number of a group, looked up once in a while: who is in it is looked up at every login."""
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, OSError):
        return None


def is_system_name(name: str) -> bool:
    """Whether NSS knows this name."""
    return uid_of(name) is not None
