"""Observe mode on real hosts: people are asked, what they type is judged and recorded, and the password alone decides."""

import json

from holders import ASK_CODE, ASK_PIN, PASSWORD_PROMPT, PIN, ROOT, SHELL, Holder, Step, check_golden, password, play, refuse
from hosts import AUTHINFO_UNAVAIL, Dialogue, Host

OBSERVE = '[service.default]\nmode = "observe"\n'
OBSERVE_SSHD = '[service.sshd]\nmode = "observe"\n'
WRONG: list[Step] = [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "000000", "wrong code")]
LINE = "nothing is enforced where mode is observe: "


def people(host: Host) -> dict[str, dict[str, object]]:
    """`arenactl report observe`, by name."""
    return {row["name"]: row for row in json.loads(host.arenactl("report", "observe", "-o", "json").stdout)}


def test_a_wrong_code_opens_every_door_with_the_password_and_none_without(holder: Holder) -> None:
    host = holder.host
    with host.configured(OBSERVE):
        check_golden("ssh-observed", play(holder.ssh(), [password(), *WRONG], SHELL))
        doors: list[tuple[Dialogue, Step, str]] = [
            (host.login(holder.name), password(), rf"{holder.name}@\S+\$ "),
            (host.sudo(holder.name, "echo", SHELL), password(), SHELL),
            (host.su(holder.name), ROOT, "root\r?\n"),
        ]
        for dialogue, first, end in doors:
            assert "Access denied" not in play(dialogue, [first, *WRONG], end)
        refuse(holder.ssh(), [(PASSWORD_PROMPT, "wrong horse", "wrong password")])


def test_failures_are_recorded_and_count_towards_nothing(holder: Holder) -> None:
    host, steps = holder.host, [password(), (ASK_PIN, "1111", "wrong PIN"), (ASK_CODE, "000000", "wrong code")]
    soon = "[lock]\nafter = 2\n[code]\nnext_code_after = 2\n"
    with host.configured(soon):
        with host.configured(OBSERVE_SSHD):
            before = people(host)[holder.name]["failures"]
            for _ in range(3):
                play(holder.ssh(), steps, SHELL)
            assert people(host)[holder.name]["failures"] == int(str(before)) + 3
        play(holder.ssh(), [password(), *holder.steps()], SHELL)  # no wait, and no next code is asked
    waits = json.loads(host.arenactl("holder", "show", holder.name, "-o", "json").stdout)["waits"]
    assert [one["failures"] for one in waits if one["failures"]] == []


def test_the_report_says_who_is_ready(holder: Holder) -> None:
    host = holder.host
    newcomer = Holder(host, kind="hotp")
    with host.configured(OBSERVE_SSHD):
        play(holder.ssh(), [password(), *WRONG], SHELL)
        for name in (newcomer.name, "dave"):
            play(host.ssh(name, "echo", SHELL), [password(), (ASK_PIN, "", ""), (ASK_CODE, "", "")], SHELL)
        rows = people(host)
        assert [rows[name]["missing"] for name in (holder.name, newcomer.name, "dave")] == [
            "a login that succeeds",
            "a PIN",
            "a key",
        ]
        play(holder.ssh(), [password(), *holder.steps()], SHELL)
        newcomer.enter()
        rows = people(host)
        assert [rows[name]["ready"] for name in (holder.name, newcomer.name, "dave")] == [True, True, False]
    play(newcomer.ssh(), [password(), *newcomer.steps()], SHELL)  # a PIN created while observed is enforced


def test_the_journal_says_at_every_start_that_nothing_is_enforced(plain: Host) -> None:
    before = plain.journal("arenad").count(f"{LINE}[service.sshd]")
    with plain.configured(OBSERVE_SSHD):
        plain.run("systemctl", "restart", "arenad.service")
        plain.run("systemctl", "restart", "arenad.service")
        assert plain.journal("arenad").count(f"{LINE}[service.sshd]") >= before + 2
    said = plain.journal("arenad").count(LINE)
    plain.run("systemctl", "restart", "arenad.service")
    assert plain.journal("arenad").count(LINE) == said


def test_a_service_that_is_stopped_still_refuses(holder: Holder) -> None:
    host = holder.host
    with host.configured(OBSERVE):
        host.run("systemctl", "stop", "arenad.socket", "arenad.service")
        try:
            refuse(holder.ssh(), [password()])
            assert "OTP unavailable" in refuse(host.login(holder.name), [password()])
            assert host.authenticate(holder.name)[0] == AUTHINFO_UNAVAIL
        finally:
            host.run("systemctl", "start", "arenad.socket", "arenad.service")


def test_a_service_that_dies_at_the_prompt_still_refuses(holder: Holder) -> None:
    host = holder.host

    def once_it_is_dead() -> str:
        host.shell('kill -9 "$(systemctl show -P MainPID arenad.service)"')
        return "000000"

    with host.configured(OBSERVE):
        steps: list[Step] = [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, once_it_is_dead, "wrong code")]
        assert "OTP unavailable" in refuse(host.login(holder.name), steps)
        play(holder.ssh(), [password(), *WRONG], SHELL)
