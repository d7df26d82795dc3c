"""What is read again ends what it put into quarantine before; what isn't, stays, and keeps nobody out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import psycopg
import pyarrow as pa
import pytest
from import_site import PIPELINE, RULES, Inspector, Row, Site, write
from older_ledger import downgrade

from importers.core.model import LoadMode, RunKind, Window
from importers.core.source import Source
from importers.core.tenant import Tenant
from importers.exceptions import ContractError, QualityError
from importers.pipeline import extract, finish, gate, load
from importers.pipeline.jobs import jobs
from importers.pipeline.plan import plan
from importers.pipeline.run import run
from importers.pipeline.superseded import ReadAgain
from importers.sources.files.csv import Csv

BAD: Row = (7, 7, "listener 2", "bad by its score", -1)
FILES = {"plays_1.csv": [(n, n, f"listener {n % 5}", f"track {n}", n) for n in range(1, 7)] + [BAD]}
Make: TypeAlias = Callable[[LoadMode], tuple[Site, Inspector]]


@pytest.fixture
def make(database: str, encryption_key: str, tmp_path: Path) -> Iterator[Make]:
    """A site whose file has a bad row, in quarantine."""
    with psycopg.connect(database, autocommit=True) as sql:

        def made(mode: LoadMode) -> tuple[Site, Inspector]:
            site = Site.make(tmp_path, database, "acme", mode, partitions=1)
            for name, rows in FILES.items():
                write(site.data / name, rows)
            site.run("first")
            return site, Inspector(site, sql)

        yield made


def mended(site: Site) -> Site:
    """Only the rule that the row broke is gone: plays are still unique."""

    class Mended(Site):
        @property
        def definition(self) -> Tenant:
            said = super().definition.model_dump(exclude_unset=True)
            said["pipelines"][PIPELINE]["expect"] = RULES[1:]
            return Tenant.model_validate(said)

    return Mended(**{name: getattr(site, name) for name in site.__dataclass_fields__})


def plays(look: Inspector) -> dict[int, list[int]]:
    return {run: sorted(map(int, found.elements())) for run, found in look.quarantined().items()}


@pytest.mark.parametrize("mode", [LoadMode.MERGE, LoadMode.REPLACE])
def test_a_full_refresh_ends_what_it_reads_again(make: Make, mode: LoadMode) -> None:
    site, look = make(mode)
    again = site.run("again", full_refresh=True)
    assert plays(look) == {again.run: [7]}  # the registry and the disk


def test_a_refreshed_row_is_replayed_once(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    site.run("again", full_refresh=True)
    result = mended(site).replay("mend")
    assert (result.rows_loaded, result.rows_quarantined) == (1, 0)
    look.table_is(FILES["plays_1.csv"])


def test_a_refresh_that_loads_the_row_leaves_nothing_to_replay(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    mended(site).run("again", full_refresh=True)
    assert plays(look) == {}
    assert mended(site).replay("mend").rows_read == 0
    look.table_is(FILES["plays_1.csv"])


def test_what_is_gone_from_the_source_stays(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    (site.data / "plays_1.csv").unlink()
    write(site.data / "plays_2.csv", [(9, 9, "listener 4", "another", 9)])
    site.run("again", full_refresh=True)
    assert list(plays(look).values()) == [[7]]
    assert mended(site).replay("mend").rows_loaded == 1
    look.table_is(sorted([*FILES["plays_1.csv"], (9, 9, "listener 4", "another", 9)]))


def test_a_file_that_is_read_in_another_way_is_another(make: Make) -> None:
    """The line that was bad isn't read any more: it is in no table, and must stay in quarantine."""
    site, look = make(LoadMode.MERGE)
    definition = site.definition.model_dump(exclude_unset=True)
    definition["pipelines"][PIPELINE]["config"]["skip_footer"] = 1
    (job,) = jobs(site.installation, Tenant.model_validate(definition), PIPELINE)
    again = run(job, "again", full_refresh=True, processes=1)
    assert (again.rows_loaded, again.rows_quarantined) == (6, 0)
    assert list(plays(look).values()) == [[7]]


def test_a_file_that_changed_is_another(make: Make) -> None:
    """Its old row may be the only one there was of its key. Replayed beside the new one it gives way to it."""
    site, look = make(LoadMode.MERGE)
    newer = (7, 7, "listener 2", "bad once more", -2)
    write(site.data / "plays_1.csv", [*FILES["plays_1.csv"][:-1], newer])
    site.run("again")
    assert list(plays(look).values()) == [[7], [7]]
    result = mended(site).replay("mend")
    assert (result.rows_loaded, result.rows_quarantined) == (2, 0)
    look.table_is([*FILES["plays_1.csv"][:-1], newer])
    assert plays(look) == {}


