"""Values at the edges of each type, as another library writes them, come back from PostgreSQL as they were."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psycopg
import pytest

from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run

EDGES = {
    "string": pl.Series(["", "null", None, "a\r\nb", " 007", '"'], dtype=pl.String),
    "integer": pl.Series([-(2**63), 2**63 - 1, None, 0, -1, 7], dtype=pl.Int64),
    "boolean": pl.Series([True, False, None, True, False, None], dtype=pl.Boolean),
    "number": pl.Series([1e300, -0.0, 5e-324, None, 0.1, 2.0**53 + 2], dtype=pl.Float64),
    "date": pl.Series(
        [dt.date(1, 1, 1), None, dt.date(9999, 12, 31), dt.date(1582, 10, 10), None, None], dtype=pl.Date
    ),
    "timestamp": pl.Series(
        [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 30, 1, 2, 3, 4), None, None, None, None],  # noqa: DTZ001 - of no zone
        dtype=pl.Datetime("us"),
    ),
    "timestamp_tz": pl.Series(
        [
            dt.datetime(1, 1, 1, tzinfo=dt.UTC),
            dt.datetime(9999, 12, 30, 1, 2, 3, 4, tzinfo=dt.UTC),
            None,
            None,
            None,
            None,
        ],
        dtype=pl.Datetime("us", "UTC"),
    ),
}
"""By what a tenant calls the type."""


def _csv(frame: pl.DataFrame) -> bytes:
    moments = frame.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    zoned = [name for name, kind in frame.schema.items() if kind == pl.Datetime("us", "UTC")]
    return moments.with_columns(pl.col(zoned) + "Z").write_csv(quote_style="non_numeric").encode()


def _jsonl(frame: pl.DataFrame) -> bytes:
    return "".join(json.dumps(row, default=dt.datetime.isoformat) + "\n" for row in frame.to_dicts()).encode()


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, row_group_size=7)
    return out.getvalue()


@dataclass(frozen=True)
class Format:
    """How a table is written, of which kinds of columns, and whether the source has to be told their types."""

    source: str
    write: Callable[[pl.DataFrame], bytes]
    kinds: tuple[str, ...]
    typed: bool = True


FORMATS = {
    "csv": Format("csv", _csv, tuple(EDGES)),
    "jsonl": Format("jsonl", _jsonl, ("string", "integer", "boolean")),
    "parquet": Format("parquet", _parquet, tuple(EDGES), typed=False),
}
"""A format that is added here is put to all of it."""


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_at_the_edges_comes_back(name: str, database: str, tmp_path: Path) -> None:
    kind = FORMATS[name]
    types = {"id": "integer"} | {each: each for each in kind.kinds}
    frame = pl.DataFrame([pl.Series("id", range(6)), *(EDGES[each].alias(each) for each in kind.kinds)])
    path = tmp_path / f"rows.{kind.source}"
    path.write_bytes(kind.write(frame))
    pipeline = {
        "importer": kind.source,
        "config": {"path": str(path)} | ({"types": types} if kind.typed else {}),
        "privacy": {"columns": dict.fromkeys(types, "keep"), "subject": {"none": True, "reason": "made up"}},
    }
    whose = Tenant.model_validate({"tenant": "acme", "pipelines": {"rows": pipeline}})
    places = str(tmp_path / "staging"), str(tmp_path / "quarantine")
    (job,) = jobs(Installation(tmp_path, database, True, *places), whose, "rows")
    with closing(job):
        result = run(job, processes=1)
    assert (result.rows_loaded, result.rows_quarantined) == (frame.height, 0)
    query = f"select {', '.join(types)} from acme.rows order by id"
    with psycopg.connect(database) as connection:
        assert connection.execute(query).fetchall() == frame.rows()  # type: ignore[arg-type]
