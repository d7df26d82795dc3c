import datetime as dt
import logging
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from importers.core.tenant import Expectation
from importers.exceptions import ConfigError, ContractError
from importers.quality import Rules
from importers.quality import checker as checker_module
from importers.quality import rules as rules_module
from importers.quality.binding import bind

KEY = bytes(range(32))
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("on", pa.date32()),
        ("tags", pa.list_(pa.string())),
        ("payload", pa.struct([("user", pa.struct([("email", pa.string())])), ("n", pa.int32())])),
    ]
)


def expect(type_: str, /, mostly: float | None = None, **kwargs) -> Expectation:
    return Expectation(type=f"expect_{type_}", kwargs=kwargs, mostly=mostly)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (expect("column_values_to_be_nul", column="id"), ["did you mean 'expect_column_values_to_be_null'?"]),
        (expect("column_values_to_not_be_outliers", column="id"), ["can be judged by", "z_scores_to_be_less_than"]),
        (expect("column_values_to_match_like_pattern", column="name", like_pattern="a\\"), ["ends with its escape"]),
        *(
            (expect("column_values_to_be_null", column="id", **said), says)
            for said, says in (
                ({"row_condition": 'col("id") > 5 and col("id") < 9'}, ["isn't understood", "{type: and"]),
                ({"row_condition": "id > 5"}, ["isn't understood", 'col("total") > 5']),
                ({"row_condition": "id > 5", "condition_parser": "pandas"}, ["another language", "pandas"]),
                ({"row_condition": 'col("nmae").notnull()'}, ["no column 'nmae'", "did you mean 'name'?"]),
                ({"row_condition": 'col("id") == "5"'}, ["type str", "write it as a number"]),
                ({"row_condition": 'col("tags") > 5'}, ["can't judge column 'tags'"]),
                ({"row_condition": {"type": "not"}}, ["'row_condition' is wrong"]),
                ({"row_condition": {"type": "and", "conditions": []}}, ["'row_condition.and.conditions' is wrong"]),
                (
                    {
                        "row_condition": {
                            "type": "comparison",
                            "column": {"name": "id"},
                            "operator": "==",
                            "parameter": None,
                        }
                    },
                    ["say `nullity`"],
                ),
            )
        ),
        (expect("column_to_exist", column="id", row_condition='col("id") > 5'), ["rules that look at rows"]),
        (expect("column_distinct_values_to_contain_set", column="id", value_set=[None]), ["take null out of the set"]),
        (expect("column_max_to_be_recent", column="at", within="6 hours"), ["'within' is wrong", "ISO 8601"]),
        (expect("column_max_to_be_recent", column="name", within="PT6H"), ["can't judge column 'name'"]),
        (expect("column_most_common_value_to_be_in_set", column="id", value_set=["1"]), ["type str"]),
        (
            expect(
                "column_quantile_values_to_be_between",
                column="id",
                quantile_ranges={"quantiles": [0.5, 0.9], "value_ranges": [[0, 1]]},
            ),
            ["2 quantiles, 1 ranges"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than",
                column="id",
                threshold=1,
                partition_object={"values": [1], "weights": [0.5]},
            ),
            ["don't make 1"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than", column="id", threshold=1, partition_object={"weights": [1.0]}
            ),
            ["`values` or `bins`"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than",
                column="id",
                threshold=1,
                partition_object={"bins": [2.0, 1.0], "weights": [1.0]},
            ),
            ["must ascend"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than",
                column="id",
                threshold=1,
                partition_object={"bins": [1.0], "weights": [1.0]},
            ),
            ["one more than weights"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than",
                column="id",
                threshold=1,
                partition_object={"values": [1], "weights": [1.0]},
                tail_weight_holdout=0.1,
            ),
            ["name each that may occur"],
        ),
        (
            expect(
                "column_kl_divergence_to_be_less_than",
                column="id",
                threshold=1,
                partition_object={"values": ["a"], "weights": [1.0]},
            ),
            ["type str"],
        ),
        (expect("column_values_to_be_increasing", column="name"), ["can't judge column 'name'"]),
        (expect("column_value_z_scores_to_be_less_than", column="name", threshold=1), ["can't judge column 'name'"]),
        (expect("column_value_z_scores_to_be_less_than", column="id"), ["'threshold' is wrong", "Field required"]),
        (expect("column_values_to_not_be_null", column="nmae"), ["no column 'nmae'", "did you mean 'name'?"]),
        (expect("column_values_to_not_be_null"), ["'column' is wrong", "Field required"]),
        (
            expect("column_values_to_be_between", column="id", min=1),
            ["no setting 'min'", "min_value", "mostly", "row_condition"],
        ),
        (expect("column_values_to_be_between", column="id"), ["a range needs an end"]),
        (expect("column_values_to_be_between", column="id", min_value=2, max_value=1), ["greater than max_value"]),
        (expect("column_values_to_be_between", column="id", min_value="1"), ["type str", "write it as a number"]),
        (expect("column_values_to_be_between", column="id", min_value=True), ["type bool"]),
        (expect("column_values_to_be_between", column="name", min_value=1), ["type int", "text, in quotes"]),
        (expect("column_values_to_be_between", column="at", min_value="soon"), ["type str", "2026-01-31"]),
        (expect("column_values_to_be_between", column="on", min_value="2024-01-01T12:00"), ["a date: 2026-01-31"]),
        (expect("column_values_to_be_between", column="tags", min_value=1), ["can't judge column 'tags'", "nested"]),
        (expect("column_values_to_be_in_set", column="id", value_set=["1"]), ["type str"]),
        (expect("column_values_to_be_in_set", column="id", value_set=1), ["'value_set' is wrong"]),
        (expect("column_values_to_match_regex", column="name", regex="a("), ["regular expression isn't valid"]),
        (expect("column_values_to_match_regex", column="at", regex="a"), ["can't judge column 'at'"]),
        (expect("column_values_to_match_regex_list", column="name", regex_list=[]), ["'regex_list' is wrong"]),
        (expect("column_pair_values_to_be_equal", column_A="id", column_B="name"), ["column 'name'", "one of: number"]),
        (expect("column_pair_values_to_be_equal", column_A="id", column_C="name"), ["no setting 'column_C'"]),
        (expect("column_values_to_be_unique", column="tags"), ["can't judge column 'tags'"]),
        (expect("compound_columns_to_be_unique", column_list=["id"]), ["'column_list' is wrong"]),
        (expect("column_sum_to_be_between", column="name", min_value=1), ["can't judge column 'name'"]),
        (expect("column_mean_to_be_between", column="id", min_value="x"), ["the bound must be a number"]),
        (expect("table_row_count_to_be_between", min_value="x"), ["the bound must be a number"]),
        (expect("table_row_count_to_equal", mostly=0.5, value=1), ["`mostly` is for rules that judge rows or values"]),
        (
            expect("column_values_to_be_of_type", column="id", type_="int46"),
            ["no type 'int46'", "did you mean 'int64'?"],
        ),
        (expect("column_values_to_be_null", column="payload.usr.email"), ["no 'usr'", "did you mean 'user'?"]),
        (expect("column_values_to_be_null", column="tags.x"), ["no column 'tags.x'"]),
        (expect("column_values_to_be_null", column="payload.user.email.x"), ["is inside a string"]),
        (expect("multicolumn_sum_to_equal", column_list=["id"]), ["'column_list' is wrong"]),
        (expect("column_values_to_match_json_schema", column="name", json_schema=1), ["'json_schema' is wrong"]),
        (
            expect("column_values_to_match_json_schema", column="name", json_schema={"items": {"type": "objekt"}}),
            ["`json_schema`['items']['type']", "'objekt' is not valid"],
        ),
        *(
            (
                expect("column_values_to_match_json_schema", column="name", json_schema={"a": a, "$ref": "#/a"}),
                ["leads to what is no schema", "got #/a"],
            )
            for a in (7, [7])
        ),
        *(
            (
                expect("column_values_to_match_json_schema", column="name", json_schema=schema),
                ["leads out of it", "got " + reference],
            )
            for reference in ("http://127.0.0.1:9/secret", "file:///etc/hostname", "#/$defs/other", "other.json")
            for schema in (
                {"$ref": reference},
                {"$defs": {"one": {"type": "array", "items": {"$ref": reference}}}, "$ref": "#/$defs/one"},
                {"elsewhere": {"one": {"$ref": reference}}, "$ref": "#/elsewhere/one"},
            )
        ),
    ],
    ids=str,
)
def test_a_wrong_rule_is_named_with_what_is_allowed(wrong, says):
    with pytest.raises(ConfigError) as caught:
        Rules.compile([expect("column_values_to_not_be_null", column="id"), wrong], SCHEMA)
    assert str(caught.value).startswith(f"{wrong.label}: ")
    for part in says:
        assert part.lower() in str(caught.value).lower()


