"""Files are written by fastavro, and what they hold is what fastavro says of them."""

import datetime as dt
import io
import json
import random
import uuid
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from tests.support import reading

from importers.exceptions import ConfigError, ContractError
from importers.sources.files.avro import Avro, AvroConfig


class Small(Avro):
    whole_below = 1


def source(path, kind=Avro, **config):
    return kind(AvroConfig(path=str(path), **config), tenant="acme")


def everything(of, only=None):
    rows, rejects, plan = reading.everything(of, only)
    assert not rejects
    return rows, plan


def record(**fields):
    return {"type": "record", "name": "Row", "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def write(path, schema, rows, codec="null", **options):
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(schema), rows, codec=codec, **options)
    return path


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


def fixed(name, size, **more):
    return {"type": "fixed", "name": name, "size": size, **more}


UTC = dt.UTC
MOMENT = dt.datetime.fromisoformat("2024-02-29T12:34:56.789")
EVERY = record(
    n=["null", "int"],
    i="int",
    l="long",
    f="float",
    d="double",
    b="boolean",
    by="bytes",
    s="string",
    e={"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS"]},
    e2=["Suit", "null"],
    fx=fixed("Four", 4),
    a={
        "type": "array",
        "items": ["null", {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "long"}]}],
    },
    m={"type": "map", "values": ["null", "long"]},
    mm=["null", {"type": "map", "values": {"type": "array", "items": "string"}}],
    r=["null", {"type": "record", "name": "Outer", "fields": [{"name": "in", "type": "Inner"}]}],
    dec=logical("bytes", "decimal", precision=20, scale=4),
    decf=["null", fixed("D", 5, logicalType="decimal", precision=10, scale=2)],
    wide=logical("bytes", "decimal", precision=50, scale=0),
    day=logical("int", "date"),
    tm=logical("int", "time-millis"),
    tu=["null", logical("long", "time-micros")],
    at=logical("long", "timestamp-millis"),
    atu=logical("long", "timestamp-micros"),
    lat=logical("long", "local-timestamp-millis"),
    latu=["null", logical("long", "local-timestamp-micros")],
    id=logical("string", "uuid"),
    odd=logical("string", "no-such-type"),
)
ONE = {
    "n": None,
    "i": -(2**31),
    "l": 2**63 - 1,
    "f": 0.5,
    "d": 1e300,
    "b": True,
    "by": b"\x00\xff",
    "s": "ünï\0",
    "e": "HEARTS",
    "e2": None,
    "fx": b"abcd",
    "a": [None, {"x": 1}, {"x": -1}],
    "m": {"k": 1, "j": None},
    "mm": None,
    "r": {"in": {"x": 7}},
    "dec": Decimal("-1234567890123456.7890"),
    "decf": None,
    "wide": Decimal(10**49 + 7),
    "day": dt.date(1582, 10, 4),
    "tm": dt.time(23, 59, 59, 999000),
    "tu": None,
    "at": MOMENT.replace(tzinfo=UTC),
    "atu": MOMENT.replace(tzinfo=UTC, microsecond=123456),
    "lat": MOMENT,
    "latu": None,
    "id": uuid.UUID(int=2**127 + 5),
    "odd": "x",
}
TWO = ONE | {
    "n": 3,
    "l": -(2**63),
    "d": float("-inf"),
    "b": False,
    "by": b"",
    "s": "",
    "e": "SPADES",
    "e2": "SPADES",
    "a": [],
    "m": {},
    "mm": {"p": ["q", ""], "z": []},
    "r": None,
    "dec": Decimal("0.0001"),
    "decf": Decimal("-0.01"),
    "wide": Decimal(-(10**49)),
    "tu": dt.time(0, 0, 0, 1),
    "at": dt.datetime(1900, 1, 1, tzinfo=UTC),
    "latu": MOMENT.replace(microsecond=1),
}
TYPES = {
    "n": pa.int32(),
    "e": pa.string(),
    "fx": pa.binary(4),
    "m": pa.map_(pa.string(), pa.int64()),
    "dec": pa.decimal128(20, 4),
    "decf": pa.decimal128(10, 2),
    "wide": pa.decimal256(50, 0),
    "day": pa.date32(),
    "tm": pa.time32("ms"),
    "tu": pa.time64("us"),
    "at": pa.timestamp("ms", "UTC"),
    "atu": pa.timestamp("us", "UTC"),
    "lat": pa.timestamp("ms"),
    "latu": pa.timestamp("us"),
    "id": pa.string(),
}


