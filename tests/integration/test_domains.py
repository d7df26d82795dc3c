"""A domain in which letters' case counts: whose identifiers differ by it alone are several persons, in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from command_line import answer, call
from older_ledger import downgrade

Sql = psycopg.Connection[Any]

TENANT = """\
tenant: acme
{domains}
pipelines:
  members:
    importer: jsonl
    config: {{path: "{data}/members-*.jsonl", stream: members}}
    quarantine: {{max_fraction: 1}}
    load: {{mode: merge, primary_key: id, table: {domain}s}}
    expect:
      - expect_column_values_to_be_unique: {{column: id}}
      - expect_column_values_to_be_between: {{column: score, min_value: 0}}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{column: id, domain: {domain}}}
      columns: {{id: pseudonymise, score: keep, friends: pseudonymise}}
"""
EXACT = "domains: {member: {case_sensitive: true}}"
THREE = ("001A0000006Vm9rIAC", "001A0000006VM9rIAC", "001A0000006vM9RIAC")
"""As Salesforce's: of one spelling, but for letters' case."""
ERASE = ("--yes", "--domain", "member")


def describe(home: Path, domains: str = EXACT, domain: str = "member") -> None:
    text = TENANT.format(data=home, domains=domains, domain=domain)
    (home / "tenants/acme.yaml").write_text(text)


def deliver(home: Path, *scores: int) -> None:
    """One more file with all three, who are one another's friends."""
    number = len(list(home.glob("members-*.jsonl")))
    friends = '["001A0000006Vm9rIAC"]'
    lines = [f'{{"id": "{one}", "score": {n}, "friends": {friends}}}' for one, n in zip(THREE, scores, strict=True)]
    (home / f"members-{number}.jsonl").write_text("\n".join(lines) + "\n")


def scores(sql: Sql, domain: str = "member") -> list[int]:
    return [score for (score,) in sql.execute(f"select score from acme.{domain}s order by 1").fetchall()]


def test_each_is_a_row_and_who_is_erased_alone_goes_and_stays_out(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 1, 2, 3)
    (run,) = answer("run", "acme.members")
    assert (run["rows_loaded"], [note for note in run["notes"] if "gave way" in note]) == (3, [])
    deliver(home, -1, -2, -3)
    assert answer("run", "acme.members")[0]["rows_quarantined"] == 3
    assert scores(sql) == [1, 2, 3]

    receipt = answer("erase", "acme", f" {THREE[1]}\t", *ERASE)
    gone = {place["kind"]: place["rows"] for place in receipt["places"] if place["outcome"] == "clear"}
    assert (gone, scores(sql)) == ({"table": 1, "quarantine": 1}, [1, 3])
    (file,) = answer("quarantine", "show", "acme.members", "--unmasked")
    assert [row["id"] for row in file["rows"]] == [THREE[0], THREE[2]]

    deliver(home, 11, 12, 13)
    deliver(home, -11, -12, -13)
    (run,) = answer("run", "acme.members")
    assert [run[f"rows_{what}"] for what in ("loaded", "quarantined", "suppressed")] == [2, 2, 2]
    assert scores(sql) == [11, 13]
    answer("readmit", "acme", THREE[1], *ERASE)
    deliver(home, 21, 22, 23)
    answer("run", "acme.members")
    assert scores(sql) == [21, 22, 23]
    named = sql.execute(
        "select m.score from acme.members m join acme.members f on (f.friends ->> 0)::uuid = m.id"
    ).fetchall()
    assert named == [(21,)] * 3  # in a list, too


def test_that_case_makes_one_key_of_several_is_told_before_and_after(home: Path) -> None:
    describe(home, "")
    deliver(home, 1, 2, 3)
    (seen,) = answer("preview", "acme.members")
    (note,) = seen["notes"]
    assert note.startswith("id: of the values read 2 have the pseudonym of another")
    assert "`domains: {member: {case_sensitive: true}}`" in note
    (run,) = answer("run", "acme.members")
    assert any("2 gave way" in note and "of id upper and lower case don't count" in note for note in run["notes"])
    deliver(home, 1, 2, 3)
    assert "another domain than 'member'" in call("preview", "acme.members").stderr  # it has pseudonyms by now
    describe(home, EXACT.replace("member", "member_id"), "member_id")
    (seen,) = answer("preview", "acme.members", "--full-refresh")
    assert seen["notes"] == []


def test_what_pseudonyms_were_made_otherwise_is_refused(home: Path, sql: Sql) -> None:
    """Whichever way it is changed, before anything is read or erased."""
    for before, after, words in (("", EXACT, "doesn't count"), (EXACT, "", "counts")):
        sql.execute("delete from _importers.domain" if before else "select 1")
        describe(home, before, "member")
        deliver(home, 1, 2, 3)
        call("run", "acme.members", "--full-refresh" if before else "--json")
        describe(home, after)
        for step in ("run", "plan", "preview"):
            told = call(step, "acme.members", code=2).stderr
            assert f"'member' were made before in which letters' case {words}" in told
            assert "give the domain another name" in told


def test_an_erasure_goes_by_how_tokens_were_made_whatever_the_file_says_by_now(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 1, 2, 3)
    call("run", "acme.members")
    describe(home, "")
    for options in (("--dry-run",), ()):
        told = call("erase", "acme", THREE[0], *ERASE, *options).stderr
        assert "in the domain 'member' upper and lower case count" in told
    assert answer("erase", "acme", THREE[2], *ERASE)["case_sensitive"] is True
    assert scores(sql) == [2]


def test_who_is_erased_before_the_first_run_settles_it_too(home: Path) -> None:
    describe(home, "")
    call("erase", "acme", THREE[0], *ERASE)
    describe(home)
    deliver(home, 1, 2, 3)
    assert "letters' case doesn't count" in call("run", "acme.members", code=2).stderr


def test_an_older_ledger_knows_of_no_case(home: Path, database: str, sql: Sql) -> None:
    describe(home, "")
    deliver(home, 1, 2, 3)
    call("run", "acme.members")
    downgrade(database, "0016")
    describe(home)
    assert "letters' case doesn't count" in call("run", "acme.members", code=2).stderr
    assert sql.execute("select tenant, name, case_sensitive from _importers.domain").fetchall() == [
        ("acme", "member", False)
    ]


def test_who_is_erased_stays_out_where_the_domain_gets_another_name_so_that_case_counts(home: Path, sql: Sql) -> None:
    describe(home, "")
    deliver(home, 1, 2, 3)
    call("run", "acme.members")
    call("erase", "acme", THREE[0], *ERASE)
    assert scores(sql) == []
    describe(home, EXACT.replace("member", "member_id"), "member_id")
    (home / "members-0.jsonl").unlink()
    deliver(home, 11, 12, 13)
    assert "would be loaded again" in call("run", "acme.members", code=2).stderr
    call("erase", "acme", THREE[0], "--yes", "--domain", "member_id")
    call("readmit", "acme", THREE[1], *ERASE)  # there they were one
    call("run", "acme.members")
    assert scores(sql, "member_id") == [12, 13]
