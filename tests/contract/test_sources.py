"""What every registered source must do. One that is added takes part by existing; it only needs a world."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import cycle
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import ValidationError

from importers.core import registry
from importers.core.model import DELETED, OURS, Batch, LoadMode, Pace, Plan, Position, Reads, Stream, Window
from importers.core.source import Source
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, FatalSourceError, ImporterError, PrivacyError, TransientSourceError
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.pipeline.stream import Beat
from importers.pipeline.stream import stream as follow

from .world import World
from .worlds import WORLDS

SOURCES = sorted(registry.sources())
TROUBLES = {"deny": FatalSourceError, "die": TransientSourceError, "stall": TransientSourceError}


def worlds() -> list[Any]:
    """A parameter for each world, marked by what it needs."""
    return [pytest.param(name, marks=_marks(name), id=name) for name in WORLDS]


def in_modes() -> list[Any]:
    return [
        pytest.param(name, mode, marks=_marks(name), id=f"{name}-{mode}")
        for name, cls in WORLDS.items()
        for mode in cls.modes()
    ]


def in_trouble() -> list[Any]:
    return [
        pytest.param(name, trouble, marks=_marks(name), id=f"{name}-{trouble}")
        for name, cls in WORLDS.items()
        for trouble in TROUBLES
        if cls.provokes(trouble)
    ]


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.services] if WORLDS[name].service not in (None, "postgres", "logical_postgres") else []


def source_of(name: str) -> str:
    """The source that a world is for."""
    return name.partition(":")[0]


@pytest.fixture(params=worlds())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    cls = WORLDS[name]
    server = request.getfixturevalue(cls.service) if cls.service else None
    with closing(cls(tmp_path / "world", server)) as made:
        yield made


@pytest.fixture(autouse=True)
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even a few rows into several partitions."""
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 40)
    monkeypatch.setattr("importers.sources.databases.postgresql.Postgresql.split_above", 1)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a silent system asks from time to time whether it is there: here sooner than in half a minute."""
    for module in ("kafka_following", "event_hubs"):
        monkeypatch.setattr(f"importers.transport.{module}.LOOK", 0.2)


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path, database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


def source(name: str, world: World, **settings: Any) -> Source[Any]:
    cls = registry.source_class(source_of(name))
    return cls(cls.config_model(**world.config() | settings), tenant="acme", connection=world.opened())


def stream_of(at: Source[Any], world: World) -> Stream:
    """The world's stream, ready to be planned, as a run has it."""
    (stream,) = [stream for stream in at.streams() if stream.name == world.stream]
    at.subscribe(stream)
    return stream


def rows_of(at: Source[Any], stream: Stream, plan: Plan) -> list[dict[str, Any]]:
    """Read a plan that has been stored as JSON, as a run does. Without our own columns: a world deletes no row."""
    partitions = json.loads(json.dumps(plan.partitions))
    assert all(map(at.knows, partitions))
    rows = [row for part in partitions for batch in at.read(stream, part) for row in batch.rows.to_pylist()]
    assert not any(row.get(DELETED) for row in rows)
    return [{column: value for column, value in row.items() if column not in OURS} for row in rows]


def by_key(world: World, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=itemgetter(*world.key))


def test_every_source_has_a_world() -> None:
    assert sorted({source_of(name) for name in WORLDS}) == SOURCES


@pytest.mark.parametrize("name", list(WORLDS))
def test_a_world_that_breaks_can_be_mended(name: str) -> None:
    cls = WORLDS[name]
    assert cls.provokes("mend") or not any(map(cls.provokes, TROUBLES))


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_names_itself_and_its_settings(name: str) -> None:
    cls = registry.source_class(name)
    assert cls.title
    assert cls.__doc__
    for field, about in cls.config_model.model_fields.items():
        assert about.description, f"{name}.{field} has no description"


def test_it_is_healthy_until_it_vanishes(name: str, world: World) -> None:
    at = source(name, world)
    assert at.check().ok
    world.vanish()
    health = at.check()
    assert not health.ok
    assert health.detail


