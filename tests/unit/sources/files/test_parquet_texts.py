"""What polars reads of a row group is what Arrow reads of it, and where polars reads nothing, Arrow does."""

from dataclasses import replace
from io import BytesIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.core.coded import decoded
from importers.core.model import Stream, Window
from importers.exceptions import ContractError
from importers.sources.files import _parquet_texts as texts
from importers.sources.files._thrift import written as written_struct
from importers.sources.files.parquet import Parquet, ParquetConfig

FEW = ["Ål", "", None, "rock"]
ROWS = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "deep": pa.array([{"x": [f"{n}"], "y": None} for n in range(1000)]),
        "few": pa.array([FEW[n % 4] for n in range(1000)]),
        "each": pa.array([f"text {n} that is longer than a view of twelve bytes" for n in range(1000)]),
        "large": pa.array([None if n % 7 == 0 else "x" * (n % 40) for n in range(1000)], pa.large_string()),
        "none": pa.nulls(1000, pa.string()),
    }
)
ROWS = ROWS.append_column(pa.field("always", pa.string(), nullable=False), pa.array(["a\0b", "c"] * 500))
TEXTS = ["few", "each", "large", "none", "always"]


@pytest.fixture(autouse=True, scope="module")
def small_row_groups_too():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "LEAST", 1)
        yield


def written(rows=ROWS, **how):
    out = BytesIO()
    pq.write_table(rows, out, **{"row_group_size": 400, **how})
    return out.getvalue()


def read(data, group=0, only=None):
    raw = pa.BufferReader(data)
    parquet = pq.ParquetFile(raw)
    leaves = {n: at for n, at in texts.text_columns(parquet).items() if only is None or n in only}
    return texts.read_texts(raw, parquet.metadata, group, leaves)


def plain(found):
    return {name: values.to_pylist() for name, values in found.items()}


@pytest.mark.parametrize(
    "how",
    [
        *[{"compression": codec} for codec in ("none", "snappy", "brotli", "zstd")],
        {"data_page_version": "2.0"},
        {"version": "1.0"},
        {"dictionary_pagesize_limit": 1000},  # after which the rest of a column is plain
        {"data_page_size": 100, "write_batch_size": 10},
        {"store_schema": False, "write_statistics": False},
        {"write_page_index": True, "write_page_checksum": True},
    ],
)
@pytest.mark.parametrize("group", [0, 2])
def test_texts_are_those_that_arrow_reads(how, group):
    data = written(**how)
    found = read(data, group)
    assert sorted(found) == sorted(TEXTS)
    assert {values.type for values in found.values()} == {pa.string_view()}
    assert plain(found) == pq.ParquetFile(BytesIO(data)).read_row_group(group, TEXTS).to_pydict()


def test_texts_of_a_file_of_polars_are_those_that_it_was_written_of():
    out = BytesIO()
    frame = pl.DataFrame(pl.from_arrow(ROWS.select(TEXTS)))
    frame.write_parquet(out)
    group = pq.read_metadata(out).row_group(0)
    coded = [name for leaf, name in enumerate(TEXTS) if group.column(leaf).has_dictionary_page]
    assert len(coded) > 2
    assert plain(read(out.getvalue())) == frame.select(coded).to_dict(as_series=False)


@pytest.mark.parametrize("columns", [1, 14, 15, 200])  # Thrift writes the length of a list of 15 otherwise
def test_any_number_of_columns(columns):
    rows = pa.table({f"c{n}": [f"{n}", None] for n in range(columns)})
    assert plain(read(written(rows))) == rows.to_pydict()


def test_arrow_takes_the_file_that_polars_gets_for_one(monkeypatch):
    given = []
    monkeypatch.setattr(pl, "read_parquet", lambda file, **_: given.append(file) or pl.DataFrame())
    assert read(written()) == {}
    (table,) = map(pq.read_table, map(BytesIO, given))
    assert table.rename_columns(TEXTS).to_pydict() == ROWS.select(TEXTS)[:400].to_pydict()
    assert [field.type for field in table.schema] == [pa.string()] * 5
    assert [field.nullable for field in table.schema] == [True] * 4 + [False]


