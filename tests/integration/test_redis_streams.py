"""What a real Redis does to a read of a stream: trimming, another start, poison, groups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis as Client
from tests.services.redis import PASSWORD, Redis

from importers.core.connection import Connection
from importers.core.model import Plan, Window
from importers.exceptions import ContractError, FatalSourceError
from importers.sources.streaming.redis_streams import RedisStreams, RedisStreamsConfig

pytestmark = pytest.mark.services


@pytest.fixture
def client(redis: Redis) -> Iterator[Client]:
    with redis.administrator() as opened:
        yield opened


@pytest.fixture
def key() -> str:
    return f"app:{uuid4().hex}"


def source(redis: Redis, key: str, **config: Any) -> RedisStreams:
    url = f"rediss://app:{PASSWORD}@localhost:{redis.port}?ssl_ca_certs={redis.authority}"
    return RedisStreams(
        RedisStreamsConfig(key=key, stream="events", **config), tenant="acme", connection=Connection({"url": url})
    )


def read(
    at: RedisStreams, position: dict[str, Any] | None = None, window: Window | None = None
) -> tuple[Plan, list[Any]]:
    (stream,) = at.streams()
    plan = at.plan(stream, window or Window(), position or {})
    return plan, [row for part in plan.partitions for batch in at.read(stream, part) for row in batch.rows.to_pylist()]


def test_a_window_is_a_range_of_the_ids_times(redis: Redis, client: Client, key: str) -> None:
    for at in (999, 1000, 1500, 2000):
        client.xadd(key, {"n": at}, id=f"{at}-0")
    window = Window("1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00")
    plan, rows = read(source(redis, key), window=window)
    assert plan.position == {}
    assert rows == [
        {"n": "1000", "entry_id": "1000-0", "entry_at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)},
        {"n": "1500", "entry_id": "1500-0", "entry_at": datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)},
    ]
    before = Window("1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00.999+00:00")
    assert read(source(redis, key), window=before)[0].partitions == []
    _, rows = read(source(redis, key), window=Window(window.end, "2090-01-01T00:00:00+00:00"))
    assert [row["n"] for row in rows] == ["2000"]


def test_entries_that_were_trimmed_before_they_were_read_are_told(redis: Redis, client: Client, key: str) -> None:
    for number in range(5):
        client.xadd(key, {"n": number})
    at = source(redis, key)
    position = dict(read(at)[0].position)
    for number in range(5, 9):
        client.xadd(key, {"n": number})
    client.xtrim(key, maxlen=4, approximate=False)
    _, rows = read(at, position)
    assert [row["n"] for row in rows] == ["5", "6", "7", "8"]  # what was read is gone: nothing is lost
    client.xtrim(key, maxlen=3, approximate=False)
    with pytest.raises(ContractError, match="1 entries less"):
        read(at, position)
    plan, rows = read(source(redis, key, lost_messages="skip"), position)
    assert [row["n"] for row in rows] == ["6", "7", "8"]
    assert [part["added"] for part in plan.partitions] == [6]  # type: ignore[index,call-overload]
    _, rows = read(at, dict(plan.position))
    assert rows == []  # and nobody stops at it again


def test_a_stream_that_was_made_anew_is_told(redis: Redis, client: Client, key: str) -> None:
    client.xadd(key, {"n": 1}, id="5-1")
    with pytest.raises(ContractError, match="made anew"):
        read(source(redis, key), {key: {"id": "7-0", "added": 3}})


@pytest.mark.parametrize("start", ["id", "none"])
def test_entries_that_are_trimmed_between_plan_and_read_are_told(
    redis: Redis, client: Client, key: str, start: str
) -> None:
    client.xadd(key, {"n": 0})
    at = source(redis, key)
    position = dict(read(at)[0].position) if start == "id" else {}
    for number in range(1, 9):
        client.xadd(key, {"n": number})
    (stream,) = at.streams()
    plan = at.plan(stream, Window(), position)
    client.xtrim(key, maxlen=4, approximate=False)
    with pytest.raises(ContractError, match="trimmed while they were read"):
        list(at.read(stream, plan.partitions[0]))
    client.delete(key)
    client.xadd(key, {"n": 9})
    with pytest.raises(ContractError, match="trimmed while they were read"):
        list(at.read(stream, plan.partitions[0]))
    client.delete(key)
    client.xadd(key, {"n": 9}, id="1-0")
    with pytest.raises(ContractError, match="trimmed while they were read"):  # another one's rows aren't skipped to
        list(source(redis, key, lost_messages="skip").read(stream, plan.partitions[0]))


@pytest.mark.parametrize("kept", [1, 0])
def test_entries_that_are_trimmed_between_two_batches_are_told(
    redis: Redis, client: Client, key: str, kept: int
) -> None:
    for number in range(6):
        client.xadd(key, {"n": number})
    at = source(redis, key, batch_rows=2)
    (stream,) = at.streams()
    batches = at.read(stream, at.plan(stream, Window(), {}).partitions[0])
    assert [row["n"] for row in next(batches).rows.to_pylist()] == ["0", "1"]
    client.xtrim(key, maxlen=4, approximate=False)
    assert [row["n"] for row in next(batches).rows.to_pylist()] == ["2", "3"]  # only what was read is gone
    client.xtrim(key, maxlen=kept, approximate=False)
    with pytest.raises(ContractError, match="trimmed while they were read"):
        list(batches)


def test_a_single_entry_that_somebody_deletes_is_no_loss(redis: Redis, client: Client, key: str) -> None:
    numbers = [client.xadd(key, {"n": number}) for number in range(6)]
    at = source(redis, key, batch_rows=2)
    position = {key: {"id": numbers[0].decode(), "added": 1}}
    (stream,) = at.streams()
    plan = at.plan(stream, Window(), position)
    client.xdel(key, numbers[1], numbers[3])  # type: ignore[arg-type]
    rows = [row for batch in at.read(stream, plan.partitions[0]) for row in batch.rows.to_pylist()]
    assert [row["n"] for row in rows] == ["2", "4", "5"]


@pytest.mark.parametrize("page", [0, 1])
def test_nor_is_the_oldest_one(redis: Redis, client: Client, key: str, page: int) -> None:
    """What was read before is gone. Where another was trimmed with it, which it was can't be told."""
    numbers = [client.xadd(key, {"n": number}).decode() for number in range(6)]
    at = source(redis, key, batch_rows=2)
    (stream,) = at.streams()
    due = 1 + 2 * page

    def left() -> Iterator[str]:
        batches = at.read(stream, at.plan(stream, Window(), {key: {"id": numbers[0], "added": 1}}).partitions[0])
        for _ in range(page):
            next(batches)
        client.xtrim(key, maxlen=6 - due, approximate=False)
        client.xdel(key, numbers[due])
        yield from (row["n"] for batch in batches for row in batch.rows.to_pylist())

    assert list(left()) == [str(number) for number in range(due + 1, 6)]