def test_a_wrong_or_unknown_setting_is_refused(name: str, world: World) -> None:
    model = registry.source_class(source_of(name)).config_model
    for settings in (world.config() | world.wrong, world.config() | {"no_such_setting": 1}):
        with pytest.raises(ValidationError):
            model(**settings)


def test_every_column_has_a_type_and_the_world_s_policy_covers_it(name: str, world: World) -> None:
    stream = stream_of(source(name, world), world)
    assert {column.name for column in stream.columns} == set(world.policy)
    assert all(isinstance(column.type, pa.DataType) for column in stream.columns)
    assert stream.reads is world.reads
    assert stream.primary_key in ((), world.key)


def test_its_streams_are_called_as_its_settings_alone_tell(name: str, world: World) -> None:
    cls = registry.source_class(source_of(name))
    named = cls(cls.config_model(**world.config()), tenant="acme").named()
    with closing(source(name, world)) as at:
        assert not named or sorted(named) == sorted(stream.name for stream in at.streams())


def test_every_row_is_read_once_and_again_alike(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at, world)
    plan = at.plan(stream, Window(), {})
    assert by_key(world, rows_of(at, stream, plan)) == by_key(world, world.rows)
    assert rows_of(at, stream, plan) == rows_of(at, stream, plan)


def test_what_another_version_or_importer_planned_is_not_known(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at, world)
    (part, *_) = json.loads(json.dumps(at.plan(stream, Window(), {}).partitions))
    others = [{**part, "of another version": 1}, [part], "all", 7, {"of another importer": 1}]
    others += [{**part, name: {"of another version": 1}} for name in part]
    assert not [other for other in others if at.knows(other)]


def test_nothing_of_it_stays_open_once_it_is_closed(name: str, world: World) -> None:
    """Nobody forgets the source meanwhile: it closes, not the collector."""
    before = _open()
    with closing(source(name, world)) as at:
        assert at.check().ok
        stream = stream_of(at, world)
        rows_of(at, stream, at.plan(stream, Window(), {}))
    assert not _left(before)
    assert at.check().ok, "asked again, it connects again"
    at.close()


