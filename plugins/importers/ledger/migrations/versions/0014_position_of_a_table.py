"""A position says of which table it is: one that a stream has never loaded begins anew.

What a stream had loaded until now goes on where it was, in each of its tables.
"""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        alter table _importers.position add column table_name text;
        alter table _importers.position drop constraint position_pkey;
        update _importers.position p set table_name = (select table_name from _importers.run where id = p.run);
        insert into _importers.position (stream, table_name, lane, value, run)
          select p.stream, t.table_name, p.lane, p.value, p.run
          from _importers.position p join (
            select distinct stream, table_name from _importers.run
            where kind = 'incremental' and mode <> 'replace' and state <> 'aborted') t
          on t.stream = p.stream and t.table_name <> p.table_name;
        alter table _importers.position alter column table_name set not null,
          add primary key (stream, table_name, lane);
        """
    )


def downgrade() -> None:
    op.execute(
        """
        delete from _importers.position p where table_name <> (
          select table_name from _importers.position o where o.stream = p.stream order by run desc, table_name limit 1);
        alter table _importers.position drop constraint position_pkey, drop column table_name;
        alter table _importers.position add primary key (stream, lane);
        """
    )