def test_what_is_not_as_simple_is_left_to_arrow():
    assert read(written(use_dictionary=False)) == {}
    deltas = written(use_dictionary=TEXTS[1:], column_encoding={"few": "DELTA_BYTE_ARRAY"})
    assert list(read(deltas)) == TEXTS[1:]
    assert read(written(compression="gzip")) == {}  # whose checksum polars passes over
    assert list(read(written(compression={"large": "lz4"}))) == ["few", "each", "none", "always"]
    assert list(read(written(), only=["always"])) == ["always"]
    assert read(written(), only=[]) == {}


def test_a_small_row_group_is_left_to_arrow(monkeypatch):
    monkeypatch.setattr(texts, "LEAST", 401)
    assert read(written()) == {}
    monkeypatch.setattr(texts, "LEAST", 400)
    assert len(read(written())) == 5


def test_what_is_too_much_to_hold_is_left_to_arrow(monkeypatch):
    """A text takes 16 bytes beside its page; `each` is of 51 bytes and no dictionary of few."""
    monkeypatch.setattr(texts, "HELD", 400 * 16 * 5)
    assert list(read(written())) == ["few", "large", "none", "always"]
    monkeypatch.setattr(texts, "HELD", 400 * 16 - 1)
    assert read(written()) == {}


@pytest.mark.parametrize("damage", [b"\xff", b"\0"])
def test_what_polars_finds_wrong_is_left_to_arrow(damage):
    data = bytearray(written(compression="none"))
    chunk = pq.read_metadata(BytesIO(data)).row_group(0).column(3)
    end = chunk.data_page_offset + chunk.total_compressed_size
    data[chunk.data_page_offset : end] = damage * (end - chunk.data_page_offset)
    assert read(bytes(data), only=["few"]) == {}


MOST = 2**31 - 1
OF_ANY = [
    *[{name: False} for name in ("type", "uncompressed_page_size", "compressed_page_size", "num_values", "encoding")],
    {"uncompressed_page_size": MOST},
    {"uncompressed_page_size": -1},
    {"compressed_page_size": MOST},
    {"compressed_page_size": -1},
    {"type": 1},
    {"crc": 0},
    {"num_values": MOST},
    {"num_values": -1},
    {"num_values": None},
    {"encoding": 6},  # DELTA_LENGTH_BYTE_ARRAY
]
OF_DATA = [*OF_ANY, {"definition_level_encoding": 4}, {"repetition_level_encoding": True}]  # 4: BIT_PACKED
OF_V2 = [
    *OF_ANY,
    {"num_rows": MOST},
    {"num_nulls": MOST},
    {"num_nulls": -1},
    {"definition_levels_byte_length": MOST},
    {"definition_levels_byte_length": -1},
    {"repetition_levels_byte_length": 2},
    {"repetition_levels_byte_length": False},
    {"is_compressed": 1},
]
PAGES = [("1.0", 0, each) for each in OF_ANY]  # the dictionary, and then the pages of data
PAGES += [("1.0", page, each) for page in (1, 2) for each in OF_DATA]
PAGES += [("1.0", -1, {"compressed_page_size": MOST})]  # of the last one, after which there is nothing
PAGES += [("2.0", page, each) for page in (1, 2) for each in OF_V2]


# The numbers of fields: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
PAGE = {"type": 1, "uncompressed_page_size": 2, "compressed_page_size": 3, "crc": 4}
OF_PAGE = {
    0: (5, "num_values encoding definition_level_encoding repetition_level_encoding"),
    2: (7, "num_values encoding"),
    3: (
        8,
        "num_values num_nulls num_rows encoding definition_levels_byte_length repetition_levels_byte_length "
        "is_compressed",
    ),
}


def as_said(head):
    return {name: getattr(head, name) for name in PAGE} | head.of._asdict() | {"of": head.type}


def as_written(said):
    number, names = OF_PAGE[said["of"]]
    of = {at: said[name] for at, name in enumerate(names.split(), 1)}
    return written_struct({**{at: said[name] for name, at in PAGE.items()}, number: of})


