import base64
import struct
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importers.core.coded import decoded
from importers.core.model import Column, Stream, Window
from importers.exceptions import ContractError
from importers.sources.files import _parquet_texts, parquet
from importers.sources.files.parquet import Parquet, ParquetConfig


class Small(Parquet):
    whole_below = 1


def source(path, kind=Parquet, **config):
    return kind(ParquetConfig(path=str(path), **config), tenant="acme")


def everything(of, only=None):
    stream = of.streams()[0]
    columns = tuple(c for c in stream.columns if only is None or c.name in only)
    stream = Stream(stream.name, columns, stream.reads)
    plan = of.plan(stream, Window(), {})
    batches = [decoded(batch.rows) for part in plan.partitions for batch in of.read(stream, part)]
    assert all(rows.schema == stream.schema for rows in batches)
    return pa.Table.from_batches(batches, stream.schema), plan


TABLE = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "name": pa.array([f"n{i}" for i in range(1000)]).dictionary_encode(),
        "deep": pa.array([{"x": [i], "y": None} for i in range(1000)]),
    }
)


def test_a_file_is_cut_into_as_many_parts_as_text_of_four_times_its_size(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=100)
    size = (tmp_path / "rows.parquet").stat().st_size
    for of_text, parts in ((4 * size, 1), (2 * size, 2), (size, 4)):
        kind = type("Cut", (Parquet,), {"whole_below": of_text, "__doc__": "As if few were many."})
        assert len(everything(source(tmp_path / "rows.parquet", kind))[1].partitions) == parts


@pytest.mark.parametrize(("partitions", "parts"), [(1, 1), (2, 2), (3, 3), (7, 5), (10, 10), (30, 10)])
def test_row_groups_are_shared_out_once(tmp_path, partitions, parts):
    """In 7 parts some would be of two, too: so five of two take no longer."""
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=100)
    got, plan = everything(source(tmp_path / "rows.parquet", Small, max_partitions=partitions))
    assert len(plan.partitions) == parts
    groups = [sum(len(range(s["start"], s["end"])) for s in part["slices"]) for part in plan.partitions]
    assert sum(groups) == 10
    assert max(groups) == -(-10 // parts)
    got = got.sort_by("id")
    assert got["id"].to_pylist() == list(range(1000))
    assert got["name"].to_pylist() == TABLE["name"].to_pylist()
    assert got["deep"].to_pylist() == TABLE["deep"].to_pylist()
    assert got.schema.types[:2] == [pa.int64(), pa.string()]


def test_small_row_groups_that_follow_each_other_make_one_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS", 250)
    pq.write_table(TABLE.select(["id"]), tmp_path / "rows.parquet", row_group_size=100)
    of = source(tmp_path / "rows.parquet", where={"id": {"ge": 400}})
    stream = of.streams()[0]
    (part,) = of.plan(stream, Window(), {}).partitions
    assert [batch.rows["id"].to_pylist() for batch in of.read(stream, part)] == [
        list(range(at, at + 200)) for at in (400, 600, 800)
    ]


FEW = ["Ål", "", None, "rock"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("types", [{}, {"few": "string"}])
def test_texts_of_a_small_dictionary_are_made_of_it(tmp_path, monkeypatch, kind, types):
    """Of two row groups: in the second `late` has more texts than come from a small dictionary."""
    monkeypatch.setattr(parquet, "ROWS", 300)
    rows = pa.table(
        {
            "few": pa.array([FEW[n % 4] for n in range(1000)], kind),
            "late": pa.array(["same" if n < 500 else f"text {n}" for n in range(1000)], kind),
            "a.b": pa.array(["dotted"] * 1000, kind),
            "deep": pa.array([{"few": FEW[n % 4]} for n in range(1000)]),
            "none": pa.nulls(1000, kind),
        }
    )
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=500)
    asked = []
    opened = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda *a, **k: asked.append(k.get("read_dictionary")) or opened(*a, **k))
    got, _ = everything(source(tmp_path / "rows.parquet", types=types))
    assert [sorted(names) for names in asked if names] == [["few", "none"]]
    assert got.to_pydict() == rows.to_pydict()


