"""A stream of a real Redis is followed: what is there, what comes, what is trimmed, what is poison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from redis import Redis as Client
from tests.services.redis import PASSWORD, Redis

from importers.core.connection import Connection
from importers.core.model import Pace
from importers.core.tenant import Tenant
from importers.exceptions import ContractError, FatalSourceError
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.stream import Beat, stream
from importers.sources.streaming.redis_streams import RedisStreams, RedisStreamsConfig

pytestmark = pytest.mark.services
PACE = Pace(0.001, 4, 0.02)


@pytest.fixture
def client(redis: Redis) -> Iterator[Client]:
    with redis.administrator() as opened:
        yield opened


@pytest.fixture
def key(client: Client) -> str:
    made = f"app:{uuid4().hex}"
    add(client, made, 0, 10)
    return made


def add(client: Client, key: str, first: int, end: int) -> None:
    for number in range(first, end):
        client.xadd(key, {"n": number, "who": f"listener {number}"})


def connection(redis: Redis) -> Connection:
    return Connection({"url": f"rediss://app:{PASSWORD}@localhost:{redis.port}?ssl_ca_certs={redis.authority}"})


def source(redis: Redis, key: str, **config: Any) -> RedisStreams:
    settings = RedisStreamsConfig(key=key, stream="events", **config)
    return RedisStreams(settings, tenant="acme", connection=connection(redis))


def test_what_is_there_comes_in_parts_and_then_what_is_added(redis: Redis, client: Client, key: str) -> None:
    at = source(redis, key)
    (named,) = at.streams()
    with closing(at.follow(named, {}, PACE)) as batches:
        got = [next(batches) for _ in range(5)]
        assert [batch.rows.num_rows for batch in got] == [0, 4, 4, 2, 0]
        assert [batch.behind for batch in got] == [10, 6, 2, 0, 0]
        add(client, key, 10, 11)
        last = next(batches)
    assert last.rows.column("n").to_pylist() == ["10"]
    position = got[2].position or {}
    with closing(at.follow(named, position, PACE)) as again:
        assert next(again).position == position
        assert next(again).rows.column("n").to_pylist() == ["8", "9", "10"]


def test_entries_that_were_trimmed_unread_are_told(redis: Redis, client: Client, key: str) -> None:
    at = source(redis, key)
    (named,) = at.streams()
    with closing(at.follow(named, {}, PACE)) as batches:
        first, second = next(batches), next(batches)
        client.xtrim(key, maxlen=1, approximate=False)
        with pytest.raises(ContractError, match="trimmed while they were read"):
            list(batches)
    assert (first.rows.num_rows, second.rows.num_rows) == (0, 4)
    with (
        closing(at.follow(named, second.position or {}, PACE)) as again,
        pytest.raises(ContractError, match="5 entries"),
    ):
        next(again)


def test_trimmed_entries_that_may_be_skipped_stop_nothing(
    redis: Redis, client: Client, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    at = source(redis, key, lost_messages="skip")
    (named,) = at.streams()
    with closing(at.follow(named, {}, PACE)) as batches:
        assert [next(batches).rows.num_rows for _ in range(2)] == [0, 4]
        client.xtrim(key, maxlen=1, approximate=False)
        assert [next(batches).rows.column("n").to_pylist() for _ in range(2)] == [["4", "5", "6", "7"], ["9"]]
        assert "trimmed while they were read" in caplog.text
        add(client, key, 10, 20)
        client.xtrim(key, maxlen=2, approximate=False)
        assert next(batches).rows.column("n").to_pylist() == ["18", "19"]
        assert "8 messages were deleted before they were read" in caplog.text


@pytest.mark.parametrize("anew", [False, True])
def test_a_stream_that_is_deleted_or_made_anew_stops_who_waits_for_it(
    redis: Redis, client: Client, key: str, anew: bool
) -> None:
    """By ids that were there before: nothing would ever come after the position."""
    at = source(redis, key)
    (named,) = at.streams()
    with closing(at.follow(named, {}, PACE)) as batches:
        assert [next(batches).rows.num_rows for _ in range(6)] == [0, 4, 4, 2, 0, 0]
        client.delete(key)
        if anew:
            client.xadd(key, {"n": 11}, id="1-0")
        with pytest.raises(ContractError if anew else FatalSourceError, match="made anew" if anew else "no stream"):
            next(batches)


def test_a_field_that_is_new_stops_it(redis: Redis, client: Client, key: str) -> None:
    at = source(redis, key)
    (named,) = at.streams()
    with closing(at.follow(named, {}, PACE)) as batches:
        assert [next(batches).rows.num_rows for _ in range(4)] == [0, 4, 4, 2]
        client.xadd(key, {"n": 11, "phone": "+49 30 901820"})
        with pytest.raises(ContractError, match="nobody has classified"):
            next(batches)


def test_it_is_loaded_and_goes_on_after_the_position(
    redis: Redis, client: Client, key: str, database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str
) -> None:
    client.xadd(key, {"n": "ten", "who": "listener 10"})
    places = (str(tmp_path / "staging"), str(tmp_path / "quarantine"))
    installation = Installation(tmp_path, database, False, *places)
    columns = {"n": "integer", "who": "string"}
    kept = dict.fromkeys(("n", "entry_id", "entry_at"), "keep")
    pipeline = {
        "importer": "redis_streams",
        "config": {"key": key, "stream": "events", "columns": columns, "consumer_group": "watched"},
        "micro_batch": {"max_rows": 4, "linger_ms": 1},
        "privacy": {
            "purpose": "tests",
            "lawful_basis": "contract",
            "subject": {"column": "who", "domain": "listener"},
            "columns": {**kept, "who": "pseudonymise"},
        },
    }
    tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})

    def drain() -> Beat:
        (job,) = jobs(installation, tenant, "listening", connection=connection(redis))
        return stream(job, drain=True)

    def numbers() -> list[Any]:
        return [n for (n,) in sql.execute("select n from acme.events order by n").fetchall()]

    total = drain()
    assert (total.rows, total.loaded, total.quarantined, total.behind) == (11, 10, 1, 0)
    add(client, key, 11, 20)
    assert drain().loaded == 9
    assert numbers() == [*range(10), *range(11, 20)]
    assert client.xinfo_groups(key)[0]["last-delivered-id"] == client.xinfo_stream(key)["last-generated-id"]
