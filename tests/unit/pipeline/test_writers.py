"""Who lint says writes a table, where the streams' names follow from the importers' settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from importers.pipeline.lint import lint

FILE = """\
tenant: acme
privacy:
  purpose: tests
  lawful_basis: none
  subject: {none: true, reason: invented}
  columns: {id: keep}
pipelines:
  one:
    importer: %s
    config: %s
    load: {mode: merge, primary_key: id%s}
  two:
    importer: %s
    config: %s
    load: {mode: merge, primary_key: id%s}
"""


@pytest.mark.parametrize(
    ("one", "two", "table"),
    [
        (("csv", "{path: data/s1/*.csv}", ""), ("parquet", "{path: data/s2/*.parquet}", ""), "rows"),
        (("csv", "{path: a/plays.csv}", ""), ("csv", "{path: b/plays.csv}", ""), "plays"),
        (("csv", "{path: a/plays.csv}", ""), ("csv", "{path: b.csv}", ", table: plays"), "plays"),
        (("csv", "{path: a/events.csv}", ""), ("kafka", "{topic: events}", ""), "events"),
        (("json", "{path: a.json, records: [x.orders, y]}", ""), ("csv", "{path: orders.csv}", ""), "orders"),
        (("postgresql", "{tables: [a, b]}", ""), ("csv", "{path: b.csv}", ""), "b"),
        (("postgresql", "{query: select 1 as id}", ""), ("redis_streams", "{key: rows}", ""), "rows"),
    ],
)
def test_two_pipelines_don_t_share_a_table_unless_both_say_so(
    tmp_path: Path, one: tuple[str, str, str], two: tuple[str, str, str], table: str
) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(FILE % (*one, *two))
    assert [(fault.what, fault.where["line"], fault.got) for fault in lint(tmp_path)] == [
        (f"the table '{table}' has several writers", 11, "line 15"),
        (f"the table '{table}' has several writers", 15, "line 11"),
    ]
    file.write_text(FILE % (*one[:2], one[2] + ", shared: true", *two[:2], two[2] + ", shared: true"))
    assert lint(tmp_path) == []


SHARED = """\
tenant: acme
pipelines:
  one:
    importer: csv
    config: {path: one.csv, stream: plays}
    privacy: {purpose: tests, lawful_basis: contract, subject: %s, columns: %s}
    load: {mode: %s, primary_key: id, shared: true}
  two:
    importer: csv
    config: {path: two.csv, stream: plays}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: %s
      columns: %s
    load: {mode: %s, primary_key: id, shared: true%s}
"""
NONE, WHO, KEEP = "{none: true, reason: invented}", "{column: who, domain: fan}", "{id: keep, who: pseudonymise}"


@pytest.mark.parametrize(
    ("mode", "one", "two", "more", "found"),
    [
        (
            "append",
            (NONE, "{id: keep, who: {pseudonymise: {domain: a}}}"),
            (NONE, "{id: keep, who: {pseudonymise: {domain: b}}}"),
            "",
            [(15, "who: pseudonymise(b); by pipeline one pseudonymise(a)")],
        ),
        ("append", (WHO, KEEP), (WHO, "{id: keep, who: {pseudonymise: {domain: fan}}}"), "", []),
        ("append", (WHO, KEEP), (WHO, "{id: keep, who: drop}"), "", []),
        (
            "merge",
            (WHO, KEEP),
            (WHO, "{id: keep, who: drop}"),
            "",
            [(15, "who: drop; by pipeline one pseudonymise(fan)")],
        ),
        ("append", (NONE, "{id: keep, v: keep}"), (NONE, "{id: keep, w: keep}"), "", []),
        (
            "merge",
            (WHO, "{id: keep, who: keep}"),
            (NONE, "{id: keep, who: keep}"),
            "",
            [(14, "no subject; by pipeline one subjects in the domain 'fan'")],
        ),
        ("append", (WHO, "{id: keep, who: keep}"), (NONE, "{id: keep, who: keep}"), "", []),
        ("merge", (NONE, "{id: keep, v: keep}"), (NONE, "{id: keep}"), "", [(16, "v, by pipeline one")]),
        ("merge", (NONE, "{id: keep, v: keep}"), (NONE, "{id: keep}"), ", optional: [v]", []),
        ("merge", (NONE, "{id: keep, v: drop}"), (NONE, "{id: keep}"), "", []),
        ("merge", (NONE, "{id: keep, o.v: keep}"), (NONE, "{id: keep, o: keep}"), "", []),
    ],
)
def test_who_shares_a_table_says_the_same_of_it(
    tmp_path: Path, mode: str, one: tuple[str, str], two: tuple[str, str], more: str, found: list[tuple[int, str]]
) -> None:
    (tmp_path / "acme.yaml").write_text(SHARED % (*one, mode, *two, mode, more))
    assert [(fault.where["line"], fault.got) for fault in lint(tmp_path)] == found


def test_a_name_of_its_own_is_enough(tmp_path: Path) -> None:
    one, two = ("csv", "{path: data/s1/*.csv, stream: ones}", ""), ("csv", "{path: data/s2/*.csv}", "")
    (tmp_path / "acme.yaml").write_text(FILE % (*one, *two))
    assert lint(tmp_path) == []
