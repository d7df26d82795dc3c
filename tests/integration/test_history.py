"""What the ledger tells people: of imports that ran, beside what the files are known to hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import psycopg
import pytest
from import_site import FIRST, SECOND, STREAM, Site, good

from importers.core.model import LoadMode, PersonalData, RunState
from importers.exceptions import ContractError, FatalSourceError
from importers.ledger import history
from importers.pipeline import run

MALFORMED = 1  # lines of the second file that are no rows


@pytest.fixture
def merged(a_site) -> Site:
    site, _ = a_site(LoadMode.MERGE)
    site.run("second")
    return site


def test_runs_tell_where_every_line_went(merged: Site) -> None:
    with history.reading(merged.warehouse) as connection:
        newest, oldest = history.runs(connection, "acme", "listening")
    assert (newest.key, oldest.key) == ("second", "first")
    assert newest.stream == "acme.listening.plays"
    assert newest.table == "acme.plays"
    assert newest.state is RunState.COMMITTED
    assert newest.read == len(SECOND) + MALFORMED
    assert newest.loaded == len(good(SECOND))
    assert newest.quarantined == len(SECOND) + MALFORMED - len(good(SECOND))
    assert (oldest.read, oldest.loaded, oldest.quarantined) == (len(FIRST), len(FIRST), 0)
    assert newest.closed is not None
    assert newest.opened < newest.closed
    assert list(newest.seconds) == ["stage", "load"]
    assert newest.partitions == 3


def test_a_result_s_seconds_are_those_by_the_clock(a_site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's are the work, whatever ran at once."""
    site, _ = a_site(LoadMode.MERGE)
    monkeypatch.setattr(run, "_timed", lambda step, *what: (step(*what), 1e6))
    result = site.run("second")
    with history.reading(site.warehouse) as connection:
        newest = history.runs(connection, "acme", "listening")[0]
    assert newest.seconds == {"stage": 3e6, "load": 3e6}
    assert list(result.timings) == ["plan", "stage", "gate", "load", "commit", "clean"]
    assert 0 < min(result.timings.values()) <= sum(result.timings.values()) < 1e6


def test_what_an_open_run_has_read_is_not_known(merged: Site, a_site) -> None:
    with psycopg.connect(merged.warehouse, autocommit=True) as sql:
        sql.execute("update _importers.run set state = 'open' where key = 'second'")
    with history.reading(merged.warehouse) as connection:
        assert history.runs(connection, "acme", limit=1)[0].read is None


def test_quarantine_is_counts_by_rule(merged: Site) -> None:
    with history.reading(merged.warehouse) as connection:
        files = history.kept_files(connection, "acme", "listening")
    reasons: dict[str, int] = {}
    for file in files:
        for reason, rows in file.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    assert reasons == {
        "expect_column_values_to_be_between(score)": 1,
        "expect_column_values_to_be_unique(play)": 2,
        "expected 5 columns, got 2": 1,
    }
    assert sum(file.rows for file in files) == 4
    assert {(file.replayed_by, file.discarded) for file in files} == {(None, None)}


def test_what_was_given_up_is_told_as_such(merged: Site) -> None:
    with psycopg.connect(merged.warehouse, autocommit=True) as sql:
        sql.execute("update _importers.quarantine set discarded_at = '2026-01-02T03:04:05Z'")
    with history.reading(merged.warehouse) as connection:
        files = history.kept_files(connection, "acme", "listening")
    assert {file.discarded for file in files} == {datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}


def test_an_older_ledger_is_read_too(merged: Site) -> None:
    with psycopg.connect(merged.warehouse, autocommit=True) as sql:
        sql.execute("alter table _importers.quarantine drop column discarded_at")
    with history.reading(merged.warehouse) as connection:
        assert {file.discarded for file in history.kept_files(connection, "acme")} == {None}


def test_a_table_is_known_with_its_lineage_in_its_own_order(merged: Site) -> None:
    with history.reading(merged.warehouse) as connection:
        (table,) = history.tables(connection, "acme", "listening")
        counted = history.count(connection, table.name)
    assert (table.stream, table.name, table.version) == ("acme.listening.plays", "acme.plays", 1)
    treatments = [(leaf.source, leaf.treatment, leaf.column) for leaf in table.lineage]
    assert [source for source, _, _ in treatments] == ["play", "id", "listener", "track", "score"]
    assert ("listener", "pseudonymise(listener)", "listener") in treatments
    assert table.columns["score"] == "bigint"
    assert set(table.added) == {"_version", "_deleted", "_partition", "_run"}
    assert counted == history.RowCount(len(merged.after), exact=True)