@pytest.mark.parametrize(("pages", "page", "changed"), PAGES)
def test_numbers_of_a_page_that_cannot_be_are_not_believed(pages, page, changed):
    """Who believes them asks for so much memory, or reads beyond the page."""
    data = written(ROWS.select(["few"]), data_page_version=pages, data_page_size=10, write_batch_size=100)
    raw = pa.BufferReader(data)
    column = texts._Column(pq.ParquetFile(raw).metadata, 0, 0)
    assert column.take(raw)
    pages = list(texts._pages(memoryview(data)[column._start : column._start + column._packed]))
    head = pages[page][0]
    said = {**as_said(head), **changed}
    assert as_written(said) != as_written(as_said(head))
    heads = [as_written(said if number == page % len(pages) else as_said(of)) for number, (of, _) in enumerate(pages)]
    again = b"".join(head + bytes(body) for head, (_, body) in zip(heads, pages, strict=True))
    column = texts._Column(pq.ParquetFile(raw).metadata, 0, 0)
    column._start, column._packed = 0, len(again)
    assert not column.take(pa.BufferReader(again))


@pytest.mark.parametrize("of", [b"\x29\x13\x07", b"\x2a\x13\x07", b"\x2b\x01\x33\x07\x07"])  # list, set, map of a byte
def test_a_header_with_a_list_is_none(of):
    """No page's has one. A damaged one may say that it has 2^60 elements of no bytes, and all would be read."""
    data = written(ROWS.select(["few"]))
    column = texts._Column(pq.ParquetFile(BytesIO(data)).metadata, 0, 0)
    chunk = memoryview(data)[column._start : column._start + column._packed]
    (header, page), *_ = texts._pages(chunk)
    head = texts._head(header)
    assert len(list(texts._pages(memoryview(head + bytes(page))))) == 1
    with pytest.raises(ValueError, match=r"type (9|10|11)"):
        list(texts._pages(memoryview(head[:-1] + of + b"\0" + bytes(page))))


def test_a_column_that_would_end_behind_the_file_is_not_read():
    data = written(ROWS.select(["few"]))
    parquet = pq.ParquetFile(BytesIO(data))
    column = texts._Column(parquet.metadata, 0, 0)
    end = column._start + column._packed
    assert column.take(pa.BufferReader(data[:end]))
    assert not texts._Column(parquet.metadata, 0, 0).take(pa.BufferReader(data[: end - 1]))


def test_polars_gets_headers_that_were_written_anew(monkeypatch):
    """So that it can't understand a header otherwise than who looked at it: no statistics, no checksums."""
    given = []
    monkeypatch.setattr(pl, "read_parquet", lambda file, **_: given.append(file) or pl.DataFrame())
    data = written(ROWS.select(["each"]), data_page_version="1.0", write_page_checksum=True)
    read(data)
    (file,) = given
    chunk = pq.read_metadata(BytesIO(file)).row_group(0).column(0)
    headers = [head for head, _ in texts._pages(memoryview(file)[4 : 4 + chunk.total_compressed_size])]
    assert headers
    assert all(head.crc is None for head in headers)


def test_latin_1_is_no_text_to_polars():
    data = written(ROWS.select(["few"]), compression="none", write_statistics=False)
    assert plain(read(data)) == {"few": FEW * 100}
    assert read(data.replace("Ål".encode(), b"\xc5\xe9l")) == {}


class Small(Parquet):
    whole_below = 1


def everything(path, only=None, **config):
    of = Small(ParquetConfig(path=str(path), max_partitions=2, **config), tenant="acme")
    (stream,) = of.streams()
    columns = tuple(c for c in stream.columns if only is None or c.name in only)
    stream = Stream(stream.name, columns, stream.reads)
    rows = [decoded(b.rows) for part in of.plan(stream, Window(), {}).partitions for b in of.read(stream, part)]
    assert all(each.schema == stream.schema for each in rows)
    return pa.Table.from_batches(rows, stream.schema)


@pytest.mark.parametrize("only", [None, ["few", "large"], ["id", "none"], ["id"]])
@pytest.mark.parametrize("batch", [64, 1 << 16])
def test_the_source_gives_the_file_s_rows(tmp_path, monkeypatch, only, batch):
    monkeypatch.setattr("importers.sources.files.parquet.ROWS", batch)
    (tmp_path / "rows.parquet").write_bytes(written())
    got = everything(tmp_path / "rows.parquet", only, types={"large": "string"})
    assert got.to_pydict() == ROWS.select(only or ROWS.column_names).to_pydict()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("least", [1, 1 << 40])  # polars reads the texts, and Arrow