def plain(row):
    """A row as fastavro gives it, as Arrow gives it: maps are pairs, a UUID is text."""
    pairs = {k: None if v is None else list(v.items()) for k, v in row.items() if k in ("m", "mm")}
    return row | pairs | {k: str(v) for k, v in row.items() if isinstance(v, uuid.UUID)}


def test_every_type_and_logical_type(tmp_path):
    path = write(tmp_path / "rows.avro", EVERY, [ONE, TWO, ONE])
    with path.open("rb") as file:
        said = [plain(row) for row in fastavro.reader(file)]
    got, _ = everything(source(path))
    assert got.to_pylist() == said
    assert {name: got.schema.field(name).type for name in TYPES} == TYPES


def test_a_fixed_uuid_a_duration_and_nanoseconds(tmp_path):
    schema = record(
        u=fixed("U", 16, logicalType="uuid"),
        v=["null", fixed("V", 16, logicalType="uuid")],
        d=["null", fixed("Dur", 12, logicalType="duration")],
        ns=logical("long", "timestamp-nanos"),
        lns=logical("long", "local-timestamp-nanos"),
    )
    some = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    raw = b"\x01\0\0\0\x02\0\0\0\xff\xff\xff\xff"  # little-endian, by the specification
    rows = [
        {"u": some.bytes, "v": None, "d": raw, "ns": 1_700_000_000_123_456_789, "lns": 1},
        {"u": bytes(16), "v": some.bytes, "d": None, "ns": -1, "lns": 2},
    ]
    # fastavro would take the annotated bytes for something else
    bare = json.loads(json.dumps(schema).replace("logicalType", "ignored"))
    path = write(tmp_path / "rows.avro", bare, rows)
    path.write_bytes(annotated(path, schema))
    got, _ = everything(source(path))
    assert got["u"].to_pylist() == [str(some), str(uuid.UUID(int=0))]
    assert got["v"].to_pylist() == [None, str(some)]
    assert got["d"].to_pylist() == [{"months": 1, "days": 2, "milliseconds": 2**32 - 1}, None]
    assert got["ns"].cast(pa.int64()).to_pylist() == [1_700_000_000_123_456_789, -1]
    assert [got.schema.field(n).type for n in ("ns", "lns")] == [pa.timestamp("ns", "UTC"), pa.timestamp("ns")]


def annotated(path, schema=None, codec=None, pack=None):
    """The file with another schema or codec in its header, and its one block packed anew; by fastavro's own parts."""
    with path.open("rb") as file:
        blocks = list(reader := fastavro.block_reader(file))
    out = io.BytesIO()
    number = {"type": "long"}
    meta = {
        "avro.schema": json.dumps(schema or reader.writer_schema).encode(),
        "avro.codec": (codec or "null").encode(),
    }
    out.write(b"Obj\x01")
    fastavro.schemaless_writer(out, {"type": "map", "values": "bytes"}, meta)
    out.write(bytes(16))
    for block in blocks:
        data = block.bytes_.getvalue()
        data = pack(data) if pack else data
        fastavro.schemaless_writer(out, number, block.num_records)
        fastavro.schemaless_writer(out, number, len(data))
        out.write(data + bytes(16))
    return out.getvalue()


def test_unions_of_several_types_keep_each_in_a_column_of_its_own(tmp_path):
    schema = record(
        id="long",
        u=[
            "null",
            "string",
            "long",
            "int",
            {"type": "record", "name": "Deep", "fields": [{"name": "y", "type": "bytes"}]},
        ],
        e={"type": "array", "items": [{"type": "enum", "name": "E", "symbols": ["a"]}, "string"]},
        nothing="null",
    )
    rows = [
        {"id": 1, "u": "7", "e": [("E", "a"), "b"], "nothing": None},
        {"id": 2, "u": 2**40, "e": [], "nothing": None},
        {"id": 3, "u": None, "e": ["a"], "nothing": None},
        {"id": 4, "u": {"y": b"q"}, "e": [], "nothing": None},
    ]
    got, _ = everything(source(write(tmp_path / "rows.avro", schema, rows)))
    none = dict.fromkeys(("null", "string", "long", "int", "Deep"))
    del none["null"]
    assert got["u"].to_pylist() == [none | {"string": "7"}, none | {"long": 2**40}, None, none | {"Deep": {"y": b"q"}}]
    assert got["e"].to_pylist()[0] == [{"E": "a", "string": None}, {"E": None, "string": "b"}]
    assert got["e"].to_pylist()[2] in ([{"E": "a", "string": None}], [{"E": None, "string": "a"}])
    assert got["nothing"].to_pylist() == [None] * 4


