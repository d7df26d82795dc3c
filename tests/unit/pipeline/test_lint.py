"""What lint finds beyond the shape of a file. A source of our own stands in, so that no real one has to exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BeforeValidator

from importers.core.source import SourceConfig
from importers.exceptions import ConfigError
from importers.pipeline import lint as linting
from importers.pipeline.lint import lint
from importers.pipeline.lint_streams import Said
from importers.pipeline.tenants import find_tenant, read_tenant, read_tenants


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Shelf(SourceConfig):
    path: Annotated[list[str], BeforeValidator(_several, json_schema_input_type=str | list[str])]
    """Where the files are."""
    delimiter: Literal[",", ";"] = ","
    batch_size: int = 1000


FAMILIES = {"shelf": "files", "shop": "apis", "base": "databases", "topic": "streaming"}


class ShelfSource:
    config_model = Shelf
    ordered = False


@pytest.fixture(autouse=True)
def shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linting, "sources", lambda: FAMILIES)
    monkeypatch.setattr(linting, "source_class", lambda _: ShelfSource)


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    return tmp_path


def found(directory: Path, text: str, name: str = "acme.yaml") -> list[str]:
    (directory / name).write_text("tenant: acme\n" + text, encoding="utf-8")
    return [str(error).removeprefix(f"{directory}/") for error in lint(directory)]


FINE = """\
importers:
  old_shelf: {use: shelf, delimiter: ";"}
pipelines:
  plays:
    importer: shelf
    schedule: "*/5 6-18 * * mon-fri"
    config: {path: a.csv}
    expect:
      - expect_column_values_to_be_between: {column: ms, min_value: 0, mostly: 0.9}
    load: {table: plays}
  older: {importer: old_shelf, schedule: "@daily", config: {path: b.csv}, load: {table: older}}
"""


def test_a_right_file_is_silent(tenants: Path) -> None:
    assert found(tenants, FINE) == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("pipelines:\n  a: {importer: shelve}\n", 3, ("no importer 'shelve'", "Did you mean 'shelf'")),
        ("importers:\n  mine: {use: shlf}\npipelines: {}\n", 3, ("no importer 'shlf'", "'shelf'")),
        ("importers:\n  shelv: {}\npipelines: {}\n", 3, ("no importer 'shelv'", "'shelf'")),
        ("pipelines:\n  a:\n    importer: shelf\n", 4, ("shelf: `path` is missing",)),
        (
            "domains:\n  default: {case_sensitive: true}\n  lisener: {case_sensitive: true}\npipelines:\n  a:\n"
            "    importer: shelf\n    config: {path: x}\n    privacy: {subject: {column: id, domain: listener}}\n",
            4,
            ("no column has pseudonyms of the domain 'lisener'", "Did you mean 'listener'"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config:\n      path: x\n      delimeter: ','\n",
            7,
            ("`delimeter`", "Did you mean 'delimiter'", "batch_size"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config:\n      path: x\n      delimiter: '|'\n",
            7,
            ("`pipelines.a.config.delimiter`", "got '|'", "Allowed: ,, ;"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: 5}\n",
            5,
            ("shelf: `pipelines.a.config.path`", "got 5", "Allowed: text in quotes, or a list, `[one, two]`"),
        ),
        (
            "importers:\n  shelf:\n    batch_size: lots\npipelines:\n  a: {importer: shelf, config: {path: x}}\n",
            4,
            ("shelf: `importers.shelf.batch_size`", "'lots'", "whole number"),
        ),
        ("importers:\n  shelf:\n    batch_size: lots\npipelines: {}\n", 4, ("'lots'", "whole number")),
        (
            "pipelines:\n  a:\n    importer: shelf\n    schedule: 0 25 * * *\n    config: {path: x}\n",
            5,
            ("0 25 * * *",),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    schedule: '* * * *'\n    config: {path: x}\n",
            5,
            ("Five fields",),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    schedule: 0 0 * * * *\n    config: {path: x}\n",
            5,
            ("0 0 * * * *", "Five fields"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    timezone: Europe/Berlni\n",
            6,
            ("`pipelines.a.timezone`", "'Europe/Berlni'", "Did you mean 'Europe/Berlin'"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    start: tomorrow\n",
            6,
            ("`pipelines.a.start`", "'tomorrow'", "ISO 8601"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    schedule: '@daily'\n    catchup: true\n",
            7,
            ("since when", "start: 2026-01-01"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    start: 2026-01-01\n    catchup: true\n",
            7,
            ("nothing to catch up", "schedule none"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    schedule: '@continuous'\n"
            "    max_active_runs: 2\n",
            7,
            ("@continuous", "max_active_runs"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    alerts: [beta_slack]\n",
            6,
            ("alerts", "'beta_slack'"),
        ),
        ("pipelines:\n  a:\n    importer: shelf\n    schedule: '@dayly'\n    config: {path: x}\n", 5, ("'@daily'",)),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    expect:\n"
            "      - expect_column_to_exist: {column: a}\n      - expect_colum_to_exist: {column: a}\n",
            8,
            ("expect_colum_to_exist", "Did you mean 'expect_column_to_exist'"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    streams:\n      s:\n        expect:\n"
            "          - expect_column_values_to_be_in_set: {column: a, values: [1]}\n",
            9,
            ("values", "value_set"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    expect:\n"
            "      - expect_column_values_to_be_increasing: {column: a}\n",
            7,
            ("expect_column_values_to_be_increasing(a): rows of 'shelf' have no order", "rows of files have one"),
        ),
        (
            "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    expect:\n"
            "      - expect_table_row_count_to_equal: {value: 3, mostly: 0.5}\n",
            7,
            ("mostly",),
        ),
    ],
)
def test_what_is_wrong_with_importers_rules_and_schedules(
    tenants: Path, text: str, line: int, words: tuple[str, ...]
) -> None:
    (message,) = found(tenants, text)
    assert message.startswith(f"acme.yaml:{line}: ")
    assert all(word in message for word in words), message


SHARING = """\
pipelines:
  a:
    importer: shelf
    config: {{path: a.csv}}
    load: {{table: plays{first}}}
  b:
    importer: shelf
    config: {{path: b.csv}}
    streams:
      plays: {{load: {{mode: {mode}{second}}}}}