def test_a_rule_on_an_object_is_refused_without_its_keys():
    schema = pa.schema([("scores", pa.list_(pa.struct([("ada@example.org", pa.int64())])))])
    with pytest.raises(ConfigError, match=r"can't judge column 'scores'; got nested or unordered \(List\)"):
        Rules.compile([expect("column_values_to_be_increasing", column="scores")], schema)


@pytest.mark.parametrize("way", ["increasing", "decreasing"])
def test_an_order_is_only_asked_of_rows_that_have_one(way):
    wanted = expect(f"column_values_to_be_{way}", column="id")
    rules = Rules.compile([expect("column_values_to_not_be_null", column="id"), wanted], SCHEMA)
    rules.check_order("csv", ordered=True)
    with pytest.raises(ConfigError) as caught:
        rules.check_order("kafka", ordered=False)
    assert str(caught.value).startswith(f"{wanted.label}: rows of 'kafka' have no order")


@pytest.mark.parametrize(
    "odd", [pa.decimal256(50, 2), pa.list_(pa.decimal256(50, 2)), pa.month_day_nano_interval()], ids=str
)
def test_types_that_polars_can_not_read_are_refused_before_it_sees_them(odd):
    with pytest.raises(ConfigError, match="no rule can judge column 'odd'"):
        Rules.compile([expect("column_values_to_not_be_null", column="odd")], pa.schema([("odd", odd)]))


