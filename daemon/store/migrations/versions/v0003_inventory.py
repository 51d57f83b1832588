"""What the life of a key needs: dates, requests, imports. Nothing that 0002 had is changed or taken away."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables."""
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("started_at", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    # SQLite takes a foreign key with a new column; Alembic would copy the whole table for it.
    op.execute("ALTER TABLE holder ADD COLUMN batch INTEGER REFERENCES batch (id)")
    op.execute("ALTER TABLE token ADD COLUMN batch INTEGER REFERENCES batch (id)")
    op.create_index("ix_token_batch", "token", ["batch"])
    op.add_column("token", sa.Column("valid_until", sa.Integer))
    op.create_table(
        "request",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token_id", sa.Integer, sa.ForeignKey("token.id"), nullable=False, index=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("proven", sa.Boolean, nullable=False),
        sa.Column("ticket", sa.Text, nullable=False),
        sa.Column("valid_until", sa.Integer),
        sa.Column("state", sa.Text, nullable=False, index=True),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("decided_at", sa.Integer),
        sa.Column("decided_by", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO meta (name, value) VALUES ('opens-from', CAST('0003' AS BLOB))")
