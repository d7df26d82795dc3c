"""What tells one warehouse from another: runs' numbers don't, and staging may be shared."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        create table _importers.warehouse (id uuid not null default gen_random_uuid());
        insert into _importers.warehouse default values;
        """
    )


def downgrade() -> None:
    op.execute("drop table _importers.warehouse")
