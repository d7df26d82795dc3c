"""Who was erased by mistake may be let in again: from then on, and with a receipt.

A change of the list has a new number, as it is read on from the last.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.suppression add column lifted_at timestamptz;  -- since when it keeps nobody out any more

        create table _importers.readmission (
            id bigint generated always as identity primary key,
            tenant text not null,
            domain text not null,
            subjects bytea[] not null,       -- as in suppression, ascending
            asked_by text not null,
            reason text not null,
            at timestamptz not null default now()
        );
        """
    )


def downgrade() -> None:
    op.execute(
        """
        delete from _importers.suppression where lifted_at is not null;
        alter table _importers.suppression drop column lifted_at;
        drop table _importers.readmission;
        """
    )
