"""How pseudonyms of a domain were made is remembered: made otherwise, they would join with none that is there.

Until now letters' case never counted.
"""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute(
        """
        create table _importers.domain (
            tenant text not null,
            name text not null,
            case_sensitive boolean not null,  -- whether letters' case counts
            primary key (tenant, name)
        );
        insert into _importers.domain (tenant, name, case_sensitive)
        select tenant, name, false from (
            select tenant, plan -> 'stream' ->> 'subject_domain' as name from _importers.run
            union select tenant, 'default' from _importers.run where plan -> 'stream' ->> 'subject' is not null
                and plan -> 'stream' ->> 'subject_domain' is null
            union select split_part(stream, '.', 1), substring(treatment from '^pseudonymise\\((.*)\\)$')
                from _importers.lineage
            union select tenant, domain from _importers.suppression
            union select tenant, domain from _importers.erasure
        ) made where name is not null;
        """
    )


def downgrade() -> None:
    op.execute("drop table _importers.domain")
