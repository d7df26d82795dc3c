"""What kind of error a run failed with: until it is gone on with, or another takes over, it is open."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("alter table _importers.run add column failure text  -- the error's class: its words may hold more")


def downgrade() -> None:
    op.execute("alter table _importers.run drop column failure")
