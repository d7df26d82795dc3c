"""What every registered source must do. One that is added takes part by existing; it only needs a world."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pydantic import ValidationError

from importers.core import registry
from importers.core.model import Batch, LoadMode, Plan, Stream, Window
from importers.core.source import Source
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ImporterError, TransientSourceError
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job, jobs
from importers.pipeline.run import Result, run

from .worlds import MORE, ROWS, WORLDS, World

SOURCES = sorted(registry.sources())
POLICY = {"who": "pseudonymise", "id": "keep", "what": "keep", "ms": "keep"}
SUBJECT = {"column": "who", "domain": "listener"}


@pytest.fixture(params=SOURCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(name: str, tmp_path: Path) -> World:
    return WORLDS[name](tmp_path / "world")


@pytest.fixture(autouse=True)
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even a few rows into several partitions."""
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 40)


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path, database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


def source(name: str, world: World, **settings: Any) -> Source[Any]:
    cls = registry.source_class(name)
    return cls(cls.config_model(**world.config() | settings), tenant="acme")


def stream_of(at: Source[Any]) -> Stream:
    (stream,) = at.streams()
    return stream


def rows_of(at: Source[Any], stream: Stream, plan: Plan) -> list[dict[str, Any]]:
    """Read a plan that has been stored as JSON, as a run does."""
    partitions = json.loads(json.dumps(plan.partitions))
    return [row for part in partitions for batch in at.read(stream, part) for row in batch.rows.to_pylist()]


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["id"])


def test_every_source_has_a_world() -> None:
    assert sorted(WORLDS) == SOURCES


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
    model = registry.source_class(name).config_model
    for settings in (world.config() | world.wrong, world.config() | {"no_such_setting": 1}):
        with pytest.raises(ValidationError):
            model(**settings)


def test_nobody_s_columns_are_classified_by_default(name: str, world: World) -> None:
    for column in stream_of(source(name, world)).columns:
        assert isinstance(column.type, pa.DataType)


def test_every_row_is_read_once_and_again_alike(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at)
    plan = at.plan(stream, Window(), {})
    assert by_id(rows_of(at, stream, plan)) == ROWS
    assert rows_of(at, stream, plan) == rows_of(at, stream, plan)


def test_only_the_columns_that_are_asked_for_are_read(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at)
    narrow = replace(stream, columns=tuple(c for c in stream.columns if c.name in ("id", "ms")))
    plan = at.plan(narrow, Window(), {})
    assert by_id(rows_of(at, narrow, plan)) == [{"id": row["id"], "ms": row["ms"]} for row in ROWS]


def test_it_goes_on_from_its_position(name: str, world: World) -> None:
    at = source(name, world)
    stream = stream_of(at)
    first = at.plan(stream, Window(), {})
    position = json.loads(json.dumps(dict(first.position)))
    assert rows_of(at, stream, at.plan(stream, Window(), position)) == []
    world.grow()
    assert rows_of(at, stream, at.plan(stream, Window(), position)) == MORE


def test_nothing_of_its_settings_is_in_its_repr(name: str, world: World) -> None:
    assert str(world.directory) not in repr(source(name, world))


# -- through the whole chain


def tenant(importer: str, world: World, name: str = "acme", mode: str = "merge") -> Tenant:
    pipeline = {
        "importer": importer,
        "config": world.config() | {"stream": "plays"},
        "privacy": {"columns": POLICY, "subject": SUBJECT},
        "load": {"mode": mode} | ({"primary_key": "id"} if mode == "merge" else {}),
    }
    return Tenant.model_validate({"tenant": name, "pipelines": {"listening": pipeline}})


def job_of(installation: Installation, whose: Tenant) -> Job:
    (job,) = jobs(installation, whose, "listening")
    return job


def import_once(installation: Installation, whose: Tenant, key: str | None = None) -> Result:
    with closing(job_of(installation, whose)) as job:
        return run(job, key, processes=1)


def table(sql: psycopg.Connection, schema: str = "acme") -> list[Any]:
    return sql.execute(f"select id, what, ms from {schema}.plays order by id").fetchall()  # type: ignore[arg-type]