@pytest.mark.parametrize("mode", [LoadMode.MERGE, LoadMode.APPEND])
def test_quarantine_of_several_files_of_which_one_changed_stays_and_is_told(make: Make, mode: LoadMode) -> None:
    site, look = make(mode)
    for bad in (20, 30):
        good = [(n, n, "listener 1", "good", 1) for n in range(bad + 1, bad + 5)]
        write(site.data / f"plays_{bad}.csv", [(bad, bad, "listener 0", "bad", -1), *good])
    second = site.run("second")
    assert second.notes == ()
    write(site.data / "plays_30.csv", [(30, 30, "listener 0", "mended", 1)])
    with closing(site.job) as job:
        look.sql.execute(f"drop table acme.{job.stream.target}{'' if mode is LoadMode.APPEND else '__rows cascade'}")
    again = site.run("again")
    assert plays(look) == {second.run: [20, 30], again.run: [7, 20]}
    (note,) = [note for note in again.notes if "quarantine" in note]
    assert note.endswith(f"importers quarantine discard acme.{PIPELINE} --run {second.run}")
    assert mended(site).replay("mend").rows_loaded == (3 if mode is LoadMode.APPEND else 4)
    rows = [*FILES["plays_1.csv"], (20, 20, "listener 0", "bad", -1)]
    rows += [(n, n, "listener 1", "good", 1) for n in range(21, 25)]
    older = [(30, 30, "listener 0", "bad", -1)] if mode is LoadMode.APPEND else []  # as said in the note
    look.table_is(sorted([*rows, *older, (30, 30, "listener 0", "mended", 1)]))
    assert plays(look) == {}