@pytest.mark.parametrize(
    ("values", "type_", "rule", "bad"),
    [
        (
            [1, 2**64 - 1],
            pa.uint64(),
            expect("column_values_to_be_between", column="x", max_value=10**40),
            [False, False],
        ),
        ([1.5, 2.0], pa.float32(), expect("column_values_to_be_between", column="x", max_value=1e300), [False, False]),
        (
            [Decimal(10) ** 30, Decimal("0.25")],
            pa.decimal128(38, 2),
            expect("column_values_to_be_in_set", column="x", value_set=[10**30, 0.251]),
            [False, True],
        ),
        (
            [dt.time(12), dt.time(13)],
            pa.time64("us"),
            expect("column_values_to_be_between", column="x", max_value="12:00"),
            [False, True],
        ),
        (
            [dt.time(12), dt.time(13)],
            pa.time64("us"),
            expect("column_values_to_be_in_set", column="x", value_set=["12:00"]),
            [False, True],
        ),
        (
            [0, 2**60],
            pa.timestamp("ns", "+02:00"),
            expect("column_values_to_be_in_set", column="x", value_set=["1970-01-01"]),
            [False, True],
        ),
        (
            [0, 86_400_000],
            pa.date64(),
            expect("column_values_to_be_in_set", column="x", value_set=["1970-01-02"]),
            [True, False],
        ),
        ([1, None], pa.duration("s"), expect("column_values_to_not_be_null", column="x"), [False, True]),
    ],
    ids=str,
)
def test_types_at_the_edge(values, type_, rule, bad):
    batch = pa.record_batch({"x": pa.array(values, type_)})
    assert Rules.compile([rule], batch.schema).checker(KEY).check(batch).bad.tolist() == bad


WORDS = [
    "",
    "a",
    "A",
    "ab",
    "\0",
    "a\0",
    "a\n",
    "ä" * 6,
    "ä" * 6 + "a",
    "x" * 12,
    "x" * 13,
    "x" * 12 + "y",
    "日本語",
    "e\u0301",
]


@pytest.mark.parametrize(
    "members", [WORDS[:1], WORDS[1:7], WORDS[5:10], WORDS[7:9], WORDS[::2], [None, "a"], ["a"] * 9]
)
def test_a_set_of_texts_has_what_pythons_has(members):
    """Few short ones are compared, others looked up."""
    batch = pa.record_batch({"x": [*WORDS, "b", None, "xx" * 12]})
    said = [expect(f"column_values_to_{way}be_in_set", column="x", value_set=members) for way in ("", "not_")]
    checker = Rules.compile(said, batch.schema).checker(KEY)
    broken = checker.check(batch).broken.to_pylist()
    values = [value for value in batch["x"].to_pylist() if value is not None]
    assert broken == [[said[value in members].label] for value in values]
    assert set(checker.verdict(0).tally.evaluated.values()) == {len(values)}


