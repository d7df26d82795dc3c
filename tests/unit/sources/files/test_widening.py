"""What comes past a sample that misled. The numbers are those that Python reads in the same texts."""

import json
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pyarrow as pa
import pytest
import xlsxwriter

from importers.core.model import Window
from importers.core.registry import source_class
from importers.sources.files.csv import Csv
from importers.sources.files.json import Json
from importers.sources.files.jsonl import Jsonl

SMALL = {kind: type("Small", (cls,), {"block": 40}) for kind, cls in (("csv", Csv), ("jsonl", Jsonl), ("json", Json))}


def write(path, kind, rows):
    """Rows of n (a number's text) and x."""
    file = path / f"rows.{kind}"
    if kind == "csv":
        file.write_text("n,x\n" + "".join(f"{n},{x}\n" for n, x in rows))
    elif kind == "excel":
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["n", "x"])
            for at, (n, x) in enumerate(rows, 1):
                sheet.write_row(at, 0, [float(n), x])
    else:
        texts = [f'{{"n": {n}, "x": {json.dumps(x)}}}' for n, x in rows]
        file.write_text(f"[{','.join(texts)}]" if kind == "json" else "".join(text + "\n" for text in texts))
    return file


def read(kind, file, widens=("n",), **config):
    cls = SMALL.get(kind) or source_class(kind)
    of = cls(cls.config_model(path=str(file), **config), tenant="acme")
    (stream,) = of.streams()
    columns = tuple(replace(column, widens=column.name in widens) for column in stream.columns)
    stream = replace(stream, columns=columns)
    (part,) = of.plan(stream, Window(), {}).partitions
    return stream, list(of.read(stream, part))


def rows_of(batches):
    return [tuple(row.values()) for batch in batches for row in batch.rows.to_pylist()]


@pytest.mark.parametrize("kind", ["csv", "excel", "jsonl", "json"])
def test_fractions_among_integers_widen_from_their_block_on(tmp_path, kind):
    texts = [str(n) for n in range(40)] + ["0.5", "7"] + [str(n) for n in range(40)] + ["-1e-3"]
    stream, batches = read(kind, write(tmp_path, kind, [(n, f"r{at}") for at, n in enumerate(texts)]), sample_rows=3)
    assert stream.schema.field("n").type == pa.int64()
    assert rows_of(batches) == [(float(n), f"r{at}") for at, n in enumerate(texts)]
    kinds = [batch.rows.schema.field("n").type for batch in batches]
    assert kinds[-1] == pa.float64()
    assert not any(batch.rejects for batch in batches)
    if kind != "excel":  # whose only batch has them
        assert kinds[0] == pa.int64()
        assert all(after == pa.float64() for before, after in pairwise(kinds) if before == pa.float64())


@pytest.mark.parametrize("kind", ["csv", "excel", "jsonl", "json"])
def test_what_may_not_widen_is_refused(tmp_path, kind):
    file = write(tmp_path, kind, [("1", "a"), ("0.5", "b"), ("2", "c")])
    for settings in ({"widens": ()}, {"types": {"n": "integer"}}):
        _, batches = read(kind, file, sample_rows=1, **settings)
        assert rows_of(batches) == [(1, "a"), (2, "c")]
        (reject,) = [reject for batch in batches for reject in batch.rejects]
        assert b"0.5" in reject.raw


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_no_integer_is_rounded_for_a_neighbour_s_fraction(tmp_path, kind):
    """2^53 + 1 has no double. In its block the fraction gives way; once numbers are fractions, it does."""
    large = str(2**53 + 1) if kind != "csv" else str(10**15 + 1)
    _, batches = read(kind, write(tmp_path, kind, [("1", "a"), (large, "b"), ("0.5", "c"), ("2", "d")]), sample_rows=1)
    assert (int(large), "b") in rows_of(batches)
    _, batches = read(kind, write(tmp_path, kind, [("1", "a"), ("0.5", "b" * 60), (large, "c")]), sample_rows=1)
    assert rows_of(batches) == [(1.0, "a"), (0.5, "b" * 60)]
    (reject,) = [reject for batch in batches for reject in batch.rejects]
    assert large.encode() in reject.raw
    assert "digits" in reject.reason


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_text_never_widens_a_column_and_is_told_what_to_do(tmp_path, kind):
    rows = [("1", "a"), ("bad" if kind == "csv" else '"bad"', "b"), ("1.5", "c")]
    _, batches = read(kind, write(tmp_path, kind, rows), sample_rows=1)
    assert rows_of(batches) == [(1, "a"), (1.5, "c")]
    (reject,) = [reject for batch in batches for reject in batch.rejects]
    assert reject.reason.endswith("see `types`")