def test_the_same_key_of_one_delivery_is_still_bad_when_it_is_replayed(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    twice = [(20, 20, "listener 0", "one", 1), (20, 21, "listener 0", "other", 1)]
    write(site.data / "plays_2.csv", [*[(n, n, "listener 1", "good", 1) for n in range(10, 14)], *twice])
    site.run("second")
    for key in ("mend", "mend again"):  # the second reads what the first put back
        result = mended(site).replay(key)
        assert result.rows_quarantined == 2
    assert list(plays(look).values()) == [[20, 20]]


def test_a_refresh_that_fails_ends_nothing(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    (before,) = plays(look)
    definition = site.definition.model_dump(exclude_unset=True)
    definition["pipelines"][PIPELINE]["quarantine"] = {"max_fraction": 0.0}
    (job,) = jobs(site.installation, Tenant.model_validate(definition), PIPELINE)
    with pytest.raises(QualityError):
        run(job, "again", full_refresh=True, processes=1)
    assert plays(look)[before] == [7]
    assert mended(site).replay("mend").rows_loaded == 1


@pytest.mark.parametrize("ended_by", ["the same run again", "a sweep"])
def test_what_a_crash_after_the_commit_leaves_is_deleted(
    make: Make, monkeypatch: pytest.MonkeyPatch, ended_by: str
) -> None:
    site, look = make(LoadMode.MERGE)
    (old,) = (site.root / "quarantine").rglob("*.parquet")
    with monkeypatch.context() as patch:
        patch.setattr("importers.pipeline.finish.forget", _die)
        with pytest.raises(KeyboardInterrupt):
            site.run("again", full_refresh=True)
    assert old.exists()
    assert mended(site).replay("mend").rows_loaded == 1  # of the two copies the new one alone
    if ended_by == "a sweep":
        look.sweep()
    else:
        site.run("again", full_refresh=True)
    assert not old.exists()
    assert plays(look) == {}


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_replay_holds_stays_its_own(make: Make) -> None:
    """It may have loaded rows already. Aborted, it gives the file back: what is replayed gives way to the newer row."""
    site, look = make(LoadMode.MERGE)
    with closing(mended(site).job) as job:
        claimed = plan(job, "open", RunKind.REPLAY)
        again = site.run("again", full_refresh=True)
        assert look.ask("select replayed_by, superseded_by from _importers.quarantine order by run") == [
            (claimed.id, None),
            (None, None),
        ]
        job.destination.abort(claimed, job.stream)
    assert sorted(plays(look).values()) == [[7], [7]]
    assert again.run in plays(look)
    assert mended(site).replay("mend").rows_loaded == 2
    look.table_is(FILES["plays_1.csv"])
    assert plays(look) == {}


def test_what_was_put_there_since_the_refresh_began_stays(make: Make) -> None:
    """By a backfill, which read the file later."""
    site, look = make(LoadMode.MERGE)
    with closing(site.job) as job:
        opened = plan(job, "again", full_refresh=True)
        extract.stage(job, opened, 0)
        passed = gate.gate(job, opened)
        load.load(job, passed.run, 0)
        backfill = site.run("backfill", window=Window("2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"))
        finish.commit(job, passed.run)
        finish.clean(job, opened)
    assert plays(look) == {opened.id: [7], backfill.run: [7]}


@pytest.mark.parametrize("dies", [False, True])
def test_what_a_replay_holds_isn_t_appended_beside_what_was_read_anew(make: Make, *, dies: bool) -> None:
    """Its table was dropped, and has its row again by the time at which it would commit."""
    site, look = make(LoadMode.APPEND)
    whose = mended(site)
    with closing(whose.job) as job:
        opened = plan(job, "replay", RunKind.REPLAY)
        extract.stage(job, opened, 0)
        passed = gate.gate(job, opened)
        look.sql.execute(f"drop table acme.{job.stream.target}")
        whose.run("again")
        if not dies:
            load.load(job, passed.run, 0)
            with pytest.raises(ContractError, match="read again from the source"):
                finish.commit(job, passed.run)
            finish.clean(job, opened)
    assert whose.replay("next").rows_loaded == 0
    look.table_is(FILES["plays_1.csv"])
    assert plays(look) == {}


def test_a_replay_of_several_files_is_refused_once_one_of_them_was_read_anew(make: Make) -> None:
    """None of its quarantine ended with that, as the other file is gone."""
    site, look = make(LoadMode.APPEND)
    bad = [(n, n, "listener 0", "bad", -1) for n in (20, 30)]
    good = [(n, n, "listener 1", "good", 1) for n in range(40, 48)]
    write(site.data / "plays_2.csv", [bad[0], *good[:4]])
    write(site.data / "plays_3.csv", [bad[1], *good[4:]])
    site.run("second")
    whose = mended(site)
    with closing(whose.job) as job:
        opened = plan(job, "replay", RunKind.REPLAY)
        extract.stage(job, opened, 0)
        extract.stage(job, opened, 1)
        passed = gate.gate(job, opened)
        (site.data / "plays_3.csv").unlink()
        look.sql.execute(f"drop table acme.{job.stream.target}")
        whose.run("again")
        load.load(job, passed.run, 0)
        load.load(job, passed.run, 1)
        with pytest.raises(ContractError, match="read again from the source"):
            finish.commit(job, passed.run)
        finish.clean(job, opened)
    assert whose.replay("next").rows_loaded == 1
    look.table_is([*FILES["plays_1.csv"], *bad, *good[:4]])


@pytest.mark.parametrize(
    ("place", "is_in"),
    [
        ("/data/a.csv:line 2", True),
        ("/data/a.csv@byte 17, line 3", True),
        ("/data/a.xlsx!Sheet: one!:row 4", True),
        ("/data/z.zip!a.csv:line 2", True),
        ("/data/z.zip!b.csv:line 2", False),
        ("/data/a.csv:line 2:line 2", False),  # a file of that name
        ("/data/a.csv.gz:line 2", False),
        ("/data/z.zip:line 2", False),
        (None, False),
    ],
)
def test_whose_file_a_place_is_in(place: str | None, is_in: bool) -> None:
    there = ["/data/a.csv", "/data/a.xlsx", "/data/z.zip!a.csv"]
    others = ["/data/z.zip!b.csv", "/data/a.csv:line 2", "/data/a.csv.gz"]
    again = ReadAgain(frozenset([*there, *others]), frozenset(there))
    assert again.of(pa.array([place], pa.string())).to_pylist() == [is_in]


def test_in_a_history_every_read_is_a_version(make: Make) -> None:
    site, look = make(LoadMode.HISTORY)
    site.run("again", full_refresh=True)
    assert list(plays(look).values()) == [[7], [7]]


@pytest.mark.parametrize(("mode", "stay"), [(LoadMode.MERGE, 2), (LoadMode.REPLACE, 1)])
def test_a_source_that_can_t_say_what_it_read_ends_only_what_has_no_place_any_more(
    make: Make, monkeypatch: pytest.MonkeyPatch, mode: LoadMode, stay: int
) -> None:
    monkeypatch.setattr(Csv, "unchanging", Source.unchanging)
    site, look = make(mode)
    again = site.run("again", full_refresh=True)
    assert len(plays(look)) == stay
    assert plays(look)[again.run] == [7]


def test_an_older_ledger_gives_up_what_was_superseded(make: Make) -> None:
    site, look = make(LoadMode.MERGE)
    again = site.run("again", full_refresh=True)
    downgrade(site.warehouse, "0009")
    with closing(site.job) as job:  # which migrates
        assert [held.run for held in job.destination.quarantine().held()] == [again.run]
    assert plays(look) == {again.run: [7]}