@pytest.mark.parametrize(
    "strict", [{}, {"strict_min": True}, {"strict_max": True}, dict.fromkeys(["strict_min", "strict_max"], True)]
)
@pytest.mark.parametrize("ends", [(1, 3), (2, 2), (2, 3), (-5, 10**30), (2**32, 2**33), (0.5, 2.5), (1, 2.5)])
def test_lengths_lie_between_both_ends(ends, strict):
    low, high = ends
    texts = ["", "a", "ä", "🎸🎸", "e\u0301", "abc", "日本語\n", "abcde", None]
    batch = pa.record_batch({"x": texts})
    rule = expect("column_value_lengths_to_be_between", column="x", min_value=low, max_value=high, **strict)
    fits = [
        (low < len(text) if "strict_min" in strict else low <= len(text))
        and (len(text) < high if "strict_max" in strict else len(text) <= high)
        for text in texts[:-1]
    ]
    bad = Rules.compile([rule], batch.schema).checker(KEY).check(batch).bad.tolist()
    assert bad == [not fit for fit in fits] + [False]


@pytest.mark.parametrize(
    "type_",
    [
        pa.time64("us"),
        pa.binary(16),
        pa.binary(),
        pa.float16(),
        pa.uint64(),
        pa.timestamp("us", "+02:00"),
        pa.date32(),
        pa.date64(),
        pa.decimal128(38, 2),
        pa.bool_(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_keys_of_every_plain_type_hash(type_):
    one, other = {
        "binary": (b"a" * 16, b"b" * 16),
        "fixed_size_binary[16]": (b"a" * 16, b"b" * 16),
        "bool": (True, False),
    }.get(str(type_), (1, 2))
    if pa.types.is_dictionary(type_):
        array = pa.array(["a", "b", "a", None]).dictionary_encode()
    elif pa.types.is_decimal(type_):
        array = pa.array([Decimal(1), Decimal(2), Decimal(1), None], type_)
    elif pa.types.is_float16(type_):
        array = pa.array(np.array([1, 2, 1, 3], np.float16))
    else:
        array = pa.array([one, other, one, None], type_)
    batch = pa.record_batch({"x": array})
    checker = Rules.compile([expect("column_values_to_be_unique", column="x")], batch.schema).checker(KEY)
    checker.check(batch)
    (keys,) = checker.verdict(0).keys.values()
    assert len(keys) == len(batch) - array.null_count
    assert len(np.unique(keys)) == len(keys) - 1


def test_a_missing_value_is_no_key_on_chosen_rows_either():
    batch = pa.record_batch({"x": [1, None, 1, None, 2], "y": [1, 1, 2, 2, 1]})
    rule = expect(
        "column_values_to_be_unique", column="x", row_condition='col("y") == 1', condition_parser="great_expectations"
    )
    checker = Rules.compile([rule], batch.schema).checker(KEY)
    checker.check(batch)
    (keys,) = checker.verdict(0).keys.values()
    assert len(keys) == 2


def test_numbers_of_a_dictionary_are_judged_as_their_values(monkeypatch):
    """In whichever batches they come, beside columns that are nested; rules meet one schema."""
    met = []
    monkeypatch.setattr(checker_module, "bind", lambda *said: met.append(said) or bind(*said))
    said = [expect("column_values_to_not_be_null", column=name) for name in ("word", "tags")]
    said += [expect("column_values_to_be_in_set", column="word", value_set=["a", "b"])]
    schema = pa.schema([("word", pa.string()), ("tags", pa.list_(pa.string()))])
    rules = Rules.compile(said, schema)
    words, tags = pa.array(["a", None, "c", "b"]), pa.array([["x"], None, [], ["y"]])
    numbers = pa.DictionaryArray.from_arrays(pa.array([3, 1, None, 2, 0], pa.int8()), ["b", None, "c", "a"]).slice(1)
    checker, found = rules.checker(KEY), []
    for word in (words, words.dictionary_encode(), numbers.take(pa.array([1, 0, 1, 3]))):
        found.append(checker.check(pa.record_batch({"word": word, "tags": tags})).broken.to_pylist())
    null, no_tags, outside = (labelled.label for labelled in rules.rules)
    assert found == [[[null, no_tags], [outside]], [[null, no_tags], [outside]], [[null], [null, no_tags], [null]]]
    assert len(met) == 1


def test_labels_stay_apart_when_a_rule_is_there_twice():
    twice = [expect("column_values_to_match_regex", column="name", regex=regex) for regex in ("^a", "z$")]
    rules = Rules.compile(twice, SCHEMA)
    checked = rules.checker(KEY).check(pa.record_batch({"name": ["az", "a", "b"]}))
    assert checked.broken.to_pylist() == [[twice[1].label + " #2"], [twice[0].label, twice[1].label + " #2"]]


def test_a_leaf_is_addressed_by_its_path():
    rules = Rules.compile(
        [
            expect("column_values_to_not_be_null", column="payload.user.email"),
            expect("column_values_to_match_regex", column="payload.user.email", regex="(?<=@)b"),
            expect("column_values_to_be_unique", column="payload.n"),
        ],
        SCHEMA,
    )
    assert rules.columns == {"payload"}
    rows = [{"user": {"email": "a@b"}, "n": 1}, {"user": None, "n": 1}, None, {"user": {"email": "ab"}, "n": None}]
    checked = rules.checker(KEY).check(pa.record_batch({"payload": pa.array(rows, SCHEMA.field("payload").type)}))
    assert checked.bad.tolist() == [False, True, True, True]


def test_a_column_whose_name_has_a_dot_is_itself():
    schema = pa.schema([("a.b", pa.int64()), ("a", pa.struct([("b", pa.int64())]))])
    rules = Rules.compile([expect("column_values_to_not_be_null", column="a.b")], schema)
    batch = pa.record_batch({"a.b": [1, None], "a": pa.array([{"b": None}, {"b": 1}], schema.field("a").type)})
    assert rules.columns == {"a.b"}
    assert rules.checker(KEY).check(batch).bad.tolist() == [False, True]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 2, 3], pa.int8()),
        pa.array([1, 2, 3], pa.uint64()),
        pa.array([1.0, 2.0, 3.0]),
        pa.array([Decimal(1), Decimal(2), Decimal(3)]),
    ],
    ids=str,
)
def test_a_type_that_widened_is_judged_as_it_is(ids):
    rules = Rules.compile(
        [
            expect("column_values_to_be_between", column="id", max_value=2),
            expect("column_values_to_be_in_set", column="id", value_set=[1, 3, 1000]),
            expect("column_values_to_be_unique", column="id"),
        ],
        SCHEMA,
    )
    checker = rules.checker(KEY)
    checker.check(pa.record_batch({"id": pa.array([1], pa.int64())}))
    assert checker.check(pa.record_batch({"id": ids})).bad.tolist() == [False, True, True]
    (keys,) = checker.verdict(0).keys.values()
    assert len(keys) == 2
    assert keys[0] == keys[1]  # 1 hashes as 1, whatever its type


