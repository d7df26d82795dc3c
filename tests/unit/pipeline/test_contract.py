import datetime as dt
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest

from importers.core.model import Column, PersonalData, Reads, Stream
from importers.core.parts import Place
from importers.core.settings import StreamSettings
from importers.core.tenant import Load, Privacy, Treatment
from importers.core.untold import FIELD
from importers.core.widening import decided, is_readable
from importers.exceptions import ContractError
from importers.pipeline.contract import agreed, dropped, fitted, opened, replayed, settled, unfit, whole
from importers.pipeline.replay import as_today

NOON = dt.datetime.fromisoformat("2024-01-01T12:00")


def stream(**columns: pa.DataType) -> Stream:
    return Stream("plays", tuple(Column(name, kind, None) for name, kind in columns.items()), Reads.POSITION)


KNOWN = stream(id=pa.int64(), ms=pa.int32(), who=pa.string())


def meet(offered: Stream, *, sparse: bool = False, gone: tuple[str, ...] = (), **load) -> Stream:
    return agreed(offered, KNOWN, Load(**load), sparse=sparse, dropped=gone)


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_a_column_that_has_gone_stops_in_every_mode_and_both_schemas_are_shown(mode):
    with pytest.raises(ContractError) as raised:
        meet(stream(id=pa.int64(), who=pa.string()), schema_change=mode)
    said = str(raised.value)
    assert "have gone that the last run had: ms" in said
    assert "delivered: id int64, who string; agreed: id int64, ms int32, who string" in said
    assert "load.optional" in said


def test_both_schemas_are_shown_without_keys_that_may_be_data():
    known = stream(id=pa.int64(), scores=pa.struct([("ada@example.org", pa.int64())]))
    with pytest.raises(ContractError, match="agreed: id int64, scores struct<…: int64>"):
        agreed(stream(id=pa.int64()), known, Load(), sparse=False, dropped=())


@pytest.mark.parametrize("mode", ["discard", "quarantine"])
def test_what_was_dropped_within_an_object_is_taken_as_it_comes(mode):
    """Its type isn't in the plan of a run that dropped it; a field that is new beside it stays out."""
    n, null = pa.int64(), pa.null()
    came = pa.struct([("a", pa.int32()), ("gone", pa.struct([("z", n)])), ("more", n)])
    for was, wanted in (
        ([("a", n), ("gone", null)], [("a", n), ("gone", pa.struct([("z", n)]))]),
        ([("a", n), FIELD], [("a", n), ("gone", pa.struct([("z", n)])), ("more", n)]),
        ([("a", n)], [("a", n)]),
        ([("a", n), ("lacks", null)], [("a", n), ("lacks", null)]),
    ):
        known, offered = stream(o=pa.struct(was), l=pa.list_(pa.struct(was))), stream(o=came, l=pa.list_(came))
        found = agreed(offered, known, Load(schema_change=mode), sparse=True, dropped=())
        assert found.schema.types == [pa.struct(wanted), pa.list_(pa.struct(wanted))]