def _left(before: set[str]) -> set[str]:
    """What is open beside what was; the other end of some is a server's in here, and closes soon."""
    deadline = time.monotonic() + 60
    while (left := _open() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _open() -> set[str]:
    """This process's sockets, its threads that Python knows of, and librdkafka's, which have its name."""
    found = {f"thread {thread.ident}" for thread in threading.enumerate()}
    for each in (*Path("/proc/self/fd").iterdir(), *Path("/proc/self/task").glob("*/comm")):
        with suppress(OSError):  # it has ended since
            what = each.read_text() if each.name == "comm" else str(each.readlink())
            found |= {f"{each} {what}"} if what.startswith(("rdk:", "socket:")) else set()
    return found


def test_only_the_columns_that_are_asked_for_are_read(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at, world)
    asked = [*world.key, next(column for column in world.shown if column not in world.key)]
    narrow = stream.narrowed(asked)
    read = by_key(world, rows_of(at, narrow, at.plan(narrow, Window(), {})))
    assert read == [{column: row[column] for column in asked} for row in by_key(world, world.rows)]


def test_it_goes_on_from_its_position(name: str, world: World) -> None:
    if world.reads is not Reads.POSITION:
        pytest.skip(f"it reads a {world.reads}")
    at = source(name, world)
    stream = stream_of(at, world)
    first = at.plan(stream, Window(), {})
    position = json.loads(json.dumps(dict(first.position)))
    assert rows_of(at, stream, at.plan(stream, Window(), position)) == []
    world.grow()
    assert by_key(world, rows_of(at, stream, at.plan(stream, Window(), position))) == by_key(world, world.more)


def test_nothing_of_its_settings_is_in_its_repr(name: str, world: World) -> None:
    at = source(name, world)
    assert str(world.directory) not in repr(at)
    assert not [secret for secret in world.secrets if secret in repr(at) + repr(vars(at))]


# -- through the whole chain


def tenant(name: str, world: World, whose: str = "acme", mode: str = "merge", **privacy: Any) -> Tenant:
    load = {"mode": mode} | ({"primary_key": list(world.key)} if mode == "merge" else {})
    pipeline = {
        "importer": source_of(name),
        "config": world.config(),
        "streams": {world.stream: {}},
        "privacy": {"columns": world.policy, "subject": world.subject} | privacy,
        "load": load | {"table": "plays"},
        "micro_batch": {"linger_ms": 1, "max_rows": 1},
    }
    return Tenant.model_validate({"tenant": whose, "pipelines": {"listening": pipeline}})


def job_of(installation: Installation, world: World, whose: Tenant) -> Job:
    (job,) = jobs(installation, whose, "listening", connection=world.opened())
    return job


def import_once(installation: Installation, world: World, whose: Tenant, key: str | None = None) -> Result:
    with closing(job_of(installation, world, whose)) as job:
        return run(job, key, processes=1)


def table(sql: psycopg.Connection, world: World, schema: str = "acme") -> list[Any]:
    """What an analyst sees: the columns that are loaded as they are, in the order of the key."""
    columns, key = (SQL(", ").join(map(Identifier, names)) for names in (world.shown, world.key))
    query = SQL("select {} from {} order by {}").format(columns, Identifier(schema, "plays"), key)
    return sql.execute(query).fetchall()


def expected(world: World, rows: list[dict[str, Any]]) -> list[Any]:
    return [tuple(row[column] for column in world.shown) for row in by_key(world, rows)]


@pytest.mark.parametrize(("name", "mode"), in_modes())
def test_an_import_again_changes_nothing_and_then_brings_what_is_new(
    name: str, world: World, installation: Installation, sql: psycopg.Connection, mode: str
) -> None:
    whose, rows = tenant(name, world, mode=mode), world.rows
    first = import_once(installation, world, whose, "r1")
    assert (first.rows_read, first.rows_loaded, first.rows_quarantined) == (len(rows), len(rows), 0)
    again = import_once(installation, world, whose, "r1")
    assert again.receipts == first.receipts
    import_once(installation, world, whose, "r2")
    assert table(sql, world) == expected(world, rows)
    world.grow()
    import_once(installation, world, whose)
    assert table(sql, world) == expected(world, rows + world.more)


class _Cut:
    """Breaks a source's `read` off after some batches, or its `follow` after some that move the position."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: type[Source[Any]], after: int, how: str = "read") -> None:
        original, self.left = getattr(cls, how), after

        def broken(at: Source[Any], *asked: Any) -> Iterator[Batch]:
            with closing(original(at, *asked)) as batches:
                for batch in batches:
                    counts = how == "read" or batch.position is not None
                    if counts and self.left == 0:
                        raise TransientSourceError("the connection was cut")
                    self.left -= counts
                    yield batch

        monkeypatch.setattr(cls, how, broken)


def test_it_resumes_at_every_batch_boundary(
    name: str, world: World, installation: Installation, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load mode, which staging knows nothing of, is another each time."""
    at = source(name, world)
    stream = stream_of(at, world)
    boundaries = sum(1 for part in at.plan(stream, Window(), {}).partitions for _ in at.read(stream, part))
    assert boundaries >= 2
    for after, mode in zip(range(boundaries), cycle(world.modes()), strict=False):
        whose = tenant(name, world, f"t{after}", mode)
        with monkeypatch.context() as patch:
            _Cut(patch, type(at), after)
            with pytest.raises(TransientSourceError, match="cut"):
                import_once(installation, world, whose, "r1")
        import_once(installation, world, whose, "r1")
        assert table(sql, world, f"t{after}") == expected(world, world.rows)


def raised(world: World, trouble: str, begun: list[str], work: Callable[[], object]) -> str:
    """What the trouble's error says. Who is hurried may give up before it has begun on a busy machine: tries again."""
    world.hurried = trouble != "deny"
    while True:
        with pytest.raises(TROUBLES[trouble]) as told:
            work()
        if begun:
            return str(told.value)


@pytest.mark.parametrize(("name", "trouble"), in_trouble())
def test_trouble_in_the_middle_is_told_by_its_remedy_and_loses_nothing(
    name: str,
    world: World,
    installation: Installation,
    sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    """The trouble begins once the first batch is there. Afterwards the same run goes on."""
    caplog.set_level(logging.DEBUG)
    cls, begun = registry.source_class(source_of(name)), list[str]()
    original = cls.read

    def read(at: Source[Any], stream: Stream, partition: Any) -> Iterator[Batch]:
        for batch in original(at, stream, partition):
            yield batch
            getattr(world, trouble)()
            begun.append(trouble)

    with monkeypatch.context() as patch:
        patch.setattr(cls, "read", read)
        told = raised(world, trouble, begun, lambda: import_once(installation, world, tenant(name, world), "r1"))
    assert not [secret for secret in world.secrets if secret in caplog.text + told]
    health = source(name, world).check()
    assert not health.ok
    assert not [secret for secret in world.secrets if secret in health.detail]
    world.mend()
    world.hurried = False
    assert source(name, world).check().ok
    import_once(installation, world, tenant(name, world), "r1")
    assert table(sql, world) == expected(world, world.rows)


def test_two_tenants_share_nothing(
    name: str, world: World, installation: Installation, sql: psycopg.Connection
) -> None:
    for whose in ("acme", "zeta"):
        import_once(installation, world, tenant(name, world, whose))
    assert table(sql, world, "acme") == table(sql, world, "zeta") == expected(world, world.rows)
    (token,) = [column for column, treated in world.policy.items() if treated == "pseudonymise"]
    mine, theirs = (
        {who for (who,) in sql.execute(SQL("select {} from {}").format(Identifier(token), Identifier(schema, "plays")))}
        for schema in ("acme", "zeta")
    )
    assert len(mine) == len(theirs) == len({row[token] for row in world.rows})
    assert not mine & theirs


def test_an_unclassified_column_stops_it_before_anything_is_read(
    name: str, world: World, installation: Installation, sql: psycopg.Connection
) -> None:
    if world.unclassified is None:
        pytest.skip("the source classifies all its columns")
    policy = {column: treated for column, treated in world.policy.items() if column != world.unclassified}
    with pytest.raises(ImporterError, match=world.unclassified) as stopped:
        import_once(installation, world, tenant(name, world, columns=policy))
    assert isinstance(stopped.value, PrivacyError)
    assert not Path(installation.staging).exists() or not list(Path(installation.staging).rglob("*.parquet"))


def test_no_value_and_no_secret_is_logged_told_or_stored(
    name: str,
    world: World,
    installation: Installation,
    sql: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    result = import_once(installation, world, tenant(name, world))
    said = caplog.text + repr(result) + "".join(capfd.readouterr())
    assert not [value for value in (*world.values, *world.secrets) if value in said]
    stored = sql.execute("select run::text from _importers.run").fetchall()
    assert stored
    assert not [secret for secret in world.secrets if secret in str(stored)]


def test_a_key_that_the_stream_lacks_is_a_config_error(name: str, world: World, installation: Installation) -> None:
    whose = tenant(name, world)
    pipeline = whose.pipelines["listening"].model_dump(exclude_unset=True) | {
        "load": {"mode": LoadMode.MERGE, "primary_key": f"{world.key[0]}d"}
    }
    whose = Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})
    with pytest.raises(ConfigError, match=rf"acme\.listening.* Did you mean '{world.key[0]}'"):
        import_once(installation, world, whose)


# -- followed, where the source can be

PACE = Pace(linger=0.001, rows=1, idle=0.05)


def followed(*, others: bool = True) -> list[Any]:
    """Worlds of sources that can be followed; a source's `others` have rows of another format, from the same system."""
    names = [name for name in WORLDS if registry.source_class(source_of(name)).follows]
    asked = [name for name in names if others or WORLDS[name].apart or name == source_of(name)]
    return [pytest.param(name, marks=_marks(name), id=name) for name in asked]


def came(at: Source[Any], stream: Stream, position: Position, rows: int) -> list[Batch]:
    """The batches up to that with which so many rows have come and nothing is known to be unread."""
    got, deadline = list[Batch](), time.monotonic() + 180
    with closing(at.follow(stream, position, PACE)) as batches:
        for batch in batches:
            assert time.monotonic() < deadline, f"{sum(each.rows.num_rows for each in got)} of {rows} rows came"
            got.append(batch)
            if sum(each.rows.num_rows for each in got) >= rows and not batch.behind:
                break
    return got


def rows_in(batches: list[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.rows.to_pylist()]


@pytest.mark.parametrize("name", followed())
def test_followed_it_gives_each_row_once_and_goes_on_after_any_batch(name: str, world: World) -> None:
    with closing(source(name, world)) as at:
        stream = stream_of(at, world)
        batches = came(at, stream, {}, len(world.rows))
        assert (batches[0].rows.num_rows, batches[0].rejects) == (0, ())
        assert batches[0].position is not None, "the first says where reading begins"
        assert by_key(world, rows_in(batches)) == by_key(world, world.rows)
        moving = [batch for batch in batches if batch.position is not None]
        assert len(moving) >= 3
        position: dict[str, Any] = {}
        for number, batch in enumerate(moving, 1):
            position |= json.loads(json.dumps(dict(batch.position or {})))
            rest = rows_in(moving[number:])
            assert by_key(world, rows_in(came(at, stream, position, len(rest)))) == by_key(world, rest)
        world.grow()
        assert by_key(world, rows_in(came(at, stream, position, len(world.more)))) == by_key(world, world.more)


@pytest.mark.parametrize("name", followed(others=False))
def test_nothing_stays_open_of_one_that_was_followed(name: str, world: World) -> None:
    """Whoever follows has closed the generator in the middle, and the source."""
    before = _open()
    with closing(source(name, world)) as at:
        stream = stream_of(at, world)
        came(at, stream, {}, 1)
    assert not _left(before)


@pytest.mark.parametrize("name", followed(others=False))
def test_followed_it_loads_each_row_once_wherever_it_is_broken_off(
    name: str, world: World, installation: Installation, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once before the first micro-batch and once behind each: the same stream goes on, and then has nothing to do."""
    for after in range(1, len(world.rows) + 1):
        whose = tenant(name, world, f"t{after}", "append")
        with monkeypatch.context() as patch:
            _Cut(patch, registry.source_class(source_of(name)), after, "follow")
            with pytest.raises(TransientSourceError, match="cut"):
                follow(job_of(installation, world, whose), drain=True)
        left = follow(job_of(installation, world, whose), drain=True)
        assert table(sql, world, f"t{after}") == expected(world, world.rows)
        assert left.loaded == len(world.rows) - (after - 1)
        assert follow(job_of(installation, world, whose), drain=True).rows == 0
    world.grow()
    assert follow(job_of(installation, world, whose), drain=True).loaded == len(world.more)
    assert table(sql, world, f"t{after}") == expected(world, world.rows + world.more)
    merged = tenant(name, world, "merged", "merge")
    assert follow(job_of(installation, world, merged), drain=True).loaded == len(world.rows + world.more)
    assert table(sql, world, "merged") == expected(world, world.rows + world.more)


def in_trouble_when_followed() -> list[Any]:
    return [each for each in in_trouble() if registry.source_class(source_of(each.values[0])).follows]


@pytest.mark.parametrize(("name", "trouble"), in_trouble_when_followed())
def test_trouble_while_it_is_followed_is_told_by_its_remedy_and_loses_nothing(
    name: str,
    world: World,
    installation: Installation,
    sql: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    """It begins once a micro-batch is committed. Afterwards the stream goes on, and gets what came meanwhile."""
    caplog.set_level(logging.DEBUG)
    loaded, begun = 0, list[str]()

    def watch(beat: Beat) -> None:
        nonlocal loaded
        loaded += beat.loaded
        if loaded and not begun:
            getattr(world, trouble)()
            begun.append(trouble)

    def work() -> None:
        follow(job_of(installation, world, tenant(name, world, mode="append")), watch=watch)

    told = raised(world, trouble, begun, work)
    assert not [secret for secret in world.secrets if secret in caplog.text + told]
    world.mend()
    world.hurried = False
    world.grow()
    rest = follow(job_of(installation, world, tenant(name, world, mode="append")), drain=True)
    assert loaded + rest.loaded == len(world.rows) + len(world.more)
    assert table(sql, world) == expected(world, world.rows + world.more)