def test_text_in_dictionaries_and_views_is_text():
    rules = Rules.compile([expect("column_value_lengths_to_equal", column="name", value=2)], SCHEMA)
    checker = rules.checker(KEY)
    text = pa.array(["ab", "c", None])
    for names in (text.dictionary_encode(), text.cast(pa.string_view()), text.cast(pa.large_string())):
        assert checker.check(pa.record_batch({"name": names})).bad.tolist() == [False, True, False]


def test_a_batch_of_nulls_without_a_type_breaks_only_what_nulls_break():
    rules = Rules.compile(
        [
            expect("column_values_to_be_between", column="id", max_value=2),
            expect("column_values_to_be_in_set", column="name", value_set=["a"]),
            expect("column_values_to_match_regex", column="name", regex="a"),
            expect("column_values_to_be_unique", column="id"),
            expect("column_max_to_be_between", column="at", max_value="2024-01-01"),
            expect("column_values_to_be_of_type", column="name", type_="str"),
            expect("column_pair_values_to_be_equal", column_A="id", column_B="payload.n"),
            expect("column_values_to_not_be_null", column="on"),
        ],
        SCHEMA,
    )
    nothing = pa.record_batch([pa.nulls(2)] * 4 + [pa.array([None, None], SCHEMA.field("payload").type)],
                              names=["id", "name", "at", "on", "payload"])  # fmt: skip
    checked = rules.checker(KEY).check(nothing)
    assert checked.broken.to_pylist() == [["expect_column_values_to_not_be_null(on)"]] * 2


