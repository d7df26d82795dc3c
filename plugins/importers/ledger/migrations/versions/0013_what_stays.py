"""A run says by which version of its lineage its rows were treated, and what its end had to tell.

Of older runs the version is that which was in force when they were opened.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.run
            add column schema_version int,                      -- null: it never came to its gate, or is older
            add column notes jsonb not null default '[]';       -- what people should know of what its commit did
        """
    )


def downgrade() -> None:
    op.execute("alter table _importers.run drop column schema_version, drop column notes")
