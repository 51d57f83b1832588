"""The tables. Times are whole seconds since 1970 UTC, steps are integers, names are those of NSS.

One holder of the empty name is nobody: its three tokens and its PIN are the decoys that an attempt for an unknown name,
or for a holder with fewer tokens, works on.
"""

import enum
from typing import Any

import sqlalchemy as sa

NOBODY = 0  # the id of the decoys' holder
KEY_ID = "key-id"  # the row of meta that names the master key of this store
OPENS_FROM = "opens-from"  # the row of meta that names the earliest release's schema that may open this store

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

holder = sa.Table(
    "holder",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("pin", sa.LargeBinary),  # argon2id hash, sealed; none: no PIN yet
    sa.Column("pin_set_at", sa.Integer),
    sa.Column("new_pin_until", sa.Integer),  # without a PIN: new-PIN mode lapses then
    sa.Column("pin_length", sa.LargeBinary),  # sealed: where a password ends and a PIN begins in one field
    sa.Column("pin_history", sa.LargeBinary),  # sealed: hashes of earlier PINs under one salt
    sa.Column("mail", sa.Text),  # none: name @ the configured domain
    sa.Column("language", sa.Text),  # of mails; none: the configuration's
    sa.Column("batch", sa.ForeignKey("batch.id")),  # the import that made this holder, until it is in effect
    sa.Column("created_at", sa.Integer, nullable=False),
)

# An import: its rows come in many transactions, and take effect by the one that sets `done`.
batch = sa.Table(
    "batch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started_at", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # the name of the file
    sa.Column("done", sa.Boolean, nullable=False),
)


class State(enum.StrEnum):
    """Where a token is in its life."""

    STOCK = "stock"
    UNPROVEN = "unproven"  # a soft token whose holder has not typed a right code of it yet
    REQUESTED = "requested"  # its holder asked for its activation
    ACTIVE = "active"
    DISABLED = "disabled"
    LOST = "lost"
    RETIRED = "retired"
    EXPIRED = "expired"  # never stored: active, and its time is over
    STAGED = "staged"  # of an import under way; when that is done: active, or in the stock if nobody's
    DECOY = "decoy"


token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("serial", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("digits", sa.Integer, nullable=False),
    sa.Column("period", sa.Integer, nullable=False),
    sa.Column("seed", sa.LargeBinary, nullable=False),  # sealed
    sa.Column("seed_version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),  # of the state, in plain words
    sa.Column("valid_until", sa.Integer),  # none: for ever
    sa.Column("batch", sa.ForeignKey("batch.id"), index=True),  # while it is staged
    sa.Column("holder_id", sa.ForeignKey("holder.id"), index=True),
    sa.Column("last_step", sa.Integer, nullable=False),  # no code of this step or an earlier one works again
    sa.Column("granted_step", sa.Integer, nullable=False),  # the step of the last success
    sa.Column("drift", sa.Integer, nullable=False),  # steps that this token is ahead
    sa.Column("wrong_pins", sa.Integer, nullable=False),  # right codes with a wrong PIN since the last success
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.Column("used_at", sa.Integer),
)


def is_in_effect() -> Any:
    """Whether a token is no part of an import that is still under way, as an SQL expression."""
    done = sa.exists().where(batch.c.id == token.c.batch, batch.c.done)
    return sa.or_(token.c.state != sa.literal_column("'staged'"), done)


def is_holder() -> Any:
    """Whether a holder is no part of an import that is still under way, as an SQL expression."""
    done = sa.exists().where(batch.c.id == holder.c.batch, batch.c.done)
    return sa.or_(holder.c.batch.is_(None), done)


# A token by counter is never ahead of a clock: this drift says that it came out of a backup, whose counter may be one
# from before codes that were used. A resync, which finds the counter, writes 0. No other verb can make its codes work.
HELD = -1


def is_held() -> Any:
    """Whether a token came out of a backup and would work, were it not for its old counter, as an SQL expression."""
    works = sa.or_(
        token.c.state == sa.literal_column("'active'"),
        sa.and_(token.c.state == sa.literal_column("'staged'"), token.c.holder_id.is_not(None)),
    )
    return sa.and_(token.c.kind == sa.literal_column("'hotp'"), token.c.drift == sa.literal_column(str(HELD)), works)


def state_at(at: Any) -> Any:
    """The state of a token that is in effect, at the time `at`, as an SQL expression."""

    def word(state: State) -> Any:
        return sa.literal_column(f"'{state.value}'")

    owned = sa.case((token.c.holder_id.is_(None), word(State.STOCK)), else_=word(State.ACTIVE))
    return sa.case(
        (is_held(), word(State.DISABLED)),
        (token.c.state == word(State.STAGED), owned),
        (sa.and_(token.c.state == word(State.ACTIVE), token.c.valid_until <= at), word(State.EXPIRED)),
        else_=token.c.state,
    )


class RequestState(enum.StrEnum):
    """What became of a request."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"


# A holder's wish to have a key activated.
request = sa.Table(
    "request",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("token_id", sa.ForeignKey("token.id"), nullable=False, index=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # who asked: uid:N
    sa.Column("proven", sa.Boolean, nullable=False),  # two consecutive codes were typed
    sa.Column("ticket", sa.Text, nullable=False),  # of the service desk, for one who cannot log in yet
    sa.Column("valid_until", sa.Integer),  # of the token, once approved
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("why", sa.Text, nullable=False),  # it was rejected
    sa.Column("decided_at", sa.Integer),
    sa.Column("decided_by", sa.Text, nullable=False),
)

origin = sa.Table(
    "origin",
    metadata,
    sa.Column("holder_id", sa.ForeignKey("holder.id"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),  # console, remote, local
    sa.Column("key", sa.Text, primary_key=True),  # remote: an address that succeeded, or '' for all others; local: a uid
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("wait_until", sa.Integer, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("granted_at", sa.Integer, nullable=False),  # 0: never
)

failure = sa.Table(
    "failure",
    metadata,
    sa.Column("holder_id", sa.ForeignKey("holder.id"), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),  # days since 1970 UTC
    sa.Column("count", sa.Integer, nullable=False),  # counted failures of all origins, kept through successes
)


class CodeKind(enum.StrEnum):
    """Where a recovery code came from."""

    EMERGENCY = "emergency"  # printed, kept in a drawer
    TEMPORARY = "temporary"  # from the desk, for some days
    MAIL = "mail"  # on demand, for some minutes


recovery = sa.Table(
    "recovery",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("holder_id", sa.ForeignKey("holder.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # keyed: a stolen database cannot be searched for codes
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.Column("valid_until", sa.Integer),  # none: until used
    sa.Column("used_at", sa.Integer),
    sa.UniqueConstraint("holder_id", "digest"),
)

session_grant = sa.Table(
    "session_grant",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("holder_id", sa.ForeignKey("holder.id"), nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("key_hash", sa.LargeBinary, nullable=False),  # SHA-256 of the SSH key
    sa.Column("granted_at", sa.Integer, nullable=False),
    sa.Column("valid_until", sa.Integer, nullable=False),
    sa.UniqueConstraint("holder_id", "service", "address", "key_hash"),
)

# Denials to names that are no holder's: a ring, so that made-up names fill neither the audit nor the disk.
stranger = sa.Table(
    "stranger",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),  # one that NSS does not know: a keyed hash
    sa.Column("serial", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, unique=True),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # who did it: uid:N of the caller
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("holder", sa.Text, nullable=False, index=True),
    sa.Column("serial", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, unique=True),
    sa.Column("hash", sa.LargeBinary, nullable=False),  # over the row and the hash before it
)