def test_times_among_dates_widen(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("d,x\n2024-02-29,1\n1899-12-31,2\n2024-03-01 10:30:00,3\n2024-03-02,4\n2024-03-03T00:00:00Z,5\n")
    _, batches = read("csv", file, widens=("d",), sample_rows=1)
    moments = [datetime(2024, 2, 29), datetime(1899, 12, 31), datetime(2024, 3, 1, 10, 30), datetime(2024, 3, 2)]  # noqa: DTZ001 - of no zone
    assert [datetime.fromisoformat(str(d)) for d, _ in rows_of(batches)] == moments
    assert [reject.raw[-2:] for batch in batches for reject in batch.rejects] == [b",5"]


def test_a_workbook_s_times_among_days(tmp_path):
    file = tmp_path / "rows.xlsx"
    moments = [datetime(2024, 2, 29), datetime(2024, 3, 1, 10, 30), datetime(2024, 3, 2)]  # noqa: DTZ001 - of no zone
    with xlsxwriter.Workbook(file, {"default_date_format": "yyyy-mm-dd hh:mm"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["d"])
        sheet.write_column(1, 0, moments)
    stream, batches = read("excel", file, widens=("d",), sample_rows=1)
    assert stream.schema.field("d").type == pa.date32()
    assert rows_of(batches) == [(moment,) for moment in moments]


def test_files_are_sampled_once_for_offer_and_plan_and_again_when_they_have_changed(tmp_path, monkeypatch):
    file = write(tmp_path, "csv", [(1, 1)])
    sampled = []
    whole = Csv.inferred
    monkeypatch.setattr(Csv, "inferred", lambda self, files: sampled.append(files) or whole(self, files))
    source = Csv(Csv.config_model(path=str(file)), tenant="acme")
    (stream,) = source.streams()
    source.plan(stream, Window(), {})
    assert len(sampled) == 1
    write(tmp_path, "csv", [(1, 1), ("a text", 2)])
    (stream,) = source.streams()
    assert len(sampled) == 2
    assert [pa.types.is_integer(column.type) for column in stream.columns] == [False, True]
    assert source.check().ok
    assert len(sampled) == 3  # how they are now is what it is asked for


def test_of_flattened_objects_those_columns_widen_that_bring_fractions(tmp_path):
    numbers = [*[(1, 1, 1)] * 5, (2, 2.5, 2), *[(3, 3, 3)] * 5, (4, 4, 0.5)]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"u": {"n": n, "m": {"x": x}, "k": k}, "u.n": n} for n, x, k in numbers]))
    _, batches = read("json", file, widens=("u_m_x", "u_n"), nested="flatten", sample_rows=1)
    assert rows_of(batches) == [(n, float(x), k, n) for n, x, k in numbers if k != 0.5]
    assert [reject.reason for batch in batches for reject in batch.rejects] == [
        "column 'u.k': not a whole number: see `types`"
    ]
    kinds = [{name: batch.rows.schema.field(name).type for name in ("u_n", "u_m_x", "u_k")} for batch in batches]
    assert kinds[0] == {"u_n": pa.int64(), "u_m_x": pa.int64(), "u_k": pa.int64()}