def test_a_type_that_no_longer_fits_is_a_broken_contract_not_bad_data():
    rules = Rules.compile([expect("column_values_to_be_between", column="id", min_value=0)], SCHEMA)
    with pytest.raises(ContractError, match=r"between\(id\): .*text") as caught:
        rules.checker(KEY).check(pa.record_batch({"id": ["canary-7391"]}))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_tombstones_skip_the_rules(kind):
    rules = Rules.compile(
        [
            expect("column_values_to_not_be_null", column="id"),
            expect("column_values_to_be_unique", column="name"),
            expect("table_row_count_to_equal", value=2),
        ],
        SCHEMA,
    )
    checker = rules.checker(KEY)
    names = pa.array(list("aabb"), kind)
    checked = checker.check(
        pa.record_batch({"id": [None, None, 1, None], "name": names, "_deleted": [True, None, False, True]})
    )
    assert checked.bad.tolist() == [False, True, False, False]
    verdict = checker.verdict(0)
    assert [len(keys) for keys in verdict.keys.values()] == [1]
    assert verdict.tally.counts()["rules"]["expect_table_row_count_to_equal()"]["evaluated"] == 2


def test_no_rules_no_columns_no_bad_rows():
    rules = Rules.compile([], SCHEMA)
    checker = rules.checker(KEY)
    checked = checker.check(pa.record_batch({"id": [1, None]}))
    assert rules.columns == frozenset()
    assert (checked.bad.tolist(), checked.broken.to_pylist(), checker.verdict(3).tally.rows) == ([False, False], [], 2)


def test_naive_bounds_on_instants_are_utc_and_zones_are_respected():
    bounds = {"min_value": "2024-01-01T00:00:00", "max_value": "2024-01-01T03:00+01:00"}
    rules = Rules.compile([expect("column_values_to_be_between", column="at", **bounds)], SCHEMA)
    hours = pl.datetime_range(
        pl.datetime(2023, 12, 31, 23), pl.datetime(2024, 1, 1, 3), "1h", time_zone="UTC", eager=True
    ).dt.convert_time_zone("Asia/Tokyo")
    bad = rules.checker(KEY).check(pa.record_batch({"at": hours.to_arrow()})).bad
    assert bad.tolist() == [True, False, False, False, True]


def test_the_slow_engines_errors_are_errors_and_quote_no_value(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    rules = Rules.compile([expect("column_values_to_match_strftime_format", column="id", strftime_format="%d")], SCHEMA)
    with pytest.raises(ContractError, match=r"couldn't judge 'expect_column_values_to_match_strftime") as caught:
        rules.checker(KEY).check(pa.record_batch({"id": pa.array([7391, 7392])}))
    written = "".join(capfd.readouterr()) + caplog.text + str(caught.value) + repr(caught.value.__dict__)
    assert "7391" not in written
    assert caught.value.__cause__ is None


def test_a_schema_that_goes_round_is_none():
    schema = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "items": {"$ref": "#/$defs/a"}}
    rules = Rules.compile([expect("column_values_to_match_json_schema", column="name", json_schema=schema)], SCHEMA)
    with pytest.raises(ContractError, match="refers to itself without end"):
        rules.checker(KEY).check(pa.record_batch({"name": ["[1]"]}))


def test_json_of_which_a_schema_can_t_be_asked_is_bad():
    deep, number, many = "[" * 900 + "]" * 900, "1e400", "7" * 400
    schemas = [{"items": {"$ref": "#"}}, {"multipleOf": 0.01}, {"multipleOf": 0.01}]
    for text, schema in zip((deep, number, many), schemas, strict=True):
        rules = Rules.compile([expect("column_values_to_match_json_schema", column="name", json_schema=schema)], SCHEMA)
        assert rules.checker(KEY).check(pa.record_batch({"name": [text, "[]"]})).bad.tolist() == [True, False]


