"""Who is asked, and how: groups and peers, by NSS as it is on this machine; the manner, by configuration and PAM line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from arena import Service as Arenad
from arenad.config import Config, Peer, Pin, Service
from arenad.login.policy import Decision, Treatment, decide, manner_of, peer_uids

from pam_arena.conversation import PromptStyle
from pam_arena.pin import PinChoice, Policy
from pam_arena.protocol import Operation, Option, Style
from pam_arena.secret import Secret
from pam_arena.texts import texts_in
from pam_arena.wire import Start


def treat(service: Service, user: str = "root", *, peer: int = 0, uid: int = 0) -> tuple[Treatment, str]:
    decision = decide(Config(services={"default": service}), Start(Operation.AUTHENTICATE, "sshd", user, uid=uid), peer)
    return decision.treatment, decision.name


@pytest.mark.parametrize(
    ("service", "treatment"),
    [
        (Service(), Treatment.ASK),
        (Service(mode="off"), Treatment.IGNORE),
        (Service(mode="observe"), Treatment.ASK),
        (Service(mode="observe", exempt_groups=("root",)), Treatment.IGNORE),
        (Service(include_groups=("root",)), Treatment.ASK),
        (Service(include_groups=("daemon",)), Treatment.IGNORE),
        (Service(include_groups=("no-such-group",)), Treatment.ASK),
        (Service(include_groups=("daemon", "no-such-group")), Treatment.ASK),
        (Service(exempt_groups=("root",)), Treatment.IGNORE),
        (Service(exempt_groups=("daemon",)), Treatment.ASK),
        (Service(exempt_groups=("no-such-group",)), Treatment.ASK),
    ],
)
def test_groups_decide_and_a_lookup_that_fails_means_asked(service: Service, treatment: Treatment) -> None:
    assert treat(service) == (treatment, "root")


def test_a_name_that_nss_does_not_know_is_asked() -> None:
    assert treat(Service(include_groups=("root",)), "no-such-user")[0] is Treatment.ASK


def test_ask_caller_asks_whoever_runs_the_program() -> None:
    assert treat(Service(ask="caller"), "root", uid=1) == (Treatment.ASK, "daemon")


@pytest.mark.parametrize(
    ("user", "treatment"), [("daemon", Treatment.ASK), ("root", Treatment.REFUSE), ("no-such", Treatment.REFUSE)]
)
def test_a_peer_that_is_not_root_may_only_converse_for_itself(user: str, treatment: Treatment) -> None:
    assert treat(Service(), user, peer=1)[0] is treatment
    assert treat(Service(ask="caller"), user, peer=1, uid=os.getuid()) == (Treatment.ASK, "daemon")


PEERS = (Peer("daemon", ("httpd", "wiki")), Peer(2, ("radiusd",)), Peer("no-such-user", ("httpd",)))


def ask_as_peer(service: str, peer: int, user: str = "root", **sections: Service) -> Decision:
    config = Config(services={"default": Service(), **sections}, peers=PEERS)
    return decide(config, Start(Operation.AUTHENTICATE, service, user, uid=1, rhost="192.0.2.7"), peer)


@pytest.mark.parametrize(
    ("service", "peer", "treatment", "trusted"),
    [
        ("httpd", 1, Treatment.ASK, True),
        ("wiki", 1, Treatment.ASK, True),
        ("radiusd", 2, Treatment.ASK, True),
        ("sshd", 1, Treatment.REFUSE, False),
        ("radiusd", 1, Treatment.REFUSE, False),
        ("httpd", 2, Treatment.REFUSE, False),
        ("httpd", 3, Treatment.REFUSE, False),
        ("sshd", 0, Treatment.ASK, True),
    ],
)
def test_a_peer_may_converse_for_anyone_at_its_services_alone(
    service: str, peer: int, treatment: Treatment, trusted: bool
) -> None:
    decision = ask_as_peer(service, peer)
    assert (decision.treatment, decision.peer_trusted) == (treatment, trusted)


def test_a_peer_at_another_service_may_converse_for_itself_and_is_not_believed() -> None:
    decision = ask_as_peer("sshd", 2, "bin")
    assert (decision.treatment, decision.peer_trusted) == (Treatment.ASK, False)


def test_the_word_of_a_peer_on_the_caller_counts() -> None:
    assert ask_as_peer("httpd", 1, httpd=Service(ask="caller")).name == "daemon"
    assert ask_as_peer("radiusd", 2, radiusd=Service(ask="caller")).name == "daemon"


def test_all_uids_of_peers_are_known_but_of_users_who_do_not_exist() -> None:
    config = Config(peers=(*PEERS, Peer("root", ("httpd",))))
    assert peer_uids(config) == {1, 2}
    assert peer_uids(config, "httpd") == {1}


@pytest.mark.parametrize(
    ("service", "options", "prompt"),
    [
        (Service(), Option(0), PromptStyle.SPLIT),
        (Service(prompt=PromptStyle.JOINED), Option(0), PromptStyle.JOINED),
        (Service(prompt=PromptStyle.JOINED), Option.SPLIT, PromptStyle.SPLIT),
        (Service(), Option.JOINED, PromptStyle.JOINED),
    ],
)
def test_the_pam_line_then_the_section_says_how_to_prompt(service: Service, options: Option, prompt: PromptStyle) -> None:
    assert manner_of(Config(), service, options).prompt is prompt


def test_a_service_has_its_language_and_its_own_words() -> None:
    config = Config(language="fr")
    own = Service(texts={"pin": "Code secret\u00a0: ", "denied": "Non ({ref})."})
    assert manner_of(config, Service(), Option(0)).texts is texts_in("fr")
    assert manner_of(config, Service(language="en"), Option(0)).texts is texts_in("en")
    texts = manner_of(config, own, Option(0)).texts
    assert (texts.pin, texts.denied("K7QX"), texts.same_pin) == ("Code secret\u00a0: ", "Non (K7QX).", texts_in("fr").same_pin)
    assert manner_of(config, own, Option(0)).texts is texts


def test_what_else_a_service_says_reaches_the_conversation() -> None:
    manner = manner_of(Config(), Service(), Option(0))
    assert (manner.choice, manner.mail_codes, manner.forward, manner.observe) == (PinChoice.HOLDER, False, False, False)
    config = Config(pin=Pin(length=(8, 12), digits_only=False, choice=PinChoice.EITHER))
    manner = manner_of(config, Service(mode="observe", mail_codes=True), Option.FORWARD_PASS)
    assert manner.policy == Policy(8, 12, digits_only=False)
    assert (manner.choice, manner.mail_codes, manner.forward, manner.observe) == (PinChoice.EITHER, True, True, True)


def test_the_journal_tells_what_may_be_a_mistake_at_start_and_reload(tmp_path: Path) -> None:
    arenad = Arenad(tmp_path, '[service.sshd]\nmode = "observe"\ninclude_groups = ["no-such-group"]\n')
    try:
        arenad.start()
        told = arenad.journal.read_text()
        assert "<4>nothing is enforced where mode is observe: [service.sshd]\n" in told
        assert "<4>configuration: service.sshd.include_groups: there is no group no-such-group\n" in told
        arenad.config.write_text(f'[store]\nurl = "{arenad.url}"\n[service.su]\nexempt_groups = ["staf"]\n')
        assert arenad.process is not None
        arenad.process.send_signal(signal.SIGHUP)
        arenad.wait_for_state("RELOADING=1")
        arenad.wait_for_state("READY=1")
        told = arenad.journal.read_text()[len(told) :]
        assert "<4>configuration: service.su.exempt_groups: there is no group staf\n" in told
        assert "observe" not in told
    finally:
        arenad.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[service.sshd]\ninclude_groups = ["no-such-group"]\n',
            "service.sshd.include_groups: there is no group no-such-group",
        ),
        ('[[peer]]\nuser = "no-such-user"\nservices = ["httpd"]\n', "peer.user: there is no user no-such-user"),
        ("[code]\nwindow = 7\n", "code.window: allowed: a whole number from 0 to 5"),
    ],
)
def test_a_check_of_the_configuration_fails_and_says_why(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "arena.toml"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "arenad", "--config", str(path), "config", "check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("arenad: ")
    assert told in done.stderr


def test_a_check_of_the_configuration_prints_both_bounds(tmp_path: Path) -> None:
    path = tmp_path / "arena.toml"
    path.write_text("")
    command = [sys.executable, "-m", "arenad", "--config", str(path), "config", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"file": str(path), "verdict": "good", "stolen_key": 0.001, "known_pin": 0.001}


@pytest.mark.parametrize(("charset", "space"), [("C.UTF-8", "\u00a0"), ("C", " ")])
def test_french_has_plain_spaces_where_the_host_does_not_speak_utf8(tmp_path: Path, charset: str, space: str) -> None:
    service = Arenad(tmp_path, 'language = "fr"\n[login]\ndeny_after = "0"\n')
    service.environment = {"LC_ALL": charset}
    service.start()
    asked: list[str] = []

    def person(style: Style, text: str) -> Secret | None:
        asked.append(text)
        return Secret(b"0") if style is Style.HIDDEN else None

    try:
        service.client().converse(Start(Operation.AUTHENTICATE, "login", "nobody-here", tty="tty1"), person)
    finally:
        service.close()
    assert asked[:2] == [
        f"Code PIN (1re connexion{space}: laisser vide){space}: ",
        f"Passcode (code affiché sur la clé){space}: ",
    ]
