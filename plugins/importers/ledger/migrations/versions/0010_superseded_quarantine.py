"""Quarantine whose rows a later run has read again says by which: nobody replays them any more."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("alter table _importers.quarantine add column superseded_by bigint references _importers.run")


def downgrade() -> None:
    op.execute(
        """
        update _importers.quarantine set discarded_at = now() where superseded_by is not null and discarded_at is null;
        alter table _importers.quarantine drop column superseded_by;
        """
    )