def test_a_rename_is_suspected_where_one_new_column_has_the_type():
    both = r"who \(who may be listener now\).*has to name who as before, and what is new: listener, more"
    with pytest.raises(ContractError, match=both):
        meet(stream(id=pa.int64(), ms=pa.int32(), listener=pa.string(), more=pa.int8()))
    with pytest.raises(ContractError) as raised:
        meet(stream(id=pa.int64(), ms=pa.int32(), one=pa.string(), another=pa.string()))
    assert "may be another" not in str(raised.value)


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
@pytest.mark.parametrize(
    ("since", "parts", "also", "missed"),
    [
        ("m-2.csv", ["m-0.csv", "m-1.csv"], {}, False),
        ("m-2.csv", ["m-1.csv", "m-2.csv"], {}, True),
        ("m-2.csv", ["m-3.csv"], {}, True),
        ("m-2.csv", ["m-1.csv new"], {}, True),  # a name alone doesn't say that it is older
        ("m-2.csv", ["m-0.csv", "m-1.csv new"], {}, True),
        ("m-2.csv", ["m-1.csv"], {"millis": pa.int64()}, False),  # it may have another name, unless that is settled
        ("m-2.csv", ["m-3.csv"], {"millis": pa.int64()}, True),
        ("m-2.csv", ["m-1.csv"], {"subject": "ms"}, True),
        ("m-2.csv", ["m-1.csv"], {"primary_key": ("id", "ms")}, True),
        ("m-2.csv", ["m-1.csv"], {"cursor": "ms"}, True),
        ("m-2.csv", [], {}, True),  # of a source whose parts don't differ
        (None, ["m-1.csv"], {}, True),  # a replay brought it: which delivery had it nobody knows any more
        ("", ["m-1.csv"], {}, True),  # a run of an older version didn't say
        ("@2026-02-01T00:00:00+00:00 m", ["@2026-01-31T00:00:00+00:00 z"], {}, False),
        ("@2026-02-01T00:00:00+00:00 m", ["@2026-02-01T00:00:00+00:00 m"], {}, True),
        ("@2026-02-01T00:00:00+00:00 m", ["2026-01-31.csv"], {}, True),  # of another setting of `interval`
        ("m-2.csv", ["@2026-01-31T00:00:00+00:00 m-1.csv"], {}, True),
    ],
)
def test_a_run_may_lack_what_came_after_all_that_it_reads(mode, since, parts, also, missed):
    columns = tuple(replace(c, since=since if c.name == "ms" else "m-0.csv") for c in KNOWN.columns)
    known = replace(KNOWN, columns=columns)
    said, more = {k: v for k, v in also.items() if k != "millis"}, {k: v for k, v in also.items() if k == "millis"}
    offered = replace(stream(id=pa.int64(), who=pa.string(), **more), **said)
    load, parts = Load(schema_change=mode), [Place(name, sure=not name.endswith(" new")) for name in parts]
    if missed or more:
        with pytest.raises(ContractError, match="have gone that the last run had: ms"):
            agreed(offered, known, load, sparse=False, dropped=(), parts=lambda: parts)
    if missed:
        return
    found = agreed(offered, known, load, sparse=False, dropped=(), settled={"millis"}, parts=lambda: parts)
    assert (found.absent, {column.name: column.since for column in found.columns}["ms"]) == (("ms",), since)


def test_a_delivery_without_its_header_tells_no_name():
    with pytest.raises(ContractError) as raised:
        meet(stream(Ada=pa.string(), Lovelace=pa.string()))
    assert not {"Ada", "Lovelace"} & set(str(raised.value).replace(",", " ").split())
    assert "delivered: a name that isn't shown string" in str(raised.value)
    with pytest.raises(ContractError, match="what is new: more, a name that isn't shown"):
        meet(stream(id=pa.int64(), more=pa.string(), **{"ann@example.org": pa.string()}))


def test_a_plan_says_which_runs_it_was_held_to():
    known = replace(KNOWN, held_to=(3, 5))
    assert agreed(KNOWN, known, Load(), sparse=False, dropped=()).held_to == (3, 5)
    assert replayed(KNOWN, known, settings("evolve")).held_to == (3, 5)


def test_what_the_policy_drops_nobody_misses():
    assert meet(stream(id=pa.int64(), who=pa.string()), gone=("ms",)).absent == ()
    keep, drop = Treatment(treat="keep"), Treatment(treat="drop")
    assert dropped(Privacy(columns={"ms": drop, "*": keep}, reason="tests"), KNOWN) == {"ms"}
    assert dropped(Privacy(columns={"id": keep, "*": drop}), KNOWN) == {"ms", "who"}
    assert dropped(Privacy(columns={"id": keep}), KNOWN) == set()
    assert dropped(Privacy(columns={"id": keep}, unclassified="drop"), KNOWN) == {"ms", "who"}
    mail = Column("ms", pa.string(), PersonalData.CONTACT)
    nested = Column("who", pa.struct([("a", pa.int64()), ("b", pa.int64())]), None)
    policy = Privacy(columns={"who.a": drop, "who.b": drop})
    assert dropped(policy, replace(KNOWN, columns=(mail, nested))) == {"ms", "who"}


