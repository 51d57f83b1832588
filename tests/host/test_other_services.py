"""What the profile does to services beside sshd, login, sudo and su: README.Debian says who asks, and who does not."""

import pytest
from holders import Holder, password, play, refuse
from hosts import Dialogue, Host

CRON_WITHIN = "75"  # seconds: cron looks once a minute


@pytest.fixture(scope="module")
def holder(host: Host) -> Holder:
    """A holder who has a PIN, on a host with the profile and with services that include common-auth."""
    host.install("polkitd", "pkexec", "cron", "at")
    host.password_first()
    one = Holder(host)
    one.enter()
    return one


def pkexec(holder: Holder) -> Dialogue:
    """pkexec on a terminal, up to its question for the password."""
    dialogue = holder.host.dialogue(["pkexec", "id", "-un"], holder.name)
    dialogue.expect(r"Choose identity[^\n]*: ?")
    choice = next(line.split(".")[0] for line in dialogue.transcript.splitlines() if line.endswith(f".  {holder.name}"))
    dialogue.send(choice.strip())
    return dialogue


def test_polkit_asks_and_refuses(holder: Holder) -> None:
    assert "Access denied." in play(pkexec(holder), [password(), *holder.steps("2847")], "AUTHENTICATION FAILED")


def test_polkit_asks_and_lets_in(holder: Holder) -> None:
    # Debian 12's polkit says the second, with the password alone too, to a pkexec outside of a seat: PAM had succeeded.
    play(pkexec(holder), [password(), *holder.steps()], "AUTHENTICATION COMPLETE|No session for cookie")


def test_cron_at_and_user_managers_do_not_ask(holder: Holder) -> None:
    """Each job is its user's, and runs though arenad does not: the module is never asked to authenticate."""
    host, name = holder.host, holder.name
    host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    host.run("crontab", "-u", name, "-", input="* * * * * touch ~/cron-ran\n")
    host.run("runuser", "-u", name, "--", "at", "now", input="touch ~/at-ran\n")
    host.shell(f"systemctl start user@$(id -u {name}).service")
    waiting = f"until [ -e ~{name}/cron-ran ] && [ -e ~{name}/at-ran ]; do sleep 0.5; done"
    ran = host.run("timeout", CRON_WITHIN, "bash", "-c", waiting, check=False)
    host.run("crontab", "-u", name, "-r")
    host.run("systemctl", "start", "arenad.socket", "arenad.service")
    assert ran.returncode == 0


def test_sudo_shows_the_reference_of_its_refusal(holder: Holder) -> None:
    """Although it sets PAM_SILENT."""
    assert "Access denied." in refuse(holder.host.sudo(holder.name), [password(), *holder.steps("2847")])


def test_chsh_asks(holder: Holder) -> None:
    chsh = holder.host.dialogue(["chsh", "-s", "/bin/sh"], holder.name)
    with chsh:
        for prompt, answer, label in [password(), *holder.steps()]:
            chsh.expect(prompt)
            chsh.send(answer, label)
        assert chsh.end() == 0
