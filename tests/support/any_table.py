"""Any table of the types that a format has, written by another library than the reader's, through the whole chain.

What PostgreSQL then holds, read by psycopg, is compared with the table itself.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import hypothesis.strategies as st
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
from hypothesis import HealthCheck, given, settings

from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run

Table = pa.Table

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["", "null", "007", " ", "a\r\nb", '"', "=1+1", "\ufeff", "2024-02-30", "1e5", "\\N"]
)
MOMENT = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 30))  # noqa: DTZ001 - of no zone
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), TEXT),
    "integer": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "number": (pa.float64(), st.floats()),
    "decimal": (pa.decimal128(38, 9), st.decimals(-(10**20), 10**20, places=9)),
    "boolean": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us"), MOMENT),
    "timestamp_tz": (pa.timestamp("us", "UTC"), MOMENT.map(lambda moment: moment.replace(tzinfo=dt.UTC))),
}
"""By what a tenant calls the type."""
FINITE = KINDS | {"number": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False))}
PARQUET = KINDS | {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint32": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "binary": (pa.binary(), st.binary(max_size=6)),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), TEXT),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(-(2**53), 2**53), max_size=3)),
    "struct": (
        pa.struct([("a", pa.string()), ("b", pa.bool_())]),
        st.fixed_dictionaries({"a": TEXT, "b": st.booleans()}),
    ),
}
PRINTED = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
EXCEL = {
    "string": (pa.string(), PRINTED),
    "integer": (pa.int64(), st.integers(-(10**15), 10**15)),
    "number": (pa.float64(), st.integers(-(10**9), 10**9).map(lambda n: n / 64)),  # xlsxwriter writes 16 digits
    "boolean": KINDS["boolean"],
    "date": (pa.date32(), st.dates(dt.date(1900, 3, 1))),
    "timestamp": (pa.timestamp("us"), MOMENT.map(lambda moment: moment.replace(year=1950, microsecond=0))),
}


def _text(value: Any) -> str:
    """As CSV has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _csv(table: Table, path: Path) -> None:
    """Text is quoted, so that "" isn't null; nothing else is."""
    texts = [pa.types.is_string(kind) for kind in table.schema.types]
    with path.open("w", newline="", encoding="utf-8") as out:
        out.write(",".join(table.column_names) + "\n")
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            cells = [
                '"' + v.replace('"', '""') + '"' if t and v is not None else _text(v)
                for v, t in zip(row, texts, strict=True)
            ]
            out.write(",".join(cells) + "\r\n")


def _jsonl(table: Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=_text) + "\n" for row in table.to_pylist()))


def _json(table: Table, path: Path) -> None:
    path.write_text(json.dumps({"data": table.to_pylist()}, default=_text, ensure_ascii=False), encoding="utf-8")


def _parquet(table: Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=3)


def _avro(table: Table, path: Path) -> None:
    logical = {
        "date": {"type": "int", "logicalType": "date"},
        "timestamp": {"type": "long", "logicalType": "local-timestamp-micros"},
        "timestamp_tz": {"type": "long", "logicalType": "timestamp-micros"},
        "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9},
        "integer": "long",
        "number": "double",
        "binary": "bytes",
    }
    kinds = [name.rpartition("__")[2] for name in table.column_names]
    fields = [
        {"name": name, "type": ["null", logical.get(kind, kind)]}
        for name, kind in zip(table.column_names, kinds, strict=True)
    ]
    with path.open("wb") as out:
        fastavro.writer(out, {"type": "record", "name": "row", "fields": fields}, table.to_pylist(), codec="deflate")


def _excel(table: Table, path: Path) -> None:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, table.column_names)
        for number, row in enumerate(table.to_pylist(), 1):
            for place, value in enumerate(row.values()):
                write = sheet.write_string if isinstance(value, str) else sheet.write
                write(number, place, value)


@dataclass(frozen=True)
class Format:
    """How a table is written, of which types, with what settings, and whether the source has to be told the types."""

    write: Callable[[Table, Path], None]
    kinds: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]]
    typed: bool = True
    suffix: str = ""
    records: str = ""


_JSON = {name: FINITE[name] for name in ("string", "integer", "number", "boolean")}
FORMATS = {
    "csv": Format(_csv, KINDS),
    "jsonl": Format(_jsonl, _JSON),
    "json": Format(_json, _JSON, records="data"),
    "parquet": Format(_parquet, PARQUET, typed=False),
    "avro": Format(_avro, KINDS | {"binary": PARQUET["binary"]}, typed=False),
    "excel": Format(_excel, EXCEL, suffix="xlsx"),
}


@st.composite
def tables(draw: st.DrawFn, name: str) -> Table:
    """Of a few rows; `id` numbers them, other columns end with their kind."""
    kinds = FORMATS[name].kinds
    size = draw(st.integers(1, 7))
    columns: dict[str, pa.Array] = {"id__integer": pa.array(range(size), pa.int64())}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))):
        type_, values = kinds[kind]
        drawn = draw(st.lists(st.none() | values, min_size=size, max_size=size))
        columns[f"c{number}__{kind}"] = pa.array(drawn, type_)
    return pa.table(columns)


def try_tables(name: str, database: str, home: Path, **how: Any) -> None:
    """Put as many tables as hypothesis's settings say through a format and the chain."""
    warehouse = Warehouse(database, home)

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **how)
    @given(st.data())
    def comes_back(data: st.DataObject) -> None:
        warehouse.comes_back(name, data.draw(tables(name)))

    comes_back()


class Warehouse:
    """Where tables go, one after the other."""

    def __init__(self, database: str, home: Path) -> None:
        self._database, self._home, self._count = database, home, 0

    def comes_back(self, name: str, table: Table) -> None:
        """Raises AssertionError if another table stands in PostgreSQL than was written to the file."""
        kind, self._count = FORMATS[name], self._count + 1
        stream = f"t{self._count}"
        path = self._home / f"{stream}.{kind.suffix or name}"
        kind.write(table, path)
        types = {column: column.rpartition("__")[2] for column in table.column_names}
        config = {"path": str(path), "stream": stream} | ({"types": types} if kind.typed else {})
        config |= {"records": kind.records} if kind.records else {}
        reason = {"reason": "made up", "subject": {"none": True, "reason": "made up"}}
        pipeline = {"importer": name, "config": config, "privacy": reason | {"columns": {"*": "keep"}}}
        whose = Tenant.model_validate({"tenant": "acme", "pipelines": {"rows": pipeline}})
        places = str(self._home / "staging"), str(self._home / "quarantine")
        (job,) = jobs(Installation(self._home, self._database, True, *places), whose, "rows")
        with closing(job):
            result = run(job, processes=1)
        assert (result.rows_loaded, result.rows_quarantined) == (table.num_rows, 0), result.rules
        names = ", ".join(f'"{column}"' for column in table.column_names)
        with psycopg.connect(self._database) as connection:
            found = connection.execute(f"select {names} from acme.{stream} order by id__integer").fetchall()  # type: ignore[arg-type]
        expected = [tuple(row.values()) for row in table.to_pylist()]
        assert [tuple(map(_same, row)) for row in found] == [tuple(map(_same, row)) for row in expected]
        path.unlink()


def _same(value: Any) -> Any:
    """NaN is like itself here."""
    nan = isinstance(value, float | Decimal) and math.isnan(value)
    return "NaN" if nan else value