def zstandard(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


PLAYS = record(id="long", who=["null", "string"], tags={"type": "map", "values": "string"})
ROWS = [{"id": n, "who": f"listener{n % 7}@example.org" if n % 3 else None, "tags": {"k": str(n)}} for n in range(3000)]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "bzip2", "xz", "zstandard"])
def test_every_codec_and_each_record_once(tmp_path, codec):
    path = tmp_path / "rows.avro"
    write(path, PLAYS, ROWS, "null" if codec == "zstandard" else codec, sync_interval=1000)
    if codec == "zstandard":
        path.write_bytes(annotated(path, codec="zstandard", pack=zstandard))
    got, plan = everything(source(path, Small, max_partitions=4))
    assert len(plan.partitions) == 4
    assert got.sort_by("id").to_pylist() == [row | {"tags": list(row["tags"].items())} for row in ROWS]


def test_only_what_is_wanted_is_read(tmp_path):
    got, _ = everything(source(write(tmp_path / "rows.avro", PLAYS, ROWS)), only=["who"])
    assert got.column_names == ["who"]
    assert got["who"].to_pylist() == [row["who"] for row in ROWS]


def test_no_rows(tmp_path):
    got, plan = everything(source(write(tmp_path / "rows.avro", PLAYS, [])))
    assert got.num_rows == 0
    assert len(plan.position) == 1


def test_blocks_of_an_array_may_say_their_bytes(tmp_path):
    """A negative count is followed by a size (specification, "Arrays"), as other writers than fastavro say it."""
    path = write(tmp_path / "rows.avro", record(a={"type": "array", "items": "long"}), [{"a": [1, 2]}])
    raw = path.read_bytes()
    assert raw.count(b"\x02\x08\x04\x02\x04\x00") == 1  # one record, of 4 bytes: two items, 1, 2, end
    path.write_bytes(raw.replace(b"\x02\x08\x04\x02\x04\x00", b"\x02\x0a\x03\x04\x02\x04\x00"))
    assert everything(source(path))[0]["a"].to_pylist() == [[1, 2]]


# -- another schema to read by

EVOLVED = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "number", "aliases": ["id"], "type": "double"},
        {"name": "who", "type": ["null", "bytes"]},
        {"name": "added", "type": "string", "default": "ü"},
        {"name": "gap", "type": ["null", "long"], "default": None},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
        {"name": "when", "type": logical("long", "timestamp-millis"), "default": 0},
        {"name": "suit", "type": {"type": "enum", "name": "S", "symbols": ["B", "OTHER"], "default": "OTHER"}},
        {"name": "deep", "type": {"type": "array", "items": {"type": "record", "name": "I", "fields": [
            {"name": "y", "type": "long", "default": 5}, {"name": "x", "type": ["null", "long"]}]}}},
        {"name": "m", "type": {"type": "map", "values": "double"}},
        {"name": "list", "type": {"type": "array", "items": "long"}, "default": [1, 2]},
    ],
}  # fmt: skip


def test_a_readers_schema_reads_as_fastavro_does(tmp_path):
    written = record(
        id="int",
        gone="string",
        who="string",
        suit={"type": "enum", "name": "S", "symbols": ["A", "B"]},
        deep={
            "type": "array",
            "items": {
                "type": "record",
                "name": "I",
                "fields": [{"name": "x", "type": "int"}, {"name": "z", "type": "int"}],
            },
        },
        m={"type": "map", "values": "float"},
    )
    rows = [
        {"id": 1, "gone": "g", "who": "ä", "suit": "A", "deep": [{"x": 3, "z": 4}], "m": {"k": 0.5}},
        {"id": 2, "gone": "g", "who": "", "suit": "B", "deep": [], "m": {}},
    ]
    path = write(tmp_path / "rows.avro", written, rows)
    with path.open("rb") as file:
        said = list(fastavro.reader(file, reader_schema=fastavro.parse_schema(EVOLVED)))
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)  # fastavro leaves these two defaults as JSON has them
    said = [row | {"m": list(row["m"].items()), "raw": b"\xff", "when": epoch} for row in said]
    got, _ = everything(source(path, reader_schema=EVOLVED))
    assert got.to_pylist() == said
    (tmp_path / "plays.avsc").write_text(json.dumps(EVOLVED))
    assert everything(source(path, reader_schema=str(tmp_path / "plays.avsc")))[0].equals(got)


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        (record(id="long", email="string"), "lacks the field 'email'"),
        (record(id="string"), "written with long where the schema has string"),
        (record(who="string"), "a null where the schema allows none"),
        (record(id=["long", "string"]), "only read by the same union"),
    ],
)
def test_a_readers_schema_that_cannot_read_the_file(tmp_path, reader, said):
    path = write(tmp_path / "rows.avro", PLAYS, ROWS)
    with pytest.raises(ContractError, match=said) as caught:
        everything(source(path, reader_schema=reader))
    assert "example.org" not in str(caught.value)


