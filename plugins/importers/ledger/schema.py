"""Brings the schema `_importers` up to date. What it holds is described in the migrations."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psycopg
from psycopg.errors import InvalidSchemaName, UndefinedTable

ALIVE = 0x1A13
"""The first half of the key of the advisory lock that whoever works on a run holds; the second is the run's number."""

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x696D706F  # the advisory lock that one migration at a time holds


@cache
def head() -> str:
    """The newest revision: the number that the last migration's file name starts with."""
    return max(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def revision(connection: psycopg.Connection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    try:
        row = connection.execute("select version_num from _importers.alembic_version").fetchone()
    except (InvalidSchemaName, UndefinedTable):
        return None
    return row[0] if row else None


def migrate(connection: psycopg.Connection) -> None:
    """Migrate if needed. Alembic is imported only then: it costs half a second, and a run mostly finds all in place."""
    if revision(connection) == head():
        return
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    try:
        connection.execute("create schema if not exists _importers")
        connection.autocommit = False  # so that a migration is one transaction
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = bound
            command.upgrade(config, "head")
    finally:
        connection.rollback()
        connection.autocommit = True
        connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))
