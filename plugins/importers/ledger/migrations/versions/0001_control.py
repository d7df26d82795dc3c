"""Runs, receipts, positions and what the ledger remembers of them."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        create table _importers.run (
            id bigint generated always as identity primary key,
            tenant text not null,
            stream text not null,            -- tenant.pipeline.stream
            key text not null,               -- the scheduler's name for the run
            generation int not null,
            kind text not null check (kind in ('incremental', 'window', 'replay')),
            mode text not null check (mode in ('append', 'merge', 'replace', 'history')),
            table_name text not null,
            version bigint not null,
            state text not null default 'open' check (state in ('open', 'committed', 'aborted')),
            plan jsonb not null,
            pins jsonb not null default '{}',
            covers int8range,                -- of _version, that the run re-reads whole
            span tstzrange,                  -- the window of a backfill
            lease timestamptz not null default now(),
            sealed_key bytea,                -- of what the run staged; null once destroyed
            opened_at timestamptz not null default now(),
            closed_at timestamptz,
            unique (stream, key, generation)
        );
        create unique index on _importers.run (stream) where state = 'open' and kind = 'incremental';
        create unique index on _importers.run (tenant, table_name) where state = 'open' and mode = 'replace';

        create table _importers.receipt (
            run bigint not null references _importers.run,
            partition int not null,
            digest text not null,
            rows bigint not null,
            loaded bigint not null,
            suppressed bigint not null,
            position jsonb not null default '{}',
            at timestamptz not null default now(),
            primary key (run, partition)
        );

        create table _importers.position (
            stream text not null,
            lane text not null,
            value jsonb not null,
            run bigint not null references _importers.run,
            primary key (stream, lane)
        );

        create table _importers.quarantine (
            run bigint not null references _importers.run,
            partition int not null,
            uri text not null,
            rows bigint not null,
            reasons jsonb not null,          -- rule → rows
            at timestamptz not null default now(),
            replayed_by bigint references _importers.run,
            primary key (run, uri)
        );

        create table _importers.suppression (
            tenant text not null,
            domain text not null,
            token bytea not null,            -- of an erased subject, under a key of its own
            at timestamptz not null default now(),
            primary key (tenant, domain, token)
        );

        create table _importers.schema_version (
            stream text not null,
            version int not null,
            fingerprint text not null,
            columns jsonb not null,          -- the table's columns and types
            first_run bigint not null references _importers.run,
            at timestamptz not null default now(),
            primary key (stream, version)
        );

        create table _importers.lineage (
            stream text not null,
            version int not null,
            source text not null,            -- the leaf: payload.user.email
            personal text,                   -- its class; null if a person classified it by treatment alone
            treatment text not null,
            key_version int,
            table_name text not null,
            column_name text,                -- null: dropped
            primary key (stream, version, source),
            foreign key (stream, version) references _importers.schema_version
        );

        create table _importers.step (
            run bigint not null references _importers.run,
            step text not null,
            partition int,
            rows bigint,
            seconds double precision not null,
            at timestamptz not null default now()
        );
        create index on _importers.step (run);

        create table _importers.key_check (
            tenant text primary key,
            fingerprint text not null        -- of the encryption key this tenant's data was written with
        );
        """
    )


def downgrade() -> None:
    op.execute(
        "drop table _importers.key_check, _importers.step, _importers.lineage, _importers.schema_version,"
        " _importers.suppression, _importers.quarantine, _importers.position, _importers.receipt, _importers.run"
    )
