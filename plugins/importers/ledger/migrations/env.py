"""Alembic's entry point: run by `importers.ledger.schema`, with the connection it was given."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="_importers",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