def decimal(scale, precision=12, **more):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale, **more}


NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=UTC)
FIXED = {"type": "fixed", "name": "F", "size": 5}
WIDE = {"type": "fixed", "name": "F", "size": 16}


@pytest.mark.parametrize(
    ("written", "reader", "value"),
    [
        (decimal(2), decimal(4), Decimal("-12.34")),
        (decimal(4), decimal(2), Decimal("12.3400")),
        (decimal(2), decimal(5, 50), Decimal("-99999999.99")),
        (decimal(5, 50), decimal(2), Decimal("-99999999.99")),
        (decimal(2), decimal(2, 4), Decimal("12.34")),
        (decimal(2, **FIXED, precision=10), decimal(3, **FIXED, precision=10), Decimal("-12.34")),
        (decimal(2, **WIDE), decimal(3, **WIDE), Decimal("-12.34")),
        (logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), NOON),
        (logical("long", "timestamp-micros"), logical("long", "timestamp-millis"), NOON),
        (logical("int", "time-millis"), logical("long", "time-micros"), dt.time(12, 0, 0, 5000)),
        (
            logical("long", "local-timestamp-millis"),
            logical("long", "local-timestamp-nanos"),
            NOON.replace(tzinfo=None),
        ),
    ],
)
def test_a_readers_schema_means_what_was_written_in_another_unit_or_scale(tmp_path, written, reader, value):
    nested = {"type": "array", "items": ["null", written]}
    rows = [{"a": value, "b": None, "c": [None, value]}, {"a": value, "b": value, "c": []}]
    written = record(a=written, b=["null", written if "name" not in written else "F"], c=nested)
    if "F" in (written["fields"][1]["type"]):
        written["fields"][2]["type"]["items"] = ["null", "F"]
    path = write(tmp_path / "rows.avro", written, rows)
    again = "F" if "name" in reader else reader
    reader = record(a=reader, b=["null", again], c={"type": "array", "items": ["null", again]})
    assert everything(source(path, reader_schema=reader))[0].to_pylist() == rows


@pytest.mark.parametrize(
    ("written", "reader", "value", "said"),
    [
        (decimal(2), decimal(1), Decimal("12.34"), r"isn't one of both.*decimal128\(12, 2\).*decimal128\(12, 1\)"),
        (decimal(2), decimal(3, 5), Decimal("123.45"), "isn't one of both"),
        (decimal(2), decimal(2, 3), Decimal("123.45"), "isn't one of both"),
        (
            logical("long", "timestamp-micros"),
            logical("long", "timestamp-millis"),
            NOON.replace(microsecond=1),
            "isn't one of both",
        ),
        (
            logical("int", "date"),
            logical("long", "timestamp-millis"),
            NOON.date(),
            r"int that is date32\[day\] where the schema has long that is timestamp\[ms, tz=UTC\]",
        ),
        (logical("long", "timestamp-millis"), logical("long", "local-timestamp-millis"), NOON, "that is timestamp"),
        (logical("long", "time-micros"), logical("long", "timestamp-micros"), dt.time(12), "that is time64"),
        ("bytes", "string", b"123\xff", "bytes that aren't UTF-8"),
        (["null", "bytes"], ["null", "string"], b"123\xff", "bytes that aren't UTF-8"),
    ],
)
def test_a_readers_schema_that_means_something_else(tmp_path, written, reader, value, said):
    path = write(tmp_path / "rows.avro", record(a=written), [{"a": value}])
    with pytest.raises(ContractError, match=said) as caught:
        everything(source(path, reader_schema=record(a=reader)))
    assert "123" not in str(caught.value).replace(str(path), "")


