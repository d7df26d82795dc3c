import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importers.core.model import Stream, Window
from importers.exceptions import ContractError
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
    batches = [batch for part in plan.partitions for batch in of.read(stream, part)]
    assert all(batch.rows.schema == stream.schema for batch in batches)
    return pa.Table.from_batches([b.rows for b in batches], stream.schema), plan


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


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 10, 30])
def test_row_groups_are_shared_out_once(tmp_path, partitions):
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=100)
    got, plan = everything(source(tmp_path / "rows.parquet", Small, max_partitions=partitions))
    assert len(plan.partitions) == min(partitions, 10)
    groups = [len(range(s["start"], s["end"])) for part in plan.partitions for s in part["slices"]]
    assert sum(groups) == 10
    assert max(groups) <= -(-10 // min(partitions, 10)) + 1
    got = got.sort_by("id")
    assert got["id"].to_pylist() == list(range(1000))
    assert got["name"].to_pylist() == TABLE["name"].to_pylist()
    assert got["deep"].to_pylist() == TABLE["deep"].to_pylist()
    assert got.schema.types[:2] == [pa.int64(), pa.string()]


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
    with pytest.raises(ContractError, match=r"5\.parquet.*wider types.*n double"):
        everything(source(tmp_path / "*.parquet"))
    assert everything(source(tmp_path / "*.parquet", types={"n": "number"}))[0].num_rows == 3
    write("5.parquet", pa.int64(), "email")
    with pytest.raises(ContractError, match=r"5\.parquet.*other columns.*fewer: n;"):
        everything(source(tmp_path / "*.parquet"))
    write("9.parquet", pa.string())
    with pytest.raises(ContractError, match=r"9\.parquet.*don't go with"):
        source(tmp_path / "*.parquet").streams()


def test_a_value_that_does_not_fit_the_tenants_type(tmp_path):
    pq.write_table(pa.table({"n": ["1", "secret"]}), tmp_path / "rows.parquet")
    with pytest.raises(ContractError, match="doesn't fit") as caught:
        everything(source(tmp_path / "rows.parquet", types={"n": "integer"}))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


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