"""


@pytest.mark.parametrize(
    ("first", "second", "mode", "lines"),
    [
        ("", "", "append", ["acme.yaml:6", "acme.yaml:11"]),
        (", shared: true", "", "append", ["acme.yaml:11"]),
        ("", ", shared: true", "merge", ["acme.yaml:6"]),
        (", shared: true", ", shared: true", "append", []),
        (", shared: true", ", shared: true", "merge", []),
        (", shared: true", ", shared: true", "replace", ["acme.yaml:11"]),
        (", shared: true", ", shared: true", "history", ["acme.yaml:11"]),
    ],
)
def test_a_table_has_one_owner_unless_all_share_it(
    tenants: Path, first: str, second: str, mode: str, lines: list[str]
) -> None:
    messages = found(tenants, SHARING.format(first=first, second=", primary_key: id" + second, mode=mode))
    assert [message.split(": ")[0] for message in messages] == lines
    assert all("plays" in message for message in messages)


def test_streams_of_one_pipeline_may_not_meet_in_a_table_either(tenants: Path) -> None:
    text = "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    load: {table: t}\n"
    assert found(tenants, text + "    streams: {x: {}}\n") == []
    messages = found(tenants, text + "    streams:\n      x: {}\n      y: {}\n      z: {load: {table: u}}\n")
    assert [message.split(": ")[0] for message in messages] == ["acme.yaml:8", "acme.yaml:9"]


def test_two_tenants_may_have_the_same_table(tenants: Path) -> None:
    (tenants / "other.yml").write_text("tenant: other\n" + FINE, encoding="utf-8")
    assert found(tenants, FINE) == []


def test_a_broken_file_hides_no_other_and_a_broken_pipeline_hides_no_other(tenants: Path) -> None:
    (tenants / "bad.yaml").write_text("tenant: bad\npipelines: [\n", encoding="utf-8")
    (tenants / "worse.yaml").write_bytes(b"tenant: \xff\n")
    (tenants / "notes.txt").write_text("not a tenant", encoding="utf-8")
    (tenants / "folder.yaml").mkdir()
    text = "pipelines:\n  a: {importer: shelf, deadline: 3}\n  b: {importer: shelve}\n"
    messages = found(tenants, text)
    assert [message.split(": ")[0] for message in messages] == [
        "acme.yaml:3",
        "acme.yaml:4",
        "bad.yaml:2",
        "folder.yaml:1",
        "worse.yaml:1",
    ]
    good, errors = read_tenants(tenants)
    assert good == []
    assert len(errors) == 4, "an importer that isn't there is lint's"


def test_what_init_left_open_is_told_whatever_else_is_wrong(tenants: Path) -> None:
    text = (
        "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    privacy:\n"
        "      purpose: TODO say the purpose\n      lawful_basis: TODO\n"
        "      subject: {none: true, reason: TODO say why}\n      columns: {a: keep}\n"
    )
    messages = found(tenants, text)
    assert [message.split(" ")[0] for message in messages] == ["acme.yaml:7:", "acme.yaml:8:", "acme.yaml:9:"]
    assert all("isn't decided yet" in message for message in messages)
    assert "consent" in messages[1]
    assert len(found(tenants, text.replace("basis: TODO", "basis: consent"))) == 2


def test_a_file_is_named_after_its_tenant(tenants: Path) -> None:
    (message,) = found(tenants, FINE, "acmee.yaml")
    assert message.startswith("acmee.yaml:1: ")
    assert "write `tenant: acmee`".lower() in message.lower()


def test_a_tenant_has_one_file(tenants: Path) -> None:
    (tenants / "acme.yml").write_text("tenant: acme\n" + FINE, encoding="utf-8")
    (message,) = found(tenants, FINE)
    assert "acme.yaml and acme.yml" in message


def test_one_file_can_be_linted(tenants: Path) -> None:
    assert found(tenants, FINE) == []
    (tenants / "acme.yaml").write_text("tenant: acme\n", encoding="utf-8")
    assert len(lint(tenants / "acme.yaml")) == 1
    assert "no directory" in str(lint(tenants / "nowhere")[0])


def test_a_tenant_is_found_by_name(tenants: Path) -> None:
    assert found(tenants, FINE) == []
    assert read_tenant(find_tenant(tenants, "acme")).tenant.tenant == "acme"
    with pytest.raises(ConfigError, match="Did you mean 'acme'"):
        find_tenant(tenants, "acne")


def test_a_byte_order_mark_is_no_mistake(tenants: Path) -> None:
    (tenants / "acme.yaml").write_text("\ufefftenant: acme\n" + FINE, encoding="utf-8")
    assert lint(tenants) == []


@pytest.mark.parametrize(
    ("load", "privacy", "words"),
    [
        ("{primary_key: [ordr_id, total]}", "{}", "load.primary_key names 'ordr_id', which.*Did you mean 'order_id'"),
        ("{cursor: changed}", "{}", "load.cursor names 'changed', which"),
        ("{}", "{subject: {column: who, domain: d}}", "privacy.subject names 'who', which"),
    ],
)
@pytest.mark.parametrize("importer", ["shelf", "base", "topic"])
def test_a_name_that_no_column_with_a_class_has_can_only_be_a_mistake(
    tenants: Path, importer: str, load: str, privacy: str, words: str
) -> None:
    text = (
        f"pipelines:\n  a:\n    importer: {importer}\n    config: {{path: x}}\n    streams:\n      orders:\n"
        f"        load: {load}\n        privacy: {privacy}\n"
        "    privacy: {lawful_basis: contract, columns: {order_id: keep, total: keep, items: keep}}\n"
    )
    (message,) = found(tenants, text)
    assert re.search(words, message)
    assert message.startswith("acme.yaml:8:" if "load" in words else "acme.yaml:9:")
    for right in ("unclassified: drop, columns: {", 'reason: counts, columns: {"*": keep, '):
        assert found(tenants, text.replace("columns: {", right)) == []


def test_a_source_s_cursor_is_a_column_too(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linting, "_refused", lambda *_: [])
    monkeypatch.setattr(Said, "_unsuited", lambda *_: [])
    text = "pipelines:\n  a: {importer: base, privacy: {columns: {changed_at: keep}}, config: {path: x,\n%s}%s}\n"
    (message,) = found(tenants, text % ("cursor: change_at", ""))
    assert message.startswith("acme.yaml:4: the source's cursor is 'change_at', which privacy.columns doesn't name")
    assert "Did you mean 'changed_at'" in message
    assert found(tenants, text % ("cursor: changed_at", "")) == []
    assert found(tenants, text % ("cursor: change_at", ", streams: {one: , other: }")) == [], "one may lack it"


def test_what_may_be_a_column_nevertheless_is_no_mistake(tenants: Path) -> None:
    text = "pipelines:\n  a: {importer: %s, config: {path: x}, load: {primary_key: %s}, privacy: %s}\n"
    own = "{columns: {a: keep}}"
    assert found(tenants, text % ("topic", "[message_partition, message_offset]", own)) == []
    assert found(tenants, text % ("topic", "entry_id", own)) == []
    assert len(found(tenants, text % ("shelf", "entry_id", own))) == 1
    assert found(tenants, text % ("shop", "id", own)) == []
    assert found(tenants, text % ("base", "id", "{}")) == []
    assert found(tenants, text % ("base", "buyer.id", "{columns: {buyer: keep}}")) == []
    assert found(tenants, text % ("base", "buyer", "{columns: {buyer.id: keep}}")) == []


NOBODY = "{subject: {none: true, reason: made up}"


@pytest.mark.parametrize(
    ("load", "privacy", "line", "words"),
    [
        ("{}", "{columns: {at: keep, id: pseudonymise}}", 6, ("whose rows these are", "personal data in id.")),
        ("{}", '{columns: {"*": encrypt}}', 6, ("whose rows these are", "personal data in *")),
        (
            "{}",
            "{lawful_basis: none, subject: {column: id, domain: d}, columns: {id: {mask: email}}}",
            6,
            ("needs a legal basis", "personal data in id"),
        ),
        ("{mode: merge}", "{}", 5, ("merge needs a primary key", "primary_key: …")),
        ("{mode: history}", "{}", 5, ("history needs a primary key", "primary_key: …")),
        ("{mode: merge, primary_key: id}", "{columns: {id: drop, at: keep}}", 6, ("primary key 'id'", "got drop")),
        (
            "{mode: merge, primary_key: id}",
            NOBODY + ", columns: {id: {mask: email}}}",
            6,
            ("primary key 'id'", "got email"),
        ),
        (
            "{mode: merge, primary_key: id}",
            NOBODY + ", columns: {id: encrypt}}",
            6,
            ("primary key 'id'", "deterministic"),
        ),
        ("{mode: merge, primary_key: id}", '{columns: {"*": drop, at: keep}}', 6, ("primary key 'id'", "got drop")),
        ("{cursor: at}", NOBODY + ", columns: {at: pseudonymise}}", 6, ("the cursor 'at'", "Keep it")),
        ("{mode: merge, primary_key: id}", "{columns: {who: keep}}", 5, ("load.primary_key names 'id'", "`id: …`")),
        ("{cursor: at}", "{columns: {who: keep}}", 5, ("load.cursor names 'at'",)),
        ("{}", "{subject: {column: who, domain: d}, columns: {id: keep}}", 6, ("privacy.subject names 'who'",)),
        ("{}", "{columns: {id: keep}}\n    expect: [{expect_column_to_exist: {column: ms}}]", 7, ("names 'ms'",)),
        ("{}", "{retention: 2 years}", 6, ("`pipelines.a.privacy.retention`", "P2Y")),
        ("{}", "{}\n    deadline: 30m", 7, ("`pipelines.a.deadline`", "PT30M")),
    ],
)
def test_what_contradicts_itself_is_told_without_data(
    tenants: Path, load: str, privacy: str, line: int, words: tuple[str, ...]
) -> None:
    text = f"pipelines:\n  a:\n    importer: shelf\n    load: {load}\n    privacy: {privacy}\n    config: {{path: x}}\n"
    (message,) = found(tenants, text)
    assert message.startswith(f"acme.yaml:{line}: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("load", "privacy"),
    [
        ("{mode: merge, primary_key: id}", NOBODY + ", columns: {id: {encrypt: {deterministic: true}}}}"),
        ("{mode: merge, primary_key: id, cursor: at}", NOBODY + ", columns: {id: pseudonymise, at: keep}}"),
        ("{}", "{subject: {column: who.id, domain: d}, columns: {who: pseudonymise}}"),
        ("{primary_key: items}", '{columns: {"items[].id": keep}}'),
        ("{primary_key: id}", "{unclassified: drop, columns: {at: keep}}"),
        ("{primary_key: id}", '{reason: it is public, columns: {"*": keep}}'),
    ],
)
def test_what_agrees_is_left_alone(tenants: Path, load: str, privacy: str) -> None:
    text = f"pipelines:\n  a:\n    importer: shelf\n    load: {load}\n    privacy: {privacy}\n    config: {{path: x}}\n"
    assert found(tenants, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "privacy: {columns: {id: pseudonymise}}\npipelines:\n  a: {importer: shelf, config: {path: x}}\n",
        "pipelines:\n  a: {importer: shop, config: {path: x}, privacy: {columns: {id: pseudonymise}}}\n",
        "pipelines:\n  a: {importer: shelf, config: {path: x}, privacy: {columns: {id: {mask: email}}}, "
        "streams: {b: {}, c: {}}}\n",
    ],
)
def test_what_only_the_source_can_say_is_left_to_the_plan(tenants: Path, text: str) -> None:
    """Another stream's column, or a stream whose subject its author has documented."""
    assert found(tenants, text) == []


