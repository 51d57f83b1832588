"""One PAM conversation, held by root for somebody else: python-pam's library, with a conversation function of our own.

python-pam answers every hidden question with one password; PIN and code are questions of their own.
"""

import ctypes
import os
import pwd
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from attrs import frozen
from pam import __internals as libpam

from pam_arena.errors import ArenaError
from pam_arena.protocol import Style
from pam_arena.secret import Secret

Answer = Callable[[Style, str], Secret | None]
_STYLES = {
    libpam.PAM_PROMPT_ECHO_OFF: Style.HIDDEN,
    libpam.PAM_PROMPT_ECHO_ON: Style.SHOWN,
    libpam.PAM_ERROR_MSG: Style.ERROR,
    libpam.PAM_TEXT_INFO: Style.INFO,
}
_CONV_ERR: int = libpam.PAM_CONV_ERR
SUCCESS: int = libpam.PAM_SUCCESS
_REFERENCE = re.compile(r"\((?:ref|réf\.)\s([0-9A-Z]{8})\)")


class PamTrouble(ArenaError):
    """libpam could not even begin."""


@frozen
class Caller:
    """Who is at the door. user: whose login PAM is told of. uid: the real uid that the module sees."""

    service: str
    user: str
    uid: int = 0
    ruser: str = ""
    rhost: str = ""
    tty: str = ""


@frozen
class Verdict:
    """What came of it: PAM's codes (account is None if it was not asked), libpam's words, and a denial's reference."""

    auth: int
    account: int | None
    words: str
    ref: str
    prompts: int

    @property
    def opened(self) -> bool:
        """Whether a real login would have gone on."""
        return self.auth == SUCCESS and self.account == SUCCESS


def hold(caller: Caller, answer: Answer, folder: Path | None = None) -> Verdict:
    """Authenticate, then ask account. folder: instead of /etc/pam.d. Raises PamTrouble."""
    said: list[str] = []
    asked = 0

    def put(style: Style, text: str) -> Secret | None:
        nonlocal asked
        if style in (Style.INFO, Style.ERROR):
            said.append(text)
        else:
            said.append(text)  # a reason may travel with the question after it
            asked += 1
        return answer(style, text)

    with _as_caller(caller.uid), _session(caller, put, folder) as (pam, handle):
        auth = int(pam.pam_authenticate(handle, 0))
        account = int(pam.pam_acct_mgmt(handle, 0)) if auth == SUCCESS else None
        result = auth if account is None else account
        words = pam.pam_strerror(handle, result).decode("utf-8", "replace")
        found = _REFERENCE.findall(" ".join(said))
        return Verdict(auth, account, words, found[-1] if found else "", asked)


@contextmanager
def _session(caller: Caller, answer: Answer, folder: Path | None) -> Iterator[tuple[Any, Any]]:
    """A PAM handle with its items set, ended whatever happens."""
    pam = libpam.PamAuthenticator()
    handle = libpam.PamHandle()
    conv = libpam.PamConv(_conversation(pam, answer), 0)
    names = caller.service.encode(), caller.user.encode("utf-8", "surrogateescape")
    if folder is None:
        begun = pam.pam_start(*names, ctypes.byref(conv), ctypes.byref(handle))
    else:
        start = ctypes.CDLL(find_library("pam")).pam_start_confdir
        start.argtypes = [
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.POINTER(libpam.PamConv),
            ctypes.c_char_p,
            ctypes.POINTER(libpam.PamHandle),
        ]
        begun = start(*names, ctypes.byref(conv), os.fsencode(folder), ctypes.byref(handle))
    if begun != SUCCESS:
        raise PamTrouble(f"PAM cannot begin with the service {caller.service} (code {begun}): journalctl -t arenactl -n 5")
    try:
        items = {libpam.PAM_RUSER: caller.ruser, libpam.PAM_RHOST: caller.rhost, libpam.PAM_TTY: caller.tty}
        for item, value in items.items():
            if value:
                pam.pam_set_item(handle, item, ctypes.cast(ctypes.c_char_p(value.encode()), ctypes.c_void_p))
        yield pam, handle
    finally:
        pam.pam_end(handle, SUCCESS)


def _conversation(pam: Any, answer: Answer) -> Any:
    """The C function that libpam calls. An exception in it would be lost in ctypes: it ends the conversation."""
    libc = pam.libc
    libc.calloc.restype, libc.calloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t, ctypes.c_size_t]

    def converse(count: int, messages: Any, responses: Any, _data: Any) -> int:
        block = libc.calloc(count, ctypes.sizeof(libpam.PamResponse))
        if not block:
            return _CONV_ERR
        responses[0] = ctypes.cast(block, ctypes.POINTER(libpam.PamResponse))
        try:
            for number in range(count):
                message = messages[number].contents
                style = _STYLES[message.msg_style]
                typed = answer(style, (message.msg or b"").decode("utf-8", "replace"))
                if style in (Style.INFO, Style.ERROR):
                    continue
                if typed is None:
                    return _CONV_ERR
                with typed:
                    _leave(libc, block + number * ctypes.sizeof(libpam.PamResponse), typed)
        except (KeyError, KeyboardInterrupt, EOFError, OSError):
            return _CONV_ERR
        return SUCCESS

    return libpam.conv_func(converse)


def _leave(libc: Any, response: int, typed: Secret) -> None:
    """Put an answer where libpam, which wipes and frees it, looks for it."""
    copy = libc.calloc(len(typed) + 1, 1)
    if not copy:
        raise OSError("out of memory")
    ctypes.memmove(copy, typed.reveal(), len(typed))
    ctypes.cast(response, ctypes.POINTER(ctypes.c_void_p))[0] = copy


@contextmanager
def _as_caller(uid: int) -> Iterator[None]:
    """Have the real uid of who calls, as sudo and su have; the effective one stays root's."""
    if uid == os.getuid():
        yield
        return
    before = os.getuid()
    os.setresuid(uid, -1, -1)
    try:
        yield
    finally:
        os.setresuid(before, -1, -1)


def caller_at(service: str, user: str, asks_caller: bool, tty: str) -> Caller:
    """Who would stand at a service's door, with what the service itself would tell PAM. Raises KeyError for no user."""
    person = pwd.getpwnam(user)
    if asks_caller:
        return Caller(service, "root", person.pw_uid, ruser=user, tty=tty)
    if service == "sshd":
        return Caller(service, user, rhost="127.0.0.1", tty="ssh")
    if service in ("sudo", "sudo-i"):
        return Caller(service, user, person.pw_uid, ruser=user, tty=tty)
    return Caller(service, user, tty=tty)
