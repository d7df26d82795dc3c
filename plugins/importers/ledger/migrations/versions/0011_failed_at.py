"""When a run failed: it may be taken back much later, and hasn't lasted until then."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("alter table _importers.run add column failed_at timestamptz")


def downgrade() -> None:
    op.execute("alter table _importers.run drop column failed_at")
