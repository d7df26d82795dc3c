"""A ledger as an older version has left it."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from importers.ledger.schema import MIGRATIONS


def downgrade(warehouse: str, revision: str) -> None:
    engine = create_engine(warehouse.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as bound:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = bound
        command.downgrade(config, revision)
    engine.dispose()
