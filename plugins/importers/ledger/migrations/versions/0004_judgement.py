"""What the gate said of a run, in counts: for reports."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        create table _importers.judgement (
            run bigint primary key references _importers.run,
            counts jsonb not null,           -- rows, rejects, bad; rule → evaluated, unexpected; why the run failed
            at timestamptz not null default now()
        );
        """
    )


def downgrade() -> None:
    op.execute("drop table _importers.judgement")
