"""The erased are numbered, so that whoever knows the list up to a number asks only for what came since.

An erasure inserts while it holds the tenant's erasure lock alone: within a tenant numbers grow as they commit.
"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.suppression add column number bigint not null generated always as identity;
        create unique index on _importers.suppression (tenant, domain, number);
        """
    )


def downgrade() -> None:
    op.execute("alter table _importers.suppression drop column number")
