"""What retention has deleted: a line for each sweep of a stream's table, and the runs of which no row is left."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.run add column expired_at timestamptz;  -- retention has deleted what there was of it

        create table _importers.expiry (
            id bigint generated always as identity primary key,
            tenant text not null,
            stream text not null,            -- tenant.pipeline.stream
            table_name text not null,
            retention text not null,         -- as the tenant's file said it
            before timestamptz not null,     -- rows of runs that ended earlier
            rows bigint not null,
            begun_at timestamptz not null default now(),
            finished_at timestamptz          -- null while rows are still to be deleted
        );
        create unique index on _importers.expiry (stream, table_name) where finished_at is null;
        """
    )


def downgrade() -> None:
    op.execute("drop table _importers.expiry")
    op.execute("alter table _importers.run drop column expired_at")
