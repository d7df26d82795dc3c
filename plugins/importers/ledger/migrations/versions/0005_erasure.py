"""Receipts of erasures: who was erased, by blinded tokens, and every place that was looked at."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        create table _importers.erasure (
            id bigint generated always as identity primary key,
            tenant text not null,
            domain text not null,
            subjects bytea[] not null,       -- as in suppression, ascending
            asked_by text not null,
            reason text not null,
            asked_at timestamptz not null default now(),
            finished_at timestamptz          -- null while a place is still to be reached
        );
        create unique index on _importers.erasure (tenant, domain, subjects) where finished_at is null;

        create table _importers.erasure_place (
            erasure bigint not null references _importers.erasure,
            kind text not null,
            name text not null,
            outcome text not null check (outcome in ('clear', 'stays', 'failed')),
            rows bigint not null,            -- of the subjects: deleted if it is clear, else known to be there
            unknown bigint not null,         -- rows and lines of which nobody knows whose they are
            note text not null,
            at timestamptz not null default now(),
            primary key (erasure, kind, name)
        );
        """
    )


def downgrade() -> None:
    op.execute("drop table _importers.erasure_place, _importers.erasure")
