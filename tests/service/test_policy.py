"""Who is asked: groups and peers, by NSS as it is on this machine."""

import os

import pytest
from arenad.config import Config, Service
from arenad.login.policy import Treatment, decide

from pam_arena.protocol import Operation
from pam_arena.wire import Start


def treat(service: Service, user: str = "root", *, peer: int = 0, uid: int = 0) -> tuple[Treatment, str]:
    decision = decide(Config(services={"default": service}), Start(Operation.AUTHENTICATE, "sshd", user, uid=uid), peer)
    return decision.treatment, decision.name


@pytest.mark.parametrize(
    ("service", "treatment"),
    [
        (Service(), Treatment.ASK),
        (Service(mode="off"), Treatment.IGNORE),
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