def test_a_readers_schema_alone_says_what_plain_values_mean(tmp_path):
    path = write(
        tmp_path / "rows.avro", record(a="int", b="bytes", c="bytes"), [{"a": 5, "b": b"\x04\xd2", "c": b"\xc3\xa4"}]
    )
    reader = record(a=logical("int", "date"), b=decimal(2), c="string")
    row = {"a": dt.date(1970, 1, 6), "b": Decimal("12.34"), "c": "ä"}
    assert everything(source(path, reader_schema=reader))[0].to_pylist() == [row]


def test_a_readers_schema_that_is_not_there(tmp_path):
    path = write(tmp_path / "rows.avro", PLAYS, ROWS)
    with pytest.raises(ConfigError, match=r"none\.avsc"):
        everything(source(path, reader_schema=str(tmp_path / "none.avsc")))


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
def test_a_field_that_is_always_null_is_of_any_type(tmp_path, order):
    """As the records say it, which fastavro wrote."""
    within, double = ({"type": "record", "name": "o", "fields": [{"name": "a", "type": a}]} for a in ("null", "double"))
    files = (
        (record(k="int", n="null", o=within), {"k": 1, "n": None, "o": {"a": None}}),
        (record(k="int", n="long", o=double), {"k": 2, "n": 7, "o": {"a": 0.5}}),
    )
    for number, each in enumerate(order):
        write(tmp_path / f"{number}.avro", files[each][0], [files[each][1]])
    got = everything(source(tmp_path / "*.avro"))[0]
    assert got.to_pylist() == [files[each][1] for each in order]
    assert got.schema == pa.schema({"k": pa.int32(), "n": pa.int64(), "o": pa.struct({"a": pa.float64()})})


def test_files_of_several_schemas_are_widened_or_refused(tmp_path):
    write(tmp_path / "1.avro", record(n="int"), [{"n": 1}])
    write(tmp_path / "9.avro", record(n=["null", "long"]), [{"n": 2**40}])
    assert everything(source(tmp_path / "*.avro"))[0].schema == pa.schema([("n", pa.int64())])
    write(tmp_path / "5.avro", record(n="double"), [{"n": 0.5}])
    with pytest.raises(ContractError, match=r"5\.avro.*wider type .*n double"):
        everything(source(tmp_path / "*.avro"))
    write(tmp_path / "5.avro", record(email="int"), [{"email": 1}])
    with pytest.raises(ContractError, match=r"5\.avro.*other columns.*fewer: n"):
        everything(source(tmp_path / "*.avro"))


def test_a_value_that_does_not_fit_the_tenants_type(tmp_path):
    path = write(tmp_path / "rows.avro", record(n="string"), [{"n": "1"}, {"n": "secret"}])
    with pytest.raises(ContractError, match="doesn't fit") as caught:
        everything(source(path, types={"n": "integer"}))
    assert "secret" not in str(caught.value)


# -- what isn't whole

NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (NODE, "recursive"),
        ({"type": "array", "items": "long"}, "describes no records"),
        ("{", "is not JSON"),
        (record(a={"type": "array", "items": {"type": "record", "name": "E", "fields": []}}), "take no bytes"),
        (record(a="Nowhere"), "a type that it doesn't describe"),
        (record(a=[["null", "int"], "long"]), "a union that can't be"),
        (record(a=fixed("F", -1)), "a fixed type of a size that can't be"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}] * 2}, "a field's name twice"),
    ],
)
def test_a_schema_that_no_columns_can_have(tmp_path, schema, said):
    path = write(tmp_path / "rows.avro", record(n="int"), [{"n": 1}])
    raw = annotated(path, schema)
    path.write_bytes(raw if schema != "{" else raw.replace(b'"{"', b"{{{"))
    with pytest.raises(ContractError, match=said):
        source(path).streams()


