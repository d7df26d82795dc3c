"""Databases of tests, copies of others mostly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier

_numbers = itertools.count()


class Databases:
    """Of one server, made and dropped over one connection: to open one costs the server as much as to copy one."""

    def __init__(self, server: str, connection: psycopg.Connection) -> None:
        self._server, self._connection = server, connection

    def make(self, name: str, template: str = "template1") -> str:
        """Its URL. Nobody may be connected to the template."""
        copied = SQL("create database {} template {} strategy file_copy")
        self._connection.execute(copied.format(Identifier(name), Identifier(template)))
        return urlunsplit(urlsplit(self._server)._replace(path=f"/{name}"))

    @contextmanager
    def one(self, template: str = "template1") -> Iterator[str]:
        """The URL of one that nobody else has."""
        name = f"test_{next(_numbers)}"
        yield self.make(name, template)
        self._connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))
