"""Before anything is asked: whether this caller is asked at all, may go in by a grant, or is turned away.

Blocking code, run in a thread: it looks names up through NSS, and reads the store.
"""

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import evolve, frozen

from pam_arena.protocol import Operation
from pam_arena.wire import Start

from ..clock import Clock
from ..config import Config, Service
from ..store.accounts import active_tokens, last_granted
from ..store.engine import Reader
from ..store.grants import find_grant, find_session_grant
from ..store.recovery import has_usable_code
from .attempt import GrantTerms
from .logind import remote_session
from .policy import Treatment, decide, is_system_name, uid_of
from .throttle import Origin, is_favoured, origin_of
from .turns import Lane

# PAM's return codes (security/_pam_types.h)
PAM_SUCCESS, PAM_SYSTEM_ERR, PAM_PERM_DENIED, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL = 0, 4, 6, 7, 9
PAM_AUTHTOK_ERR, PAM_IGNORE = 20, 25

_OTHERS = 4  # threads in which others than root are admitted


@frozen
class Admission:
    """What was found before anything is asked: of whom, and by what policy.

    code: PAM's, where nothing needs to be asked; why: for the journal. grant: what a success is to leave behind.
    by_grant: the code is a success that a session grant gives, and is to be noted. uid: the caller's.
    """

    name: str
    service: Service
    origin: Origin
    lane: Lane
    known_name: bool
    uid: int
    address: str
    code: int | None = None
    why: str = ""
    by_grant: bool = False
    grant: GrantTerms | None = None


class Door:
    """Admits callers by configuration, NSS and store."""

    def __init__(self, reader: Reader, clock: Clock, config: Callable[[], Config]) -> None:
        self._reader, self._clock, self._config = reader, clock, config
        self._others = ThreadPoolExecutor(_OTHERS, "arena-others")

    def pool(self, uid: int) -> ThreadPoolExecutor | None:
        """Where what a caller of this uid wants is looked up; None: where all of root's is.

        NSS may be slow, and whoever has it asked again and again must not have root's logins wait for it.
        """
        return self._others if uid != 0 else None

    def close(self) -> None:
        """End the threads."""
        self._others.shutdown()

    def admit(self, start: Start, peer_pid: int, peer_uid: int) -> Admission:
        """What becomes of a START. Raises StoreError where the store is needed and cannot be read."""
        decision = decide(self._config(), start, peer_uid)
        trusted, now = decision.peer_trusted, self._clock.now()
        uid = start.uid if trusted else peer_uid
        origin = origin_of(decision.name, rhost=start.rhost, ruser=start.ruser, uid=uid, trusted=trusted)
        address = start.rhost if trusted else ""
        granted_at = self._reader.read(lambda c: last_granted(c, decision.name, origin.kind, origin.key)) if address else 0
        known = is_system_name(decision.name)
        favoured = Lane.FAVOURED if is_favoured(origin, granted_at, now) else Lane.REMOTE
        lane = favoured if trusted else Lane.OWN
        found = Admission(decision.name, decision.service, origin, lane, known, uid, address)
        if decision.treatment is not Treatment.ASK:
            code = PAM_IGNORE if decision.treatment is Treatment.IGNORE else PAM_PERM_DENIED
            return evolve(found, code=code, why=decision.why)
        return self._by_store(found, start, (peer_pid, peer_uid), int(now))

    def admit_holder(self, start: Start, peer_uid: int) -> Admission:
        """What becomes of a START of arena-key's own: an account is for its own uid and for root, whatever is enforced."""
        config, name = self._config(), start.user
        own = uid_of(name)
        admitted = own is not None and peer_uid in (0, own)
        code, why = (None, "") if admitted else (PAM_PERM_DENIED, f"uid {peer_uid} may only settle its own")
        origin = origin_of(name, rhost="", ruser="", uid=peer_uid, trusted=False)
        lane = lane_of(peer_uid)
        return Admission(name, config.service(start.service), origin, lane, own is not None, peer_uid, "", code, why)

    def _by_store(self, found: Admission, start: Start, peer: tuple[int, int], now: int) -> Admission:
        service, name = found.service, found.name
        peer_pid, peer_uid = peer
        if start.operation is Operation.ACCOUNT or service.without_token == "ignore":
            active, owned = self._reader.read(lambda c: active_tokens(c, name, now))
            if owned == 0:
                return evolve(found, code=PAM_IGNORE, why="has no key")
            if start.operation is Operation.ACCOUNT:
                usable = active > 0 or self._reader.read(lambda c: has_usable_code(c, name, now))
                return evolve(found, code=PAM_SUCCESS if usable else PAM_PERM_DENIED, why="has no active key")
        if start.operation is not Operation.AUTHENTICATE or not service.grant or peer_uid != 0:
            return found
        since = now - int(service.grant)
        key = ssh_key_hash(start.auth_info)
        if key is not None and found.address:
            covered = self._reader.read(lambda c: find_grant(c, name, start.service, found.address, key, now, since))
            return evolve(found, grant=GrantTerms(key, service.grant), **(_COVERED if covered else {}))
        return evolve(found, **_COVERED) if self._in_granted_session(found, start, peer_pid, now, since) else found

    def _in_granted_session(self, found: Admission, start: Start, peer_pid: int, now: int, since: int) -> bool:
        """Whether this is sudo in an ssh session of the same user, from an address whose grant still holds."""
        if found.address or start.ruser != found.name:
            return False
        session = remote_session(peer_pid)
        if session is None or session.uid != uid_of(found.name):
            return False
        return self._reader.read(lambda c: find_session_grant(c, found.name, session.address, now, since))


_COVERED: dict[str, Any] = {"code": PAM_SUCCESS, "why": "covered by a session grant", "by_grant": True}


def lane_of(peer_uid: int) -> Lane:
    """Where what a holder settles for themselves waits."""
    return Lane.OWN if peer_uid != 0 else Lane.REMOTE


def ssh_key_hash(auth_info: str) -> bytes | None:
    """SHA-256 of the SSH key in sshd's SSH_AUTH_INFO_0, as ssh-keygen -l prints it; None if no key is there."""
    for line in auth_info.splitlines():
        method, _, rest = line.partition(" ")
        words = rest.split()
        if method == "publickey" and len(words) >= 2:
            try:
                return hashlib.sha256(base64.b64decode(words[1], validate=True)).digest()
            except ValueError:  # what is not ASCII is no binascii.Error
                return None
    return None