def few_texts(tmp_path, said=None, **config):
    """Of a file of one row group the columns that come as a dictionary's numbers, and their types."""
    kinds = {}
    of = source(tmp_path / "rows.parquet", **config)
    stream = replace(of.streams()[0], **(said or {}))
    for part in of.plan(stream, Window(), {}).partitions:
        for batch in of.read(stream, part):
            kinds |= {f.name: f.type for f in batch.rows.schema if pa.types.is_dictionary(f.type)}
    return kinds


def test_few_texts_stay_numbers_of_the_type_that_was_announced(tmp_path, monkeypatch):
    """But where the dictionary takes more than it saves, or every step looks at each value: for whose row it is."""
    monkeypatch.setattr(parquet, "ROWS", 500)
    rows = pa.table({name: [FEW[n % 4] for n in range(1000)] for name in ("few", "key", "cursor", "subject", "id")})
    rows = rows.append_column("long", pa.array([str(n % 2) * 1300 for n in range(1000)]))
    rows = rows.append_column("large", rows["few"].cast(pa.large_string()))
    pq.write_table(rows, tmp_path / "rows.parquet", write_statistics=False)  # which would count twice
    said = {"primary_key": ("key", "id"), "cursor": "cursor", "subject": "subject"}
    numbered = dict.fromkeys(("few", "large"), pa.dictionary(pa.int32(), pa.string()))
    assert few_texts(tmp_path, said) == numbered
    assert few_texts(tmp_path, said, where={"few": {"eq": "rock"}}) == {}


@pytest.mark.parametrize("coding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_short_texts_of_deltas_are_no_dictionary(tmp_path, coding):
    """They take less than four bytes each, too, and the library can't make a dictionary of them."""
    rows = pa.table({"few": [None if n % 10 else "ab" for n in range(70_000)], "none": pa.nulls(70_000, pa.string())})
    path = tmp_path / "rows.parquet"
    pq.write_table(rows, path, use_dictionary=False, column_encoding={"few": coding, "none": coding})
    assert everything(source(path))[0].equals(rows)


def test_texts_behind_a_type_of_several_leaves_are_their_own(tmp_path):
    """Arrow calls an extension of a struct one column, of which the file has two."""
    pair = pa.array([{"shown": f"s{n}", "kept": f"k{n}"} for n in range(1000)])
    rows = pa.table(
        {
            "pair": pa.ExtensionArray.from_storage(pa.opaque(pair.type, "pair", "somebody"), pair),
            "few": pa.array([FEW[n % 4] for n in range(1000)]),
            "each": pa.array([f"text {n}" for n in range(1000)]),
        }
    )
    pq.write_table(rows, tmp_path / "rows.parquet")
    got, _ = everything(source(tmp_path / "rows.parquet"), only=["few", "each"])
    assert got.to_pydict() == rows.select(["few", "each"]).to_pydict()


@pytest.mark.parametrize("pages", ["1.0", "2.0"])
def test_a_byte_that_is_damaged_is_read_as_by_the_library_or_not_at_all(tmp_path, monkeypatch, pages):
    """Where pages begin their lengths are, and how texts are numbered: who believes them asks for any memory, and the
    process ends. What Arrow refuses may be read, too, if it is what was written.
    """
    monkeypatch.setattr(_parquet_texts, "LEAST", 1)
    path = tmp_path / "rows.parquet"
    rows = pa.table({"few": [FEW[n % 4] for n in range(4000)], "each": [f"text {n}" for n in range(4000)]})
    pq.write_table(rows, path, compression="none", data_page_version=pages, data_page_size=8192)
    whole, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    chunks = [group.column(n) for n in (0, 1)]
    starts = {at for chunk in chunks for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at}
    refused = 0
    for place in sorted({start + n for start in starts for n in range(60)}):
        for byte in (6, 255):
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                wanted = pq.ParquetFile(path).read()
            except (pa.ArrowException, OSError):
                wanted = None
            try:
                got, _ = everything(source(path))
            except ContractError:
                refused += 1
            else:
                assert got.equals(rows) or (wanted is not None and got.equals(wanted)), (place, byte)
    assert refused > 50


@pytest.mark.parametrize("column", ["number", "text"])
def test_pages_are_held_against_their_checksums(tmp_path, monkeypatch, column):
    monkeypatch.setattr(_parquet_texts, "LEAST", 1)
    path = tmp_path / "rows.parquet"
    rows = pa.table({"number": range(1000), "text": [f"text {n}" for n in range(1000)]})
    pq.write_table(rows, path, compression="none", write_page_checksum=True)
    assert everything(source(path))[0].equals(rows)
    chunk = pq.read_metadata(path).row_group(0).column(rows.column_names.index(column))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset - 1] ^= 1  # the end of the dictionary: of the last number, or of the last text
    path.write_bytes(data)
    assert not pq.read_table(path).equals(rows)
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(source(path))


