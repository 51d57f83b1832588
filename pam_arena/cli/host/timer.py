"""systemd's timer that takes a change of PAM back: it goes on when the terminal, or the whole session, is gone."""

from pam_arena.errors import Refusal

from .findings import run


def schedule(service: str, within: int) -> None:
    """Have a service's change taken back in so many seconds, counted from now. Raises Refusal if systemd does not."""
    cancel(service)
    words = ("--quiet", "--collect", f"--unit={_unit(service)}", f"--on-active={within}", "--timer-property=AccuracySec=1s")
    status, _, complaint = run("systemd-run", *words, "/usr/bin/arenactl", "pam", "disable", "--revert", service)
    if status != 0:
        raise Refusal(f"without systemd's timer nothing would take the change back: {complaint.strip()}")


def cancel(service: str) -> None:
    """Leave a service's change to itself."""
    run("systemctl", "stop", f"{_unit(service)}.timer")


def _unit(service: str) -> str:
    return f"arena-pam-pending-{service}"
