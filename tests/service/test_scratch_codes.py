"""Scratch codes of eight digits, which an import brought: recovery codes that nothing but their owner tells from a guess."""

import time
from pathlib import Path
from typing import Any

import pytest
from arena import Service
from arenad import config
from arenad.login.attempt import Attempt, examine
from arenad.login.throttle import CONSOLE, Origin
from arenad.login.turns import Lane
from arenad.store.engine import make_engine, read_only
from arenad.store.recovery import add_codes
from arenad.store.schema import CodeKind, holder
from arenad.store.statement import Statement
from arenad.vault import Vault
from dialogues import JOINED, PIN, Holder, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism
from pam_arena.pin import Policy
from pam_arena.protocol import Option
from pam_arena.secret import Secret

HOTP = Mechanism(kind=Kind.HOTP)
SCRATCH = ("12345678", "90817263")
LEFT = ("Emergency codes left: 1", None)


def bring(owner: Holder) -> None:
    """Scratch codes as an import leaves them."""
    now, vault = int(time.time()), Vault(Secret(owner.service.key))
    whose = next(row["id"] for row in owner.service.rows(holder) if row["name"] == owner.name)
    with make_engine(owner.service.url).begin() as connection:
        digests = [vault.digest_code(code, owner.name) for code in SCRATCH]
        add_codes(connection, whose, CodeKind.EMERGENCY, digests, now, None)


@pytest.fixture
def alice(service: Service) -> Holder:
    one = Holder(service, mechanism=HOTP)
    bring(one)
    return one


def test_a_scratch_code_opens_once_after_the_pin(service: Service, alice: Holder) -> None:
    grant(service, "alice", split(PIN, alice.code(0)))
    grant(service, "alice", [*split(PIN, SCRATCH[0]), LEFT])
    deny(service, "alice", split(PIN, SCRATCH[0]))
    assert last(service)["reason"] == "recovery-code-used"
    deny(service, "alice", split("2847", SCRATCH[1]))
    assert last(service)["reason"] == "wrong-pin"
    deny(service, "alice", split(PIN, SCRATCH[1]))


def test_one_field_takes_it_and_nobody_else_can_use_it(service: Service, alice: Holder) -> None:
    Holder(service, "bob", HOTP)
    deny(service, "bob", split(PIN, SCRATCH[0]))
    grant(service, "alice", [(JOINED, PIN + SCRATCH[0]), LEFT], options=Option.JOINED)


def test_whoever_types_whatever_the_same_statements_are_executed(
    service: Service, alice: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Holder(service, "bob", HOTP)
    vault, code = Vault(Secret(service.key)), config.load(Path(service.config)).code
    seen: list[str] = []
    run = Statement._run

    def run_and_note(statement: Statement, *given: Any) -> Any:
        done = run(statement, *given)
        seen.append(statement._sql)
        return done

    monkeypatch.setattr(Statement, "_run", run_and_note)
    found = []
    with read_only(make_engine(service.url)) as connection:
        for name, typed in (
            ("alice", SCRATCH[0]),
            ("alice", "11111111"),
            ("alice", "123456"),
            ("bob", "11111111"),
            ("no-one", "1"),
        ):
            seen.clear()
            attempt = Attempt(
                name,
                True,
                Origin(CONSOLE),
                Lane.FAVOURED,
                "login",
                "",
                "",
                Policy(),
                Secret(PIN.encode()),
                Secret(typed.encode()),
                1e9,
                1e9,
            )
            finding = examine(connection, vault, code, attempt)
            found.append((finding.is_recovery, finding.pin_right, list(seen)))
    assert [one[:2] for one in found] == [(True, True), (False, False), (False, True), (False, False), (False, False)]
    assert len(found[0][2]) == 3  # none goes past Statement: what SQLAlchemy runs itself would not be seen here
    assert all(statements == found[0][2] for _, _, statements in found)