@pytest.mark.parametrize("longest", [2, 2000])
def test_a_place_that_the_dictionary_lacks_names_the_file(tmp_path, monkeypatch, longest):
    """Of three texts each is a number of two bits, which can say 3. Of long ones the values are made at once."""
    monkeypatch.setattr(parquet, "ROWS", 300)
    path = tmp_path / "rows.parquet"
    rows = pa.table({"few": pa.array(["ab", "cd", "e" * longest, "cd", "cd"] * 200)})
    pq.write_table(rows, path, compression="none", row_group_size=1000, write_statistics=False)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    end = (chunk.dictionary_page_offset or 0) + chunk.total_compressed_size
    data = bytearray(path.read_bytes())
    data[end - 50 : end] = b"\xff" * 50
    path.write_bytes(data)
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(source(path))


def test_only_what_is_wanted_is_read(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    got, _ = everything(source(tmp_path / "rows.parquet"), only=["name"])
    assert got.column_names == ["name"]
    assert got.num_rows == 1000


def test_a_narrower_file_is_widened_and_a_wider_or_other_one_is_refused(tmp_path):
    def write(name, kind, column="n"):
        pq.write_table(pa.table({column: pa.array([1]).cast(kind)}), tmp_path / name)

    write("1.parquet", pa.int32())
    write("9.parquet", pa.int64())
    assert everything(source(tmp_path / "*.parquet"))[0].schema == pa.schema([("n", pa.int64())])
    write("5.parquet", pa.float64())
    with pytest.raises(ContractError, match=r"5\.parquet.*wider type .*n double"):
        everything(source(tmp_path / "*.parquet"))
    assert everything(source(tmp_path / "*.parquet", types={"n": "number"}))[0].num_rows == 3
    write("5.parquet", pa.int64(), "email")
    with pytest.raises(ContractError, match=r"5\.parquet.*other columns.*fewer: n;"):
        everything(source(tmp_path / "*.parquet"))
    write("9.parquet", pa.string())
    with pytest.raises(ContractError, match=r"9\.parquet.*doesn't go with"):
        source(tmp_path / "*.parquet").streams()


def test_a_value_that_does_not_fit_the_tenants_type(tmp_path):
    pq.write_table(pa.table({"n": ["1", "secret"]}), tmp_path / "rows.parquet")
    with pytest.raises(ContractError, match="doesn't fit") as caught:
        everything(source(tmp_path / "rows.parquet", types={"n": "integer"}))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


JULIAN_DAYS = {
    date(1, 1, 1): 1721426,
    date(1582, 10, 15): 2299161,
    date(2000, 1, 1): 2451545,
    date(9999, 12, 31): 5373484,
}
"""As tables of astronomers have them, for noon of the Gregorian day."""


@pytest.mark.parametrize("where", [{}, {"at": {"lt": "1600-01-01"}}])
def test_days_of_int96_are_what_they_say(tmp_path, where):
    """Eight bytes are nanoseconds since midnight, four a Julian day (parquet-format, LogicalTypes.md)."""
    at = pa.array(JULIAN_DAYS).cast(pa.timestamp("us"))
    deep = pa.ListArray.from_arrays(range(len(at) + 1), pa.StructArray.from_arrays([at], ["x"]))
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"at": at, "deep": deep}),
        path,
        use_deprecated_int96_timestamps=True,
        use_dictionary=False,
        compression="none",
    )
    assert path.read_bytes().count(b"".join(struct.pack("<qI", 0, day) for day in JULIAN_DAYS.values())) == 2
    expected = [day for day in JULIAN_DAYS if not where or day.year < 1600]
    got, _ = everything(source(path, where=where))
    assert got["at"].cast(pa.date32()).to_pylist() == expected
    assert [x["x"].date() for (x,) in got["deep"].to_pylist()] == expected


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_broken_footer_names_the_file(tmp_path, keep):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        source(path).streams()
    assert not source(path).check().ok


