"""A receipt says of how many rows that it calls loaded the table has another of their key: a newer, or a later."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("alter table _importers.receipt add column outdone bigint not null default 0")


def downgrade() -> None:
    op.execute("alter table _importers.receipt drop column outdone")
