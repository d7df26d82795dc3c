"""A run that failed before it was opened is remembered: nothing was read, and its key is as free as before."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute(
        "alter table _importers.run drop constraint run_state_check, add constraint run_state_check"
        " check (state in ('open', 'committed', 'aborted', 'failed'))"
    )


def downgrade() -> None:
    op.execute("delete from _importers.run where state = 'failed'")
    op.execute(
        "alter table _importers.run drop constraint run_state_check, add constraint run_state_check"
        " check (state in ('open', 'committed', 'aborted'))"
    )