def test_a_broken_page_names_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[4:400] = b"\xff" * 396
    path.write_bytes(raw)
    with pytest.raises(ContractError, match="isn't a whole Parquet file"):
        everything(source(path))


def test_a_row_group_without_its_rows_names_the_file(tmp_path):
    """The page header's type, 0 for a data page in Thrift's compact protocol, becomes another's."""
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE.select(["id"]), path, use_dictionary=False, row_group_size=600)
    data, at = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(1).column(0).data_page_offset
    assert data[at : at + 2] == b"\x15\x00"
    data[at + 1] = 2  # zigzag of 1: a page of an index, which is passed over
    path.write_bytes(data)
    assert pq.ParquetFile(path).read_row_group(1).num_rows == 0
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(source(path, Small, max_partitions=2))


def test_a_footer_that_counts_fewer_rows_of_a_row_group_names_the_file(tmp_path):
    """Of the second row group the footer's 400, in Thrift's compact protocol, becomes 399: readers give 999 rows."""
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE.select(["id"]), path, row_group_size=600)
    before, said, after = path.read_bytes().rpartition(b"\x16\xa0\x06")
    path.write_bytes(before + b"\x16\x9e\x06" + after)
    assert said
    assert pq.read_metadata(path).num_rows == 1000
    assert pq.read_table(path).num_rows == 999
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(source(path))


def test_a_name_that_is_no_text_names_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"name": ["a"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"name", b"na\xffe"))
    with pytest.raises(ContractError, match=r"rows\.parquet' isn't a whole Parquet file"):
        everything(source(path))


def test_no_rows(tmp_path):
    pq.write_table(TABLE[:0], tmp_path / "rows.parquet")
    got, plan = everything(source(tmp_path / "rows.parquet"))
    assert got.num_rows == 0
    assert len(plan.position) == 1


def test_one_partition_opens_a_file_once(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=100)
    _, plan = everything(source(tmp_path / "rows.parquet"))
    assert [(s["start"], s["end"]) for s in plan.partitions[0]["slices"]] == [(0, 10)]


def test_what_nobody_wants_is_not_even_read(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, compression="zstd", use_dictionary=False)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    raw = bytearray(path.read_bytes())
    raw[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\xff" * chunk.total_compressed_size
    )
    path.write_bytes(raw)
    with pytest.raises(ContractError):
        everything(source(path))
    assert everything(source(path), only=["id"])[0].num_rows == 1000


def test_no_key_of_an_object_that_is_dropped_is_in_a_plan(tmp_path):
    table = pa.table({"m": [{"ann@x.org": 1}, {"ann@x.org": 2}], "id": [1, 2]})
    pq.write_table(table, tmp_path / "m.parquet")
    of = source(tmp_path / "m.parquet")
    (stream,) = of.streams()
    asked = replace(stream, columns=stream.columns[1:], unread=(Column("m", pa.null(), None),))
    (partition,) = of.plan(asked, Window(), {}).partitions
    assert b"x.org" not in base64.b64decode(partition["schema"])
    assert [row for batch in of.read(asked, partition) for row in batch.rows.to_pylist()] == [{"id": 1}, {"id": 2}]