def expected(rows: list[dict[str, Any]]) -> list[Any]:
    return [(row["id"], row["what"], row["ms"]) for row in rows]


MODES = ["append", "merge", "replace"]


@pytest.mark.parametrize("mode", MODES)
def test_an_import_again_changes_nothing_and_then_brings_what_is_new(
    name: str, world: World, installation: Installation, sql: psycopg.Connection, mode: str
) -> None:
    whose = tenant(name, world, mode=mode)
    first = import_once(installation, whose, "r1")
    assert (first.rows_read, first.rows_loaded, first.rows_quarantined) == (3, 3, 0)
    again = import_once(installation, whose, "r1")
    assert again.receipts == first.receipts
    import_once(installation, whose, "r2")
    assert table(sql) == expected(ROWS)
    world.grow()
    import_once(installation, whose)
    assert table(sql) == expected(ROWS + MORE)


class _Cut:
    """Breaks a source's reading off after some batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: type[Source[Any]], after: int) -> None:
        original, self.left = cls.read, after

        def read(at: Source[Any], stream: Stream, partition: Any) -> Iterator[Batch]:
            for batch in original(at, stream, partition):
                if self.left == 0:
                    raise TransientSourceError("the connection was cut")
                self.left -= 1
                yield batch

        monkeypatch.setattr(cls, "read", read)


@pytest.mark.parametrize("mode", MODES)
def test_it_resumes_at_every_batch_boundary(
    name: str,
    world: World,
    installation: Installation,
    sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    at = source(name, world)
    stream = stream_of(at)
    boundaries = sum(1 for part in at.plan(stream, Window(), {}).partitions for _ in at.read(stream, part))
    assert boundaries >= 2
    for after in range(boundaries):
        whose = tenant(name, world, f"t{after}", mode)
        with monkeypatch.context() as patch:
            _Cut(patch, registry.source_class(name), after)
            with pytest.raises(TransientSourceError, match="cut"):
                import_once(installation, whose, "r1")
        import_once(installation, whose, "r1")
        assert table(sql, f"t{after}") == expected(ROWS)


def test_two_tenants_share_nothing(
    name: str, world: World, installation: Installation, sql: psycopg.Connection
) -> None:
    for whose in ("acme", "zeta"):
        import_once(installation, tenant(name, world, whose))
    assert table(sql, "acme") == table(sql, "zeta") == expected(ROWS)
    mine, theirs = (
        {who for (who,) in sql.execute(f"select who from {schema}.plays").fetchall()}  # type: ignore[arg-type]
        for schema in ("acme", "zeta")
    )
    assert len(mine) == len(theirs) == 2
    assert not mine & theirs


def test_an_unclassified_column_stops_it_before_anything_is_read(
    name: str, world: World, installation: Installation, sql: psycopg.Connection
) -> None:
    whose = tenant(name, world)
    policy = {k: v for k, v in POLICY.items() if k != "what"}
    pipeline = whose.pipelines["listening"].model_dump(exclude_unset=True) | {
        "privacy": {"columns": policy, "subject": SUBJECT}
    }
    whose = Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})
    with pytest.raises(ImporterError, match="what") as stopped:
        import_once(installation, whose)
    assert type(stopped.value).__name__ == "PrivacyError"
    assert not Path(installation.staging).exists() or not list(Path(installation.staging).rglob("*.parquet"))


def test_no_value_is_logged_or_told(
    name: str,
    world: World,
    installation: Installation,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    result = import_once(installation, tenant(name, world))
    said = caplog.text + repr(result) + "".join(capfd.readouterr())
    assert "ada@" not in said  # shorter, a digest may hold it
    assert "cødé" not in said


def test_a_key_that_the_stream_lacks_is_a_config_error(name: str, world: World, installation: Installation) -> None:
    whose = tenant(name, world)
    pipeline = whose.pipelines["listening"].model_dump(exclude_unset=True) | {
        "load": {"mode": LoadMode.MERGE, "primary_key": "idd"}
    }
    with pytest.raises(ConfigError, match=r"acme\.listening: .* Did you mean 'id'"):
        import_once(installation, Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}}))