def test_what_the_tenant_s_file_names_is_settled():
    keep, drop = Treatment(treat="keep"), Treatment(treat="drop")
    nested = Column("o", pa.struct([("a", pa.int64()), ("b", pa.int64())]), None)
    mail = Column("mail", pa.string(), PersonalData.CONTACT)

    def names(columns, **said):
        load = Load(optional=said.pop("optional", []))
        settings = StreamSettings(privacy=Privacy(columns=columns, **said), load=load, expect=())
        return settled((*KNOWN.columns, nested, mail), settings)

    assert names({"id": keep, "*": drop}) == names({"id": keep}, unclassified="drop") == set()
    assert names({"id": keep, "ms": drop, "*": drop}) == {"ms"}
    assert names({"o.a": drop, "o.b": drop, "*": keep}, reason="tests") == names({"o": drop}) == {"o"}
    assert names({"o.a": drop}, unclassified="drop") == names({"o": drop, "o.a": keep}) == set()
    assert names({"id": keep}, optional=["who"]) == {"who"}


def test_an_optional_column_is_null_when_it_is_missing():
    found = meet(stream(id=pa.int64(), who=pa.string()), optional=["ms"])
    assert (found.schema.names, found.absent) == (["id", "who", "ms"], ("ms",))
    rows = whole(pa.record_batch({"id": [1, 2], "who": ["a", "b"]}), found)
    assert rows.to_pylist() == [{"id": 1, "who": "a", "ms": None}, {"id": 2, "who": "b", "ms": None}]
    assert rows.schema.field("ms").type == pa.int32()


def test_records_that_need_not_have_each_field():
    few = stream(id=pa.int64())
    assert meet(few, sparse=True).schema.names == ["id"]
    for mode in ("discard", "quarantine", "freeze"):
        held = meet(few, sparse=True, schema_change=mode)
        assert (held.schema, set(held.absent)) == (KNOWN.schema, {"ms", "who"})


def test_an_open_contract_takes_what_comes():
    more = stream(id=pa.string(), ms=pa.int64(), who=pa.string(), extra=pa.string())
    assert meet(more) == more
    assert meet(more, schema_change="freeze") == more  # the gate compares it with the table


@pytest.mark.parametrize("mode", ["discard", "quarantine"])
def test_a_closed_contract_keeps_columns_and_types(mode):
    found = meet(stream(extra=pa.string(), who=pa.string(), id=pa.string(), ms=pa.int64()), schema_change=mode)
    assert found.schema.field("id").type == pa.int64()
    assert set(found.schema.names) == set(KNOWN.schema.names)
    assert [column.name for column in found.beyond] == ["extra"]


