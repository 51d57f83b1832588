"""Whether a stack opens the door without pam_arena's yes, by following every way that libpam could take through it.

A module may return success, a failure or PAM_IGNORE; pam_arena's failures are tried one by one. What libpam makes of a
return code is _pam_dispatch_aux() of Linux-PAM.
"""

from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from .pam_files import Entry

# What pam_arena may return beside success, and what libpam makes of a module that cannot be loaded.
ARENA_FAILURES = ("auth_err", "authinfo_unavail", "system_err", "conv_err", "module_unknown", "maxtries")
_SURE = {"pam_permit": ("success",), "pam_deny": ("auth_err",)}
_TOLD = "auth="  # the argument that tells pam_debug what to return
_ANY = ("success", "auth_err", "ignore")
_UNDECIDED, _YES, _NO = "undecided", "yes", "no"


@frozen
class Bypass:
    """A way in without pam_arena's yes. by: the line that opened it. failed: what pam_arena had returned; '' if not asked."""

    by: Entry
    failed: str


@frozen
class _State:
    index: int = 0
    impression: str = _UNDECIDED
    succeeded: bool = True  # the status that would be returned is success
    failed: str = ""  # what pam_arena returned
    asked: bool = False  # pam_arena said yes
    by: int = -1  # the line that skipped pam_arena, or let its failure pass
    starts: tuple[tuple[str, bool], ...] = ()  # impression and status at the start of each substack


def find_bypasses(entries: Sequence[Entry]) -> list[Bypass]:
    """Each line that opens a way in without pam_arena's yes, once."""
    found: dict[int, Bypass] = {}
    seen: set[_State] = set()
    waiting = [_State()]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        if state.index >= len(entries):
            if state.impression == _YES and state.succeeded and not state.asked:
                by = state.by if state.by >= 0 else len(entries) - 1
                found.setdefault(by, Bypass(entries[by], state.failed))
            continue
        waiting.extend(_steps(entries, _enter_substacks(entries, state)))
    return [found[index] for index in sorted(found)]


def _enter_substacks(entries: Sequence[Entry], state: _State) -> _State:
    level = entries[state.index].level
    starts = state.starts[:level] + ((state.impression, state.succeeded),) * (level - len(state.starts))
    return evolve(state, starts=starts)


def _steps(entries: Sequence[Entry], state: _State) -> Iterator[_State]:
    entry = entries[state.index]
    if not entry.is_module:
        yield evolve(state, index=state.index + 1)
        return
    for code in _codes(entry):
        after = state
        if entry.is_arena:
            after = (
                evolve(state, asked=True) if code == "success" else evolve(state, failed=state.failed or code, by=state.index)
            )
        yield _act(entries, after, entry.action(code), code)


def _codes(entry: Entry) -> tuple[str, ...]:
    """What a module may return."""
    if entry.is_arena:
        return ("success", *ARENA_FAILURES)
    told = tuple(word.removeprefix(_TOLD) for word in entry.arguments if word.startswith(_TOLD))
    if entry.name == "pam_debug":
        return told[-1:] or ("success",)
    return _SURE.get(entry.name, _ANY)


def _act(entries: Sequence[Entry], state: _State, action: str, code: str) -> _State:
    """The state after one line whose module returned `code`."""
    index, level = state.index, entries[state.index].level
    if action.isdigit():
        return _jump(entries, state, int(action))
    if action in ("ok", "done"):
        state = _agree(state, code)
        if action == "done" and state.impression == _YES:
            return _leave(entries, state, level)
    elif action in ("bad", "die"):
        if state.impression != _NO:
            state = evolve(state, impression=_NO, succeeded=False)
        if action == "die":
            return _leave(entries, state, level)
    elif action == "reset":
        impression, succeeded = state.starts[level - 1] if level else (_UNDECIDED, True)
        state = evolve(state, impression=impression, succeeded=succeeded)
    return evolve(state, index=index + 1)


def _agree(state: _State, code: str) -> _State:
    free = state.impression == _UNDECIDED or (state.impression == _YES and state.succeeded)
    if not free:
        return state
    return evolve(state, impression=_YES, succeeded=code == "success")


def _jump(entries: Sequence[Entry], state: _State, lines: int) -> _State:
    """Skip lines of the same level, each with the substack below it; a jump beyond the end refuses."""
    at, level, end = state.index, entries[state.index].level, len(entries) - 1
    while at < end and entries[at + 1].level >= level and lines:
        at += 1
        while at < end and entries[at + 1].level > level:
            at += 1
        lines -= 1
    if lines:
        state = evolve(state, impression=_NO, succeeded=False)
    return _skip(entries, state, at + 1)


def _leave(entries: Sequence[Entry], state: _State, level: int) -> _State:
    """The end of the stack, or of the substack that the line stands in."""
    target = state.index + 1
    while target < len(entries) and entries[target].level >= max(level, 1):
        target += 1
    return _skip(entries, state, target if level else len(entries))


def _skip(entries: Sequence[Entry], state: _State, target: int) -> _State:
    """Go on at a line further down, and remember who made pam_arena be passed over."""
    passed = any(entry.is_arena for entry in entries[state.index + 1 : target])
    by = state.index if passed and not state.asked and not state.failed else state.by
    return evolve(state, index=target, by=by)
