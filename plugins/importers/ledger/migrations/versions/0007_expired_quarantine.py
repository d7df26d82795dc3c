"""Quarantine that a sweep has deleted says so, and by which setting: a longer retention doesn't bring it back."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.quarantine
            add column expired_at timestamptz,  -- its retention was over: the file is deleted, or about to be
            add column kept_for text;           -- the setting that ended it, as the tenant's file said it
        """
    )


def downgrade() -> None:
    op.execute("alter table _importers.quarantine drop column expired_at, drop column kept_for")