@pytest.mark.parametrize(
    ("kind", "values", "kept"),
    [
        (pa.int64(), ["1", "-2", None, "007", "0", "x", "1.5", ""], [1, -2, None, None, 0, None, None, None]),
        (pa.int64(), [1.0, 1.5, None, 2.0**53], [1, None, None, 2**53]),
        (pa.int8(), [1, 127, 128, -129], [1, 127, None, None]),
        (pa.float64(), ["1.5", "-2", "x"], [1.5, -2.0, None]),
        (pa.float64(), [1, 2**53 + 1, -3], [1.0, None, -3.0]),
        (pa.float32(), [0.5, 16777217.0, 1e300, 0.1], [0.5, None, None, None]),
        (pa.date32(), ["2024-02-29", "2023-02-29"], [dt.date(2024, 2, 29), None]),
        (pa.string(), [1, 25, None], ["1", "25", None]),
        (pa.bool_(), ["true", None], [None, None]),
        (pa.int64(), [[1], None], [None, None]),
        (pa.struct([("a", pa.int64())]), [{"a": 1, "b": 2}, {"a": 2, "b": None}, None], [None, {"a": 2}, None]),
        (pa.list_(pa.struct([("a", pa.int64())])), [[{"a": 1, "b": 2}], [{"a": 1, "b": None}]], [None, [{"a": 1}]]),
        (pa.timestamp("us"), [1, None], [None, None]),
        (pa.timestamp("us", "UTC"), [NOON], [None]),
        (pa.timestamp("us", "UTC"), [NOON.date()], [None]),
        (pa.timestamp("us"), [NOON.date()], [NOON - dt.timedelta(hours=12)]),
        (pa.int64(), ["0x10", "16"], [None, 16]),
        (pa.decimal128(4, 1), [Decimal("1.50"), Decimal("1.55"), Decimal("123.40")], ["1.5", None, "123.4"]),
        (
            pa.timestamp("s"),
            [NOON, NOON + dt.timedelta(microseconds=5)],
            [NOON, None],
        ),
    ],
)
def test_a_value_stands_in_the_known_type_exactly_or_its_row_is_kept_out(kind, values, kept):
    known = pa.schema([("x", kind)])
    rows = pa.record_batch({"x": values})
    kept = [Decimal(value) if isinstance(value, str) and pa.types.is_decimal(kind) else value for value in kept]
    assert fitted(rows, known)["x"].to_pylist() == kept
    assert fitted(rows, known).schema.field("x").type == kind
    wrong = [value is not None and fit is None for value, fit in zip(values, kept, strict=True)]
    masks = list(unfit(rows, known, ["x"]).values())
    assert [mask.tolist() for mask in masks] == ([wrong] if any(wrong) else [])


@pytest.mark.parametrize(
    ("mode", "read"), [("evolve", pa.string()), ("freeze", pa.string()), ("discard", pa.large_string())]
)
def test_texts_that_were_large_once_are_texts(mode, read):
    """As a Parquet file's were, of some writers: the table's column is text either way."""
    offered, known = stream(id=pa.string()), stream(id=pa.large_string())
    settled = agreed(offered, known, Load(schema_change=mode), sparse=False, dropped=())
    assert [column.type for column in settled.columns] == [read]
    assert settled.absent == settled.beyond == ()


def test_numbers_of_a_dictionary_are_of_the_type_of_its_values():
    rows = pa.record_batch({"x": pa.array(["a", None, "a"]).dictionary_encode()})
    known = pa.schema([("x", pa.string())])
    assert fitted(rows, known) is rows
    assert unfit(rows, known, ["x"]) == {}
    assert fitted(rows, pa.schema([("x", pa.large_string())])).to_pydict() == rows.to_pydict()


def test_a_row_with_something_in_an_unknown_column_is_kept_out():
    rows = pa.record_batch(
        {"id": [1, 2, 3], "extra": [None, "x", None], "dropped": ["y", "y", "y"], "_version": [1, 1, 1]}
    )
    found = unfit(rows, pa.schema([("id", pa.int64())]), ["id", "dropped"])
    assert {why: mask.tolist() for why, mask in found.items()} == {
        "extra: a column that the schema contract doesn't know": [False, True, False]
    }
    assert fitted(rows, pa.schema([("id", pa.int64())])).schema.names == ["id", "_version"]


def test_an_open_contract_takes_wider_types_and_no_text_and_hides_no_column_from_the_policy():
    known = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.string())])
    came = pa.schema(
        [("a", pa.float64()), ("b", pa.string()), ("c", pa.string()), ("d", pa.string()), ("e", pa.int8())]
    )
    assert opened(known, came, {"e"}) == pa.schema(
        [("a", pa.float64()), ("b", pa.int64()), ("c", pa.string()), ("d", pa.string())]
    )


