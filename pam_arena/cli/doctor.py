"""arenactl doctor: everything that could lock somebody out, or let somebody in, each with its remedy."""

import sys
import textwrap
from collections.abc import Iterator

import click

from .desk_client import DeskClient, Failure
from .host.configuration import complaint, read_configuration
from .host.findings import Finding, Severity, note, problem, warning
from .host.pam_files import asking
from .host.pam_report import report_stacks
from .host.service_report import is_root, report_clock, report_socket, report_units
from .host.sshd_report import report_login, report_sshd
from .output import Output, format_option, plain

_WIDTH = 80  # columns
_COLUMNS = ("severity", "thing", "found", "remedy")
_ORDER = {severity: number for number, severity in enumerate(reversed(Severity))}


@click.command()
@format_option
def doctor(output: Output) -> None:
    """Look at all that a login needs, and name the remedy of what is wrong. Exit status 1 if there is a problem."""
    findings = list(examine())
    if output.is_table:
        _print(findings)
    else:
        output.table([finding.as_row() for finding in findings], _COLUMNS)
    if any(finding.severity is Severity.PROBLEM for finding in findings):
        sys.exit(1)


def examine() -> Iterator[Finding]:
    """All findings, as they come."""
    if not is_root():
        yield note("doctor", "not root: sshd's settings, the journal and /etc/shadow cannot be seen", "sudo arenactl doctor")
    yield from report_units()
    yield from report_socket()
    if said := complaint():
        yield problem("configuration", said, "correct it, then: arenactl config check; systemctl reload arenad")
    yield from _of_desk()
    yield from report_clock()
    config = read_configuration()
    try:
        services = set(asking())
    except OSError:
        services = set()  # report_stacks() says why
    if is_root():
        yield from report_sshd("sshd" in services)
    yield from report_login("login" in services)
    yield from report_stacks(config)


def _of_desk() -> Iterator[Finding]:
    """What the service sees: key, store, holders, groups."""
    try:
        found = DeskClient().get("/doctor")["findings"]
    except Failure as failure:
        if failure.exit_code == 3 and is_root():
            yield problem(
                "desk",
                f"key, store and holders were not looked at: {failure.message}",
                "systemctl start arena-desk.socket arenad.service",
            )
        else:
            yield warning("desk", f"key, store and holders were not looked at: {failure.message}", "sudo arenactl doctor")
        return
    for one in found:
        yield Finding(Severity(one["severity"]), one["thing"], one["found"], one["remedy"])


def _print(findings: list[Finding]) -> None:
    """The gravest first; each in lines of at most 80 columns, its remedy below it."""
    order = sorted(findings, key=lambda finding: _ORDER[finding.severity])
    for finding in order:
        text = f"{finding.severity.value:<8} {finding.thing}: {finding.found}"
        _echo(text, 9)
        if finding.remedy:
            _echo(f"{'':<8} -> {finding.remedy}", 12)
    counted = [sum(one.severity is severity for one in findings) for severity in reversed(Severity)]
    names = (f"{number} {severity.value}" for number, severity in zip(counted, reversed(Severity), strict=True))
    click.echo(", ".join(names))


def _echo(text: str, indent: int) -> None:
    lines = textwrap.wrap(plain("", text), _WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
    click.echo("\n".join(lines))