@pytest.mark.parametrize("more", ["trimmed", "deleted"])
def test_an_oldest_one_that_goes_with_others_stops_it(redis: Redis, client: Client, key: str, more: str) -> None:
    numbers = [client.xadd(key, {"n": number}).decode() for number in range(6)]
    at = source(redis, key)
    (stream,) = at.streams()
    plan = at.plan(stream, Window(), {})
    client.xdel(key, numbers[0])
    if more == "trimmed":
        client.xtrim(key, maxlen=4, approximate=False)
    else:  # of these two nothing tells that the first wasn't trimmed
        client.xdel(key, numbers[3])
    with pytest.raises(ContractError, match="trimmed while they were read"):
        list(at.read(stream, plan.partitions[0]))


def test_an_oldest_one_that_was_trimmed_alone_stops_it(redis: Redis, client: Client, key: str) -> None:
    for number in range(3):
        client.xadd(key, {"n": number})
    at = source(redis, key)
    (stream,) = at.streams()
    plan = at.plan(stream, Window(), {})
    client.xtrim(key, maxlen=2, approximate=False)
    with pytest.raises(ContractError, match="trimmed while they were read"):
        list(at.read(stream, plan.partitions[0]))


def test_a_first_run_takes_a_stream_as_trimming_left_it(redis: Redis, client: Client, key: str) -> None:
    for number in range(5):
        client.xadd(key, {"n": number}, maxlen=2, approximate=False)
    plan, rows = read(source(redis, key))
    assert [row["n"] for row in rows] == ["3", "4"]
    assert plan.position[key]["added"] == 5  # type: ignore[index,call-overload]


@pytest.mark.parametrize("added", [4, 2])
def test_a_stream_that_was_made_anew_with_later_ids_is_told(redis: Redis, client: Client, key: str, added: int) -> None:
    """By fewer entries than were read once, or by more after them than were added since."""
    for number in range(3):
        client.xadd(key, {"n": number}, id=f"8-{number}")
    with pytest.raises(ContractError, match="made anew"):
        read(source(redis, key), {key: {"id": "7-0", "added": added}})


def test_poison_is_rejected_by_its_id_and_a_field_that_nobody_knows_stops_it(
    redis: Redis, client: Client, key: str
) -> None:
    client.xadd(key, {"n": 1}, id="1-0")
    client.xadd(key, {"n": "many"}, id="2-0")
    client.xadd(key, {"n": b"\xff"}, id="3-0")
    at = source(redis, key, columns={"n": "integer"})
    (stream,) = at.streams()
    (batch,) = at.read(stream, at.plan(stream, Window(), {}).partitions[0])
    assert [row["n"] for row in batch.rows.to_pylist()] == [1]
    assert [(each.location, each.raw) for each in batch.rejects] == [
        (f"{key}@2-0", b'{"n": "many"}'),
        (f"{key}@3-0", b'{"n": "\\\\xff"}'),
    ]
    client.xadd(key, {"n": 4, "mail": "x"})
    with pytest.raises(ContractError, match="nobody has classified"):
        list(at.read(stream, at.plan(stream, Window(), {}).partitions[0]))


def test_a_group_s_pending_entries_are_acknowledged_up_to_the_position(redis: Redis, client: Client, key: str) -> None:
    """Also those that a consumer took and died with."""
    for number in range(3):
        client.xadd(key, {"n": number})
    client.xgroup_create(key, "watchers", "0")
    client.xreadgroup("watchers", "died", {key: ">"}, count=2)
    at = source(redis, key, consumer_group="watchers")
    plan, _ = read(at)
    client.xadd(key, {"n": 3})
    at.acknowledge(plan.position)
    (group,) = client.xinfo_groups(key)
    assert (group["pending"], group["last-delivered-id"]) == (0, plan.position[key]["id"].encode())  # type: ignore[index,call-overload]
    later = client.xreadgroup("watchers", "lives", {key: ">"})
    assert [fields for _, entries in later for _, fields in entries] == [{b"n": b"3"}]


def test_a_key_of_another_type_and_one_of_another_application_are_refused(
    redis: Redis, client: Client, key: str
) -> None:
    client.set(key, "text")
    with pytest.raises(FatalSourceError, match="WRONGTYPE"):
        source(redis, key).streams()
    client.xadd("other:stream", {"n": 1})
    with pytest.raises(FatalSourceError, match="refuses this user"):
        source(redis, "other:stream").streams()