def test_a_replay_of_what_is_no_wider_leaves_the_table_as_it_is():
    """Text is what would hold both, and no table's number becomes text: the whole replay would be refused."""
    known = pa.schema([("a", pa.bool_()), ("b", pa.timestamp("us")), ("c", pa.date32()), ("d", pa.string())])
    came = pa.schema([("a", pa.int64()), ("b", pa.timestamp("us", "UTC")), ("c", pa.timestamp("us")), ("d", pa.int8())])
    assert opened(known, came, {}) == pa.schema([*known][:2] + [*came][2:])


OBJECT = pa.struct([("a", pa.int64()), ("b", pa.int64())])


@pytest.mark.parametrize(
    ("came", "values", "fit"),
    [
        (pa.struct([("a", pa.string())]), [{"a": "x"}, {"a": "7"}], [None, {"a": 7, "b": None}]),
        (pa.struct([("a", pa.string())]), [{"a": "8"}, {"a": "7"}], [{"a": 8, "b": None}, {"a": 7, "b": None}]),
        (
            pa.struct([("a", pa.struct([("c", pa.int64())])), ("b", pa.int64())]),
            [{"a": {"c": 1}, "b": 1}, {"a": None, "b": 2}],
            [None, {"a": None, "b": 2}],
        ),
        (pa.list_(pa.int64()), [[1], None], [None, None]),
    ],
)
def test_a_replay_takes_no_object_in_another_shape_and_those_that_are_of_the_known_one(came, values, fit):
    """The shape is a whole file's: all of it would be refused for one row."""
    known = stream(id=OBJECT)
    job = SimpleNamespace(stream=known, asked=known)
    rows = as_today(job, pa.record_batch([pa.array(values, came)], ["id"]))
    agreed = opened(known.schema, rows.schema, {})
    assert agreed == known.schema
    found = fitted(rows, agreed)["id"].to_pylist()
    assert found == fit
    kept = [number for number, value in enumerate(fit) if value is None and values[number] is not None]
    masks = unfit(rows, agreed, agreed.names)
    assert [number for mask in masks.values() for number in mask.nonzero()[0]] == kept
    one, other = (as_today(job, pa.record_batch([pa.array([v], came)], ["id"])).schema for v in values)
    assert one == other  # whatever its rows are: an attempt has no two shapes of a column


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.float64()), ("c", pa.string())]), pa.struct([("a", pa.int8())])])
def test_a_replay_takes_objects_of_wider_types_and_of_other_fields(kind):
    known, came = pa.schema([("o", OBJECT)]), pa.schema([("o", kind)])
    assert opened(known, came, {}) == came


@pytest.mark.parametrize(
    ("came", "values", "today"),
    [
        (pa.string(), ["007", "7"], pa.string()),
        (pa.string(), ["8", "7"], pa.int64()),
        (pa.float64(), [1.0, 2.0], pa.int64()),
        (pa.float64(), [1.0, 2.5], pa.float64()),
    ],
)
def test_a_replay_alters_no_value(came, values, today):
    """What isn't of today's type exactly keeps its own, for the contract to judge: 007 read as 7 is another person."""
    job = SimpleNamespace(stream=KNOWN, asked=stream(id=pa.int64()))
    (column,) = as_today(job, pa.record_batch([pa.array(values, came)], ["id"])).columns
    assert (column.type, column.to_pylist()) == (today, [int(v) if today == pa.int64() else v for v in values])