def test_a_schema_that_names_itself_into_tens_of_thousands_of_columns(tmp_path):
    """Each record holds the one before it eight times: 1,000 bytes that describe 8**5 columns."""
    schema = record(n="int")
    for level in range(5):
        names = ["Row" if level == 0 else f"R{level - 1}"] * 7
        schema = {**record(first=schema, **{f"f{n}": name for n, name in enumerate(names)}), "name": f"R{level}"}
    path = write(tmp_path / "rows.avro", record(n="int"), [{"n": 1}])
    path.write_bytes(annotated(path, schema))
    with pytest.raises(ContractError, match="more than 10,000 types"):
        source(path).streams()
    with pytest.raises(ContractError, match="more than 10,000 types"):
        source(write(path, record(n="int"), [{"n": 1}]), reader_schema=schema).streams()


def test_a_schema_of_thousands_of_columns_is_read(tmp_path):
    path = write(tmp_path / "rows.avro", record(**{f"c{n}": ["null", "long"] for n in range(3000)}), [])
    assert len(source(path).streams()[0].columns) == 3000


def test_an_unknown_codec(tmp_path):
    path = write(tmp_path / "rows.avro", PLAYS, ROWS)
    path.write_bytes(annotated(path, codec="lz4"))
    with pytest.raises(ContractError, match=r"a codec that Avro doesn't know.*deflate, snappy"):
        source(path).streams()


def test_a_file_that_was_cut_off_anywhere(tmp_path):
    path = write(tmp_path / "rows.avro", PLAYS, ROWS[:50], "deflate", sync_interval=200)
    whole = path.read_bytes()
    with path.open("rb") as file:
        ends, rows = {}, 0
        reader = fastavro.block_reader(file)
        for block in reader:
            rows += block.num_records
            ends[file.tell()] = rows
    assert ends[len(whole)] == 50
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        if size in ends:
            continue  # between two blocks nothing tells that there were more
        with pytest.raises(ContractError, match=r"rows\.avro' isn't a whole Avro file"):
            everything(source(path))


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz", "zstandard", "snappy"])
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, codec):
    path = write(
        tmp_path / "rows.avro", record(s="bytes"), [{"s": bytes(3 << 20)}], "null" if codec == "zstandard" else codec
    )
    if codec == "zstandard":
        path.write_bytes(annotated(path, codec=codec, pack=zstandard))
    assert everything(source(path))[0].num_rows == 1
    monkeypatch.setattr("importers.sources._avro.blocks.LARGEST", 1 << 20)
    with pytest.raises(ContractError, match="isn't a whole Avro file"):
        everything(source(path))


def test_a_changed_byte_under_a_checksum(tmp_path):
    path = write(tmp_path / "rows.avro", record(s="bytes"), [{"s": random.Random(1).randbytes(500)}], "snappy")
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ContractError, match="can't be unpacked by snappy"):
        everything(source(path))


@pytest.mark.parametrize("announced", [b"\x02", b"\x06", b"\x00"])
def test_a_block_that_announces_other_records_than_it_holds(tmp_path, announced):
    path = write(tmp_path / "rows.avro", record(n="long", s="string"), [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}])
    raw = path.read_bytes()
    block = b"\x04\x0c\x02\x02a\x04\x02b"  # two records of together 6 bytes
    assert raw.count(block) == 1
    path.write_bytes(raw.replace(block, announced + block[1:]))
    with pytest.raises(ContractError, match="isn't a whole Avro file"):
        everything(source(path))


@pytest.mark.parametrize("quick", [True, False])
def test_mutants_have_all_rows_or_an_error(tmp_path, quick):
    """A changed value is a value, as no checksum tells: but no row may vanish, and nothing may hang or crash."""
    schema = EVERY if quick else record(id="long", u=["string", "long", "null"])
    rows = [ONE, TWO] * 10 if quick else [{"id": n, "u": n if n % 2 else "x"} for n in range(60)]
    whole = write(tmp_path / "rows.avro", schema, rows, sync_interval=400).read_bytes()
    path, chance, refused = tmp_path / "mutant.avro", random.Random(4), 0
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw) // 3, len(raw))] = chance.randrange(256)
        path.write_bytes(raw)
        try:
            got, _ = everything(source(path))
        except ContractError:
            refused += 1
        else:
            assert got.num_rows == len(rows)
    assert 10 < refused < 150


def test_a_text_that_is_not_utf8(tmp_path):
    path = write(tmp_path / "rows.avro", record(s="string"), [{"s": "secret"}])
    path.write_bytes(path.read_bytes().replace(b"secret", b"secre\xff"))
    with pytest.raises(ContractError, match="isn't a whole Avro file"):
        everything(source(path))