def test_a_source_that_knows_its_keys_needs_none_from_the_tenant(tenants: Path) -> None:
    assert found(tenants, "pipelines:\n  a: {importer: shop, config: {path: x}, load: {mode: merge}}\n") == []


def test_a_contradiction_is_told_where_it_stands(tenants: Path) -> None:
    text = (
        "privacy: {columns: {id: keep}}\npipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n"
        "    streams:\n      s:\n        load: {primary_key: id, mode: merge}\n        privacy:\n          columns:\n"
        "            id: drop\n"
    )
    (message,) = found(tenants, text)
    assert message.startswith("acme.yaml:12: ")


RULES = (
    "pipelines:\n  a:\n    importer: shelf\n    config: {path: x}\n    expect:\n"
    "      - expect_column_to_exist: {column: a}\n"
)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("column_mean_to_be_between: {column: a, min_value: 9, max_value: 3}", "min_value: 9, max_value: 3. Swap them"),
        ("column_values_to_be_between: {column: a, min_value: 9, max_value: 3}", "min_value is greater than max_value"),
        (
            "column_values_to_be_between: {column: a, min_value: 9, max_value: x}",
            "between a number and a text; got int",
        ),
        ("column_max_to_be_between: {column: a, max_value: [9]}", "the bound must be one value; got a list"),
        ("column_values_to_be_between: {column: a}", "neither min_value nor max_value"),
        ("table_row_count_to_be_between: {min_value: '3'}", "the bound must be a number; got a value of type str"),
        ("column_value_lengths_to_be_between: {column: a, min_value: 3, max_value: 1}", "Swap them"),
        ("table_column_count_to_be_between: {min_value: x}", "the bound must be a number"),
        (
            "column_values_to_be_in_set: {column: a, value_set: [[1]]}",
            "a member of the set must be one value; got a list",
        ),
        ("column_distinct_values_to_contain_set: {column: a, value_set: [null]}", "take null out of the set"),
        ("column_values_to_be_of_type: {column: a, type_: integr}", "Did you mean 'integer'"),
        ("column_values_to_be_in_type_list: {column: a, type_list: [int, txt]}", "there is no type 'txt'"),
        (
            "column_quantile_values_to_be_between: "
            "{column: a, quantile_ranges: {quantiles: [0.5], value_ranges: [[3, 1]]}}",
            "a range ends before it begins; got [3, 1]",
        ),
        (
            "column_quantile_values_to_be_between: "
            "{column: a, quantile_ranges: {quantiles: [0.5, 1], value_ranges: [[1, 3]]}}",
            "2 quantiles, 1 ranges",
        ),
        (
            "column_values_to_not_be_null: {column: a, mostly: 1.5}",
            "mostly` can't be this; got 1.5. Allowed: at most 1",
        ),
    ],
)
def test_arguments_that_suit_no_column_are_told_with_their_line(tenants: Path, rule: str, words: str) -> None:
    (message,) = found(tenants, f"{RULES}      - expect_{rule}\n")
    assert message.startswith("acme.yaml:8: ")
    assert words.lower() in message.lower()


@pytest.mark.parametrize(
    "rule",
    [
        "column_values_to_be_between: {column: a, min_value: 2026-01-01, max_value: '2026-02-01'}",
        "column_values_to_be_between: {column: a, max_value: b}",
        "column_values_to_be_in_set: {column: a, value_set: [1, x, null, true, 2026-01-01]}",
        "column_values_to_be_of_type: {column: a, type_: 'timestamp[us]'}",
    ],
)
def test_what_may_suit_a_column_is_fine(tenants: Path, rule: str) -> None:
    assert found(tenants, f"{RULES}      - expect_{rule}\n") == []