def settings(mode, **policy):
    return StreamSettings(load=Load(schema_change=mode), privacy=Privacy(columns=policy), expect=())


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
@pytest.mark.parametrize(
    ("then", "today", "taken"),
    [
        (PersonalData.NONE, PersonalData.CONTACT, PersonalData.CONTACT),
        (PersonalData.CONTACT, PersonalData.NONE, PersonalData.CONTACT),
        (PersonalData.IDENTIFIER, PersonalData.NONE, PersonalData.IDENTIFIER),
        (None, PersonalData.SPECIAL, PersonalData.SPECIAL),
        (PersonalData.NONE, None, None),  # today's policy has to name it
    ],
)
def test_a_replay_takes_the_stricter_class_of_then_and_today(mode, then, today, taken):
    known, offered = (Stream("s", (Column("x", pa.string(), each),), Reads.POSITION) for each in (then, today))
    (column,) = replayed(offered, known, settings(mode)).columns
    assert column.personal is taken


OF_TWO = pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))
OF_ONE = pa.list_(pa.struct([("a", pa.int64())]))


@pytest.mark.parametrize(
    ("mode", "policy", "kind", "beyond"),
    [
        ("evolve", {"o": "keep"}, OF_TWO, []),
        ("evolve", {"o[].a": "keep"}, OF_ONE, [OF_TWO]),
        ("freeze", {"o": "keep"}, OF_ONE, [OF_TWO]),
        ("quarantine", {"o": "keep"}, OF_ONE, []),
    ],
)
def test_fields_of_held_rows_come_in_where_the_contract_is_open_and_the_policy_covers_them(mode, policy, kind, beyond):
    said = {path: Treatment(treat=treat) for path, treat in policy.items()}
    found = replayed(stream(o=OF_ONE), stream(o=OF_ONE), settings(mode, **said), pa.schema([("o", OF_TWO)]))
    assert (found.columns[0].type, [column.type for column in found.beyond]) == (kind, beyond)


def test_no_delivery_is_known_to_have_had_what_a_replay_brings():
    """Else each file of before would have to have it, once everything is read again."""
    known = Stream("s", (Column("a", pa.int64(), None, since="m-1.csv"),), Reads.POSITION)
    offered = Stream("s", (*known.columns, Column("b", pa.int64(), None)), Reads.POSITION)
    policy = {name: Treatment(treat="keep") for name in "abc"}
    found = replayed(offered, known, settings("evolve", **policy), pa.schema([("c", pa.int64())]))
    assert {column.name: column.since for column in found.columns} == {"a": "m-1.csv", "b": None, "c": None}


NOTHING = pa.struct([("a", pa.null()), ("b", pa.int8()), ("more", pa.null())])
SOME = pa.struct([("a", pa.list_(pa.int64())), ("b", pa.int64())])


@pytest.mark.parametrize(
    ("came", "known", "evolved"),
    [
        (pa.null(), pa.decimal128(10, 2), pa.decimal128(10, 2)),
        (pa.null(), SOME, SOME),
        (pa.list_(pa.null()), pa.list_(SOME), pa.list_(SOME)),
        (pa.list_(pa.null()), pa.int64(), pa.list_(pa.string())),
        (NOTHING, SOME, pa.struct([("a", SOME[0].type), ("b", pa.int8()), ("more", pa.string())])),
    ],
)
def test_what_has_no_value_today_is_what_it_was(came, known, evolved):
    """A closed contract keeps all that it knows: the source is asked for it only where it declares nothing else."""
    offered = replace(stream(x=decided(came)).columns[0], readable_as=frozenset({came}))

    def met(mode):
        load, held = Load(schema_change=mode), stream(x=known)
        (column,) = agreed(replace(held, columns=(offered,)), held, load, sparse=False, dropped=()).columns
        return column.type, is_readable(column.readable_as, column.type)

    assert met("evolve") == (evolved, True)
    assert met("freeze")[0] == evolved or pa.types.is_struct(came)
    for mode in ("discard", "quarantine"):
        assert met(mode) == (known, evolved == known)


def test_what_has_had_no_value_yet_is_text():
    offered = Column("x", pa.string(), None, readable_as=frozenset({pa.null()}))
    met = agreed(replace(KNOWN, columns=(*KNOWN.columns, offered)), KNOWN, Load(), sparse=False, dropped=())
    assert met.columns[-1].type == pa.string()
