"""What `arenactl pam` leaves in the audit and the journal, and asks of them: files and rows cannot change as one.

So a row goes before the change, and another after it: a change that was broken off leaves the first alone.
"""

import datetime
import syslog

import click

from pam_arena.errors import Refusal

from .desk_client import DeskClient, Failure
from .host.pam_change import Manifest


def begin(service: str, what: str, *, must: bool = True) -> None:
    """Say that PAM's files are about to be changed. Raises Refusal where it cannot be, unless they must come back anyhow."""
    _log("pam-begin", service, what)
    try:
        _post("pam-begin", service, what)
    except Failure as failure:
        if must:
            raise Refusal(f"not in the audit: {failure.message}: nothing was changed") from None
        click.echo(f"not in the audit: {failure.message}", err=True)


def note(service: str, event: str, detail: str) -> None:
    """Say what was done: in the journal, and in the audit if the desk is there, since files come back without it too."""
    _log(event, service, detail)
    try:
        _post(event, service, detail)
    except Failure as failure:
        click.echo(f"not in the audit: {failure.message}", err=True)


def came_in(manifest: Manifest) -> str:
    """Who came in at the service by a code since it was enabled; '' for nobody, or if the desk cannot say."""
    try:
        found = DeskClient().get("/pam/granted", query={"service": manifest.service, "since": str(manifest.at)})
    except Failure:
        return ""
    return f"{found[0]['name']} at {moment(found[0]['at'])}" if found else ""


def moment(seconds: float) -> str:
    """A time of today, in this host's time zone."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S %Z")


def _log(event: str, service: str, detail: str) -> None:
    syslog.openlog("arenactl", 0, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, f"{event} {service}: {detail}" if detail else f"{event} {service}")


def _post(event: str, service: str, detail: str) -> None:
    DeskClient().post("/pam/", service, "/changes", body={"event": event, "detail": detail})
