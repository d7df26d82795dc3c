"""Quarantine may be given up, and the ledger says when."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("alter table _importers.quarantine add column discarded_at timestamptz")


def downgrade() -> None:
    op.execute("alter table _importers.quarantine drop column discarded_at")
