"""Dialogues with a real arenad: a login held to its script, and holders who begin with a PIN."""

import base64
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyotp
import sqlalchemy as sa
from arena import SLOW, Service, Token
from arenad.store.engine import make_engine
from arenad.store.schema import State, audit, holder
from arenad.store.schema import token as token_table
from arenad.vault import Vault

from pam_arena.otp import Kind, Mechanism
from pam_arena.pin import Hasher
from pam_arena.protocol import Operation, Option, Style
from pam_arena.secret import Secret
from pam_arena.wire import Done, Start

PIN = "2846"
ASK_PIN = "PIN (first login: leave empty): "
ASK_CODE = "Passcode (the code on your key): "
JOINED = "Passcode (PIN + code; first: code): "
CHOOSE = "Choose a PIN (4 to 6 digits): "
AGAIN = "Same PIN again: "
NEW = "PIN + new code: "
NEXT = "Wait; next code alone: "
CURRENT = "Current passcode (PIN + code): "
MAILED = "If allowed, a code was mailed. Code: "
DENIED = "Access denied. Wait for a new code, then retry. (ref "

Line = tuple[str, str | Callable[[], str] | None]  # what is said, what is answered; None: it wants no answer


def converse(service: Service, user: str, script: Sequence[Line], /, **start: object) -> Done:
    """Hold a login to its script: each text must be, or contain, what the script says; nothing may be left over."""
    left = list(script)

    def ask(style: Style, text: str) -> Secret | None:
        assert left, f"more than the script: {text}"
        expected, answer = left.pop(0)
        assert expected in text
        assert (answer is None) == (style in (Style.INFO, Style.ERROR))
        typed = answer() if callable(answer) else answer
        return None if typed is None else Secret(typed.encode())

    words: dict[str, Any] = {"operation": Operation.AUTHENTICATE, "service": "sshd", "rhost": "192.0.2.7"} | start
    done = service.client().converse(Start(user=user, **words), ask)
    assert not left, left
    return done


def grant(service: Service, user: str, script: Sequence[Line], /, **start: object) -> None:
    """A login that must succeed."""
    assert converse(service, user, script, **start).code == 0


def deny(service: Service, user: str, script: Sequence[Line], /, **start: object) -> None:
    """A login that must be denied with the one sentence."""
    assert converse(service, user, [*script, (DENIED, None)], **start).code == 7


def split(pin: str, code: str) -> list[Line]:
    """The two answers of an ordinary login."""
    return [(ASK_PIN, pin), (ASK_CODE, code)]


def last(service: Service, table: sa.Table = audit) -> dict[str, Any]:
    """The newest row of the audit, or of strangers."""
    return dict(service.rows(table)[-1])


def change(service: Service, table: sa.Table, **values: object) -> None:
    """Change every real row of a table, as time or a desk of a later day would."""
    with make_engine(service.url).begin() as connection:
        rows = sa.update(table).values(**values)
        if table is holder:
            rows = rows.where(holder.c.id != 0)
        if table is token_table:
            rows = rows.where(token_table.c.state != State.DECOY.value)
        connection.execute(rows)


class Holder:
    """A holder with a PIN and one token, whose codes by pyotp are told from the steps that arenad knows."""

    def __init__(
        self,
        service: Service,
        name: str = "alice",
        mechanism: Mechanism = SLOW,
        pin: str | None = PIN,
        seed: bytes | None = None,
    ) -> None:
        self.service, self.name, self.mechanism = service, name, mechanism
        self.used = 0  # for a test that counts codes of a HOTP token
        self.token: Token = service.enrol(name, f"K-{name}", mechanism, seed=seed)
        secret = base64.b32encode(self.token.seed.reveal()).decode()
        self._hotp = pyotp.HOTP(secret, digits=mechanism.digits, digest=getattr(hashlib, mechanism.algorithm))
        if pin is not None:
            self.set_pin(pin)

    def set_pin(self, pin: str, at: float | None = None) -> None:
        """Give them a PIN as if they had chosen it at `at`."""
        vault = Vault(Secret(self.service.key))
        hashed = Hasher().hash(pin, os.urandom(16))
        values = {"pin": vault.seal_pin(hashed, self.name), "pin_length": vault.seal_pin_length(len(pin), self.name)}
        with make_engine(self.service.url).begin() as connection:
            mine = sa.update(holder).where(holder.c.name == self.name)
            connection.execute(mine.values(**values, pin_set_at=int(at or time.time()), new_pin_until=None))

    def code(self, ahead: int = 0) -> str:
        """The code `ahead` steps from now; for HOTP, of that counter."""
        step = 0 if self.mechanism.kind is Kind.HOTP else int(time.time()) // self.mechanism.period
        return self._hotp.at(step + ahead)


def give_to(service: Service, giver: Holder, taker: Holder) -> None:
    """Make the token of one holder another's, as the desk assigns a second key."""
    with make_engine(service.url).begin() as connection:
        whose = sa.select(holder.c.id).where(holder.c.name == taker.name).scalar_subquery()
        mine = sa.select(holder.c.id).where(holder.c.name == giver.name).scalar_subquery()
        connection.execute(sa.update(token_table).where(token_table.c.holder_id == mine).values(holder_id=whose))


FIRST_PASS, FORWARD, ONE_FIELD = Option.FIRST_PASS, Option.FORWARD_PASS, Option.JOINED
