"""What the whole conversation needs: PIN lengths and history, failures of a year, recovery codes, grants, strangers.

Nothing that 0001 had is changed or taken away.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables."""
    op.add_column("holder", sa.Column("pin_length", sa.LargeBinary))
    op.add_column("holder", sa.Column("pin_history", sa.LargeBinary))
    op.add_column("holder", sa.Column("mail", sa.Text))
    op.add_column("holder", sa.Column("language", sa.Text))
    op.create_table(
        "failure",
        sa.Column("holder_id", sa.Integer, sa.ForeignKey("holder.id"), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "recovery",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holder_id", sa.Integer, sa.ForeignKey("holder.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("valid_until", sa.Integer),
        sa.Column("used_at", sa.Integer),
        sa.UniqueConstraint("holder_id", "digest"),
    )
    op.create_table(
        "session_grant",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holder_id", sa.Integer, sa.ForeignKey("holder.id"), nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("key_hash", sa.LargeBinary, nullable=False),
        sa.Column("granted_at", sa.Integer, nullable=False),
        sa.Column("valid_until", sa.Integer, nullable=False),
        sa.UniqueConstraint("holder_id", "service", "address", "key_hash"),
    )
    op.create_table(
        "stranger",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, unique=True),
    )
