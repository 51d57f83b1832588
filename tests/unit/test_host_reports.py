"""What doctor makes of sshd's settings, of the clock and of what arenad notes about it."""

import pytest
from arenad.clock import StepWatch

from pam_arena.cli.host.findings import Severity
from pam_arena.cli.host.service_report import judge_clock
from pam_arena.cli.host.sshd_report import judge_sshd

GOOD = {
    "usepam": "yes",
    "kbdinteractiveauthentication": "yes",
    "passwordauthentication": "no",
    "pubkeyauthentication": "yes",
    "permitemptypasswords": "no",
    "authenticationmethods": "publickey,keyboard-interactive:pam keyboard-interactive:pam",
    "logingracetime": "240",
    "maxstartups": "100:30:200",
}


def judge(**changed: str) -> list[tuple[Severity, str]]:
    settings = {name: [value] for name, value in (GOOD | changed).items()}
    return [(one.severity, one.found) for one in judge_sshd(settings) if one.remedy]


def test_the_shipped_settings_need_no_remedy() -> None:
    assert judge() == []


@pytest.mark.parametrize(
    ("name", "value", "severity", "told"),
    [
        ("usepam", "no", Severity.PROBLEM, "UsePAM is no"),
        ("kbdinteractiveauthentication", "no", Severity.PROBLEM, "cannot be asked"),
        ("passwordauthentication", "yes", Severity.WARNING, "PasswordAuthentication is yes"),
        ("authenticationmethods", "any", Severity.PROBLEM, "an SSH key alone"),
        ("authenticationmethods", "publickey", Severity.PROBLEM, "publickey opens the door"),
        ("authenticationmethods", "publickey,password keyboard-interactive", Severity.PROBLEM, "publickey,password opens"),
        ("logingracetime", "120", Severity.WARNING, "LoginGraceTime is 120 s"),
        ("permitemptypasswords", "yes", Severity.WARNING, "PermitEmptyPasswords"),
        ("maxstartups", "10:30:100", Severity.NOTE, "MaxStartups"),
        ("persourcepenalties", "crash:90 authfail:5", Severity.NOTE, "PerSourcePenalties"),
    ],
)
def test_a_setting_that_bites_is_named(name: str, value: str, severity: Severity, told: str) -> None:
    ((found, text),) = judge(**{name: value})
    assert found is severity
    assert told in text


def test_penalties_that_exempt_addresses_are_fine() -> None:
    assert judge(persourcepenalties="authfail:5", persourcepenaltyexemptlist="192.0.2.0/24") == []


@pytest.mark.parametrize(
    ("synchronised", "source", "container", "severity"),
    [
        (True, "chrony", False, Severity.GOOD),
        (False, "chrony", False, Severity.WARNING),
        (False, "", False, Severity.WARNING),
        (False, "", True, Severity.NOTE),
    ],
)
def test_a_clock_is_judged_by_what_holds_it(synchronised: bool, source: str, container: bool, severity: Severity) -> None:
    found = judge_clock(synchronised, source, container)
    assert found.severity is severity
    assert bool(found.remedy) == (severity is not Severity.GOOD)


def test_a_step_of_the_clock_is_noticed_once_and_sleep_is_none() -> None:
    now, boot = 1000.0, 10.0
    watch = StepWatch(lambda: now, lambda: boot)
    now, boot = now + 7200, boot + 7200
    assert watch.seconds() == 0
    now += 59
    assert watch.seconds() == 0
    now += 2
    assert watch.seconds() == 61
    assert watch.seconds() == 0
    now -= 3600
    assert watch.seconds() == -3600


@pytest.mark.parametrize("rate", [-500e-6, 200e-6, 500e-6])
def test_a_clock_that_is_slewed_for_months_is_not_stepped(rate: float) -> None:
    now, boot = 1000.0, 10.0
    watch = StepWatch(lambda: now, lambda: boot)
    for _ in range(100 * 86400 // 10):  # arenad looks every ten seconds
        now, boot = now + 10 + 10 * rate, boot + 10
        assert watch.seconds() == 0
    now += 62
    assert round(watch.seconds()) == 62


def test_a_step_in_small_ones_within_an_hour_is_one() -> None:
    now, boot = 1000.0, 10.0
    watch = StepWatch(lambda: now, lambda: boot)
    seen = []
    for _ in range(4):
        now, boot = now + 600 + 20, boot + 600
        seen.append(watch.seconds())
    assert [round(one) for one in seen] == [0, 0, 0, 80]