@pytest.mark.parametrize(
    ("schema", "holds"),  # by what JSON Schema 2020-12 and draft 4 say of each
    [
        (
            {"$ref": "http://json-schema.org/draft-07/schema#"},
            [True, False, False, False, False, None],
        ),  # which is there
        ({"type": "object", "required": ["a"]}, [True, False, False, False, False, None]),
        ({"$ref": "#/$defs/one", "$defs": {"one": {"type": "array"}}}, [False, True, False, False, False, None]),
        (
            {"$id": "https://x.test/y", "$ref": "#z", "$defs": {"z": {"$anchor": "z", "type": "string"}}},
            [*(4 * [False]), False, None],
        ),
        (
            {
                "properties": {"a": {"maximum": 1, "exclusiveMaximum": True}},
                "$schema": "http://json-schema.org/draft-04/schema#",
            },
            [False, True, True, False, False, None],
        ),
    ],
)
def test_text_that_isn_t_json_or_not_as_its_schema_wants_is_bad(schema, holds):
    texts = ['{"a": 1}', "[]", "7", "oops", "", None]
    rules = Rules.compile([expect("column_values_to_match_json_schema", column="name", json_schema=schema)], SCHEMA)
    checker = rules.checker(KEY)
    rows = pa.record_batch({"name": pa.array([*texts, *texts])})
    assert checker.check(rows).bad.tolist() == [said is False for said in [*holds, *holds]]
    (evaluated,) = checker.verdict(0).tally.evaluated.values()
    assert evaluated == 10


def test_the_slow_engine_is_kept_from_logging(caplog, monkeypatch):
    rules = Rules.compile([expect("column_values_to_be_json_parseable", column="name")], SCHEMA)
    checker = rules.checker(KEY)
    rows = checker._engines[""]._rows
    get_batch = type(rows).get_batch

    def stumbles(*args, **kwargs):
        logging.getLogger("great_expectations.validator").error("canary-7391")
        return get_batch(*args, **kwargs)

    monkeypatch.setattr(type(rows), "get_batch", stumbles)
    assert checker.check(pa.record_batch({"name": ["1", "x"]})).bad.tolist() == [False, True]
    assert "canary" not in caplog.text


def test_nothing_that_is_shown_holds_a_value():
    rules = Rules.compile(
        [
            expect("column_values_to_not_be_in_set", column="name", value_set=["x"]),
            expect("column_max_to_be_between", column="name", max_value="a"),
            expect("column_values_to_be_unique", column="name"),
        ],
        SCHEMA,
    )
    checker = rules.checker(KEY)
    checked = checker.check(pa.record_batch({"name": ["canary-7391", "x"]}))
    verdict = checker.verdict(0)
    shown = f"{checked} {verdict!r} {verdict.tally} {verdict.tally.counts()}"
    assert "canary" not in shown
    assert str(next(iter(verdict.keys.values()))[0]) not in shown
    assert verdict.tally.states["expect_column_max_to_be_between(name)"]["max"] == "x"  # why it has to be sealed


def test_the_seed_keeps_tenants_and_rules_apart():
    rules = Rules.compile(
        [expect("column_values_to_be_unique", column="id"), expect("column_values_to_be_unique", column="payload.n")],
        SCHEMA,
    )
    batch = pa.record_batch({"id": [7], "payload": pa.array([{"user": None, "n": 7}], SCHEMA.field("payload").type)})
    seen = set()
    for key in (KEY, bytes(32)):
        checker = rules.checker(key)
        checker.check(batch)
        seen |= {int(keys[0]) for keys in checker.verdict(0).keys.values()}
    assert len(seen) == 4
    assert all(isinstance(n, int) and n < np.iinfo(np.uint64).max for n in seen)


@pytest.mark.parametrize("said", ["str", "string", "large_string"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_a_text_is_one_however_large_it_may_get(said, kind):
    """Which of Arrow's types a file's texts come as is no word of the tenant's."""
    rules = Rules.compile([expect("column_values_to_be_of_type", column="name", type_=said)], SCHEMA)
    checker = rules.checker(KEY)
    checker.check(pa.record_batch({"name": pa.array(["a", None], kind)}))
    assert checker.verdict(0).tally.unexpected == {"expect_column_values_to_be_of_type(name)": 0}


def test_a_column_that_no_rule_concerns_may_widen_whatever_the_others_are(monkeypatch):
    """Without a look at those: a table of thousands of columns would be bound once for each of them."""
    rules = Rules.compile([expect("column_values_to_be_in_set", column="id", value_set=[1, 2])], SCHEMA)
    monkeypatch.setattr(rules_module, "bind", None)
    assert rules.allow("on", pa.timestamp("us"))
    with pytest.raises(TypeError):
        rules.allow("id", pa.float64())