def test_a_batch_has_no_more_texts_than_may_be_held(tmp_path, monkeypatch, kind, least):
    """A dictionary says a text once that is in each row: of 2 GiB Arrow makes strings that end the process."""
    monkeypatch.setattr(texts, "LEAST", least)
    monkeypatch.setattr("importers.sources.files.parquet.TEXTS", 2000)
    long = [{50: "z" * 2001, 60: None}.get(n, "x" * 300 if 100 <= n < 200 else "y") for n in range(1500)]
    rows = pa.table({"id": range(1500), "long": pa.array(long, kind), "other": ["ab"] * 1500})
    pq.write_table(rows, tmp_path / "rows.parquet")
    of = Small(ParquetConfig(path=str(tmp_path / "rows.parquet")), tenant="acme")
    (stream,) = of.streams()
    came = [b for part in of.plan(stream, Window(), {}).partitions for b in of.read(stream, part)]
    batches = [replace(b, rows=decoded(b.rows)) for b in came]
    assert pa.Table.from_batches([b.rows for b in batches]).to_pydict() == rows.to_pydict()
    assert [b.places["number"].to_pylist() for b in batches] == [[1 + b.rows["id"][0].as_py()] for b in batches]
    sizes = [
        (b.rows.num_rows, sum(pc.sum(pc.binary_length(c)).as_py() or 0 for c in b.rows.columns[1:])) for b in batches
    ]
    assert [rows for rows, size in sizes if size > 2000] == [1]
    assert max(rows for rows, _ in sizes) > 200


def test_rows_that_compare(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(written())
    got = everything(tmp_path / "rows.parquet", ["always", "few"], where={"id": {"ge": 398}, "few": {"eq": "rock"}})
    assert got.to_pydict() == {"few": ["rock"] * 151, "always": ["c"] * 151}


def test_a_page_that_nobody_can_read_names_the_file(tmp_path):
    data = bytearray(written(compression="zstd"))
    chunk = pq.read_metadata(BytesIO(data)).row_group(0).column(4)
    data[chunk.dictionary_page_offset + 30 : chunk.dictionary_page_offset + 60] = b"\xff" * 30
    (tmp_path / "rows.parquet").write_bytes(data)
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(tmp_path / "rows.parquet")


def test_a_row_group_of_other_rows_than_its_columns_have_is_left_to_arrow():
    """Of the second row group the footer's 300 rows, in Thrift's compact protocol, become 299."""
    before, said, after = written(ROWS.select(["always"])[:700]).rpartition(b"\x16\xd8\x04")
    assert said
    data = before + b"\x16\xd6\x04" + after
    assert [pq.read_metadata(BytesIO(data)).row_group(n).num_rows for n in (0, 1)] == [400, 299]
    assert len(read(data)["always"]) == 400
    assert read(data, 1) == {}


@pytest.mark.parametrize("error", [pl.exceptions.PanicException, pl.exceptions.ComputeError])
def test_a_panic_of_polars_is_no_panic(tmp_path, monkeypatch, error):
    def panics(*_, **__):
        raise error("somewhere in Rust")

    monkeypatch.setattr(pl, "read_parquet", panics)
    (tmp_path / "rows.parquet").write_bytes(written())
    assert everything(tmp_path / "rows.parquet").to_pydict() == ROWS.to_pydict()


@given(
    rows=st.lists(st.tuples(*[st.none() | st.text(max_size=40)] * 2), min_size=1, max_size=40),
    how=st.fixed_dictionaries(
        {
            "compression": st.sampled_from(["none", "snappy", "zstd"]),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "data_page_size": st.integers(1, 200),
            "dictionary_pagesize_limit": st.integers(1, 200),
            "write_batch_size": st.integers(1, 50),
        }
    ),
)
def test_any_texts_are_those_that_were_written(rows, how):
    of = pa.table({"a": pa.array([one for one, _ in rows], pa.string()), "b": [other for _, other in rows]})
    of = of.cast(pa.schema([("a", pa.string()), ("b", pa.large_string())]))
    assert plain(read(written(of, **how))) == of.to_pydict()


def test_other_rows_than_the_footer_tells_of_are_left_to_arrow(monkeypatch):
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pl.DataFrame({"0": ["a"]}))
    assert read(written(), only=["few"]) == {}