@pytest.mark.parametrize("mode", [LoadMode.MERGE, LoadMode.REPLACE, LoadMode.APPEND])
def test_a_count_that_takes_too_long_is_an_estimate(a_site, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    sql.execute("analyze")
    behind = f"{STREAM}__rows" if mode is LoadMode.MERGE else STREAM
    with patch.object(history, "PATIENCE", 200), history.reading(site.warehouse) as connection, sql.transaction():
        sql.execute(f'lock table acme."{behind}" in access exclusive mode')  # what makes a count slow here
        assert history.count(connection, "acme.plays") == history.RowCount(len(FIRST), exact=False)


def test_who_may_read_no_row_gets_the_estimate(a_site) -> None:
    """As the role of the web pages under compose: it sees the ledger, and that there are tables."""
    site, sql = a_site(LoadMode.MERGE)
    sql.execute("create role looks")
    sql.execute("grant usage on schema acme to looks")
    try:
        with history.reading(site.warehouse) as connection:
            connection.execute("set role looks")
            assert history.count(connection, "acme.plays") == history.RowCount(None, exact=False)
            sql.execute("analyze")
            assert history.count(connection, "acme.plays") == history.RowCount(len(FIRST), exact=False)
    finally:
        sql.execute("drop owned by looks")
        sql.execute("drop role looks")


def test_a_table_that_is_gone_has_no_count(merged: Site) -> None:
    with history.reading(merged.warehouse) as connection:
        assert history.count(connection, "acme.gone") is None


def test_an_underscore_is_an_underscore(merged: Site) -> None:
    """`a_me` must not see `acme`, nor `acme.list_ning` what `acme.listening` did."""
    with history.reading(merged.warehouse) as connection:
        for tenant, pipeline in (("a_me", "listening"), ("acme", "list_ning"), ("acme", "listenin"), ("%", None)):
            assert history.runs(connection, tenant, pipeline) == []
            assert history.kept_files(connection, tenant, pipeline) == []
            assert pipeline is None or history.tables(connection, tenant, pipeline) == []


def test_the_newest_run_of_each_stream(merged: Site) -> None:
    other = replace(merged, tenant="beta")
    with psycopg.connect(merged.warehouse, autocommit=True) as sql:
        for stream, key in (("beta.other.s", "k"), ("beta.other.s", "l"), ("beta.other.t", "m")):
            sql.execute(
                "insert into _importers.run (tenant, stream, key, generation, kind, mode, table_name, version, plan)"
                """ values ('beta', %s, %s, 1, 'window', 'append', 's', 1, '{"partitions": []}')""",
                (stream, key),
            )
    with history.reading(other.warehouse) as connection:
        found = history.last_runs(connection, ["acme", "beta"])
        assert history.last_runs(connection, ["acme"]).keys() == {"acme.listening"}
    assert {name: [run.key for run in runs] for name, runs in found.items()} == {
        "acme.listening": ["second"],
        "beta.other": ["m", "l"],
    }


def test_nothing_has_begun_in_an_empty_database(empty_database: str) -> None:
    with history.reading(empty_database) as connection:
        assert not history.begun(connection)


def test_who_reads_history_cannot_write(merged: Site) -> None:
    with pytest.raises((ContractError, FatalSourceError)), history.reading(merged.warehouse) as connection:
        connection.execute("delete from _importers.receipt")
    with history.reading(merged.warehouse) as connection:
        assert history.runs(connection, "acme", limit=1)[0].loaded == len(good(SECOND))


def test_classes_that_the_ledger_has_are_told(merged: Site) -> None:
    with psycopg.connect(merged.warehouse, autocommit=True) as sql:
        sql.execute("update _importers.lineage set personal = 'online_id' where source = 'listener'")
    with history.reading(merged.warehouse) as connection:
        (table,) = history.tables(connection, "acme", "listening")
    assert {leaf.source: leaf.personal for leaf in table.lineage if leaf.personal} == {
        "listener": PersonalData.ONLINE_ID
    }
