"""`importers erase`: a person goes from every place that the receipt calls clear, stays out, and is named nowhere."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from click.testing import CliRunner
from command_line import answer, call
from crash_points import OF_ERASURES
from import_site import SECOND, Inspector, Site, good
from victims import Victims

from importers.cli.main import main
from importers.core.erasure import Outcome, Place
from importers.core.model import LoadMode
from importers.destinations._control import ERASE, lock
from importers.destinations._erasure import Known, lift, suppress
from importers.exceptions import ConfigError
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.erase import Request, erase, tokens_of
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs, resume
from importers.pipeline.tenants import read_tenant
from importers.privacy.domains import Domains

MakeSite: TypeAlias = Callable[[LoadMode], tuple[Site, psycopg.Connection[Any]]]

TENANT = """\
tenant: acme
privacy: {purpose: tests, lawful_basis: contract}
pipelines:
  plays:
    importer: csv
    config: {path: DATA/plays_*.csv, stream: plays}
    quarantine: {max_fraction: 0.9}
    expect:
      - expect_column_values_to_be_between: {column: score, min_value: 0}
    privacy:
      subject: {column: listener, domain: listener}
      columns: {id: keep, listener: pseudonymise, friend: pseudonymise, score: keep}
  members:
    importer: csv
    config: {path: DATA/members_*.csv, stream: members}
    load: {mode: merge, primary_key: id}
    privacy:
      subject: {column: name, domain: listener}
      columns: {id: keep, name: TREATMENT, town: keep}
  orders:
    importer: csv
    config: {path: DATA/orders_*.csv, stream: orders}
    privacy:
      subject: {column: customer, domain: customer}
      columns: {id: keep, customer: drop}
  songs:
    importer: csv
    config: {path: DATA/songs.csv, stream: songs}
    privacy:
      subject: {none: true, reason: songs as published}
      columns: {title: keep}
"""
ANN, BOB = "Canary Ann", "canary bob"
FILES = {
    "plays_1.csv": f"id,listener,friend,score\n1,{ANN},,1\n2,{BOB},{ANN},2\n3,{ANN},{BOB},-3\n4,{BOB},,-4\n5,,,-5\n"
    "broken\n",
    "members_1.csv": f"id,name,town\n1,{ANN},Ulm\n2,{BOB},Linz\n3,,Graz\n",
    "orders_1.csv": f"id,customer\n1,{ANN}\n2,{BOB}\n",
    "songs.csv": "title\nCanary in a Coal Mine\n",
}
PIPELINES = ("plays", "members", "orders", "songs")
TABLES = {"acme.plays": (1, 0), "acme.members__rows": (1, 1), "acme.orders": (0, 0)}
"""Of Ann's rows, and of nobody's, in each."""
NEW = ("--yes", "--domain", "listener")


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGNAME", "dpo")
    describe(home)
    for name, text in FILES.items():
        (home / name).write_text(text)
    return home


def describe(home: Path, treatment: str = "keep") -> None:
    text = TENANT.replace("DATA", str(home)).replace("TREATMENT", treatment)
    (home / "tenants/acme.yaml").write_text(text)


@pytest.fixture
def loaded(home: Path) -> Path:
    for pipeline in PIPELINES:
        call("run", f"acme.{pipeline}")
    return home


def placed(receipt: Any, *outcomes: str) -> dict[str, tuple[int, int]]:
    """Rows and unknown ones by place; a quarantine file's is its pipeline."""
    return {
        place["name"].split("/acme/")[-1].split("/")[0]: (place["rows"], place["unknown"])
        for place in receipt["places"]
        if place["outcome"] in (outcomes or ("clear",))
    }


def ids(sql: psycopg.Connection[Any], table: str) -> list[int]:
    return [row[0] for row in sql.execute(f"select id from acme.{table} order by id").fetchall()]  # type: ignore[arg-type]


def quarantined() -> list[Any]:
    shown = answer("quarantine", "show", "acme.plays", "--unmasked")
    return [row["listener"] or None for file in shown for row in file["rows"]]


def test_a_person_goes_from_every_place_and_stays_out(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    receipt = answer("erase", "acme", f" {ANN.upper()} ", *NEW, "--reason", "ticket 7")
    assert placed(receipt) == {
        "acme.plays": (1, 0),
        "acme.members__rows": (1, 1),
        "acme.orders": (0, 0),
        "plays": (1, 2),
    }
    assert placed(receipt, "stays") == {
        "acme.plays.friend": (1, 0),
        "acme.songs": (0, 0),
        "of the warehouse and of quarantine": (0, 0),
        **{f"acme.{name} (csv)": (0, 0) for name in PIPELINES},
    }
    assert (receipt["asked_by"], receipt["reason"], receipt["domain"]) == ("dpo", "ticket 7", "listener")
    assert receipt["finished_at"] is not None
    assert (ids(sql, "plays"), ids(sql, "members"), ids(sql, "orders")) == ([2], [2, 3], [1, 2])
    assert quarantined() == [BOB, None]
    (file,) = answer("quarantine", "list", "acme.plays")
    assert (file["rows"], file["reasons"]["expect_column_values_to_be_between(score)"]) == (3, 2)

    (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{ANN},,6\n7,{ANN},,-7\n8,{BOB},,-8\n9,{BOB},,9\n")
    (loaded / "members_2.csv").write_text(f"id,name,town\n1,{ANN},Ulm\n")
    (again,) = answer("run", "acme.plays")
    counts = [again[f"rows_{what}"] for what in ("read", "loaded", "quarantined", "suppressed")]
    assert counts == [4, 1, 1, 2]
    assert again["quarantined_by_rule"] == {"expect_column_values_to_be_between(score)": 1}
    assert answer("run", "acme.members")[0]["rows_suppressed"] == 1
    assert (ids(sql, "plays"), ids(sql, "members")) == ([2, 9], [2, 3])
    assert sorted(map(str, quarantined())) == ["None", BOB, BOB]
    assert sum(row for row, _ in placed(answer("erase", "acme", ANN, *NEW)).values()) == 0


def test_nothing_names_the_person_afterwards(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    told = call("erase", "acme", "--from", "-", *NEW, says=f"{ANN}\n\n{BOB}\n").output
    told += call("erase", "acme", "--from", "-", *NEW, "--json", says=f"{ANN}\n{BOB}\n").output
    told += call("erase", "acme", ANN, " ", *NEW, code=2).output
    told += call("erase", "acme", ANN, "--yes", "--domain", "no_such", code=2).output
    tables = sql.execute("select tablename from pg_tables where schemaname = '_importers'").fetchall()
    told += "".join(str(sql.execute(f"select t::text from _importers.{name} t").fetchall()) for (name,) in tables)  # type: ignore[arg-type]
    assert "2 subjects" in told
    assert "canary" not in told.lower()
    found = sql.execute("select listener::text from acme.plays union select _subject::text from acme.members__rows")
    tokens = {token for (token,) in found.fetchall()} - {None}
    with closing(destination()) as at:
        eraser = at.eraser()
        assert {row[0].hex() for row in sql.execute("select token from _importers.suppression").fetchall()} == {
            token.hex()
            for token in at._blind(tokens_of(Domains(keys()), "listener", [ANN, BOB]))  # type: ignore[attr-defined]
        }
        assert eraser.domains() == {"listener", "customer"}
    assert not any(token.replace("-", "") in told for token in tokens)


def keys() -> Any:
    return Installation.from_environment().keyring().tenant("acme")


def destination() -> Any:
    return Installation.from_environment().open_destination("erase", keys())


def test_trying_out_counts_and_changes_nothing(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    before = {file: file.read_bytes() for file in (loaded / "home/quarantine").rglob("*.parquet")}
    tried = answer("erase", "acme", ANN, "--domain", "listener", "--dry-run")
    assert (tried["id"], tried["finished_at"]) == (None, None)
    assert (ids(sql, "plays"), ids(sql, "members")) == ([1, 2], [1, 2, 3])
    assert before == {file: file.read_bytes() for file in (loaded / "home/quarantine").rglob("*.parquet")}
    assert sql.execute("select from _importers.suppression union all select from _importers.erasure").fetchall() == []
    assert placed(tried) == placed(answer("erase", "acme", ANN, *NEW))


def test_who_is_found_nowhere_is_told_as_such_and_not_named(loaded: Path) -> None:
    for options in (["--dry-run"], ["--yes"]):
        done = CliRunner().invoke(main, ["erase", "acme", "Canary Nobody", "--domain", "listener", *options])
        assert done.exit_code == 0
        assert "nothing of this subject was found in 3 tables and 1 quarantine file: is it spelt as" in done.stderr
        assert "Nobody" not in done.output
    assert "erasure no. 1, of 1 subject: 0 rows went, finished" in done.stdout
    assert "upper and lower case and white space around a subject don't count" in done.stderr


def test_an_answer_names_files_by_what_they_are_of_and_the_receipt_by_their_place(
    loaded: Path, sql: psycopg.Connection[Any]
) -> None:
    told = call("erase", "acme", ANN, *NEW).stdout
    (run,) = sql.execute("select run from _importers.quarantine").fetchone() or ()
    assert f"acme.plays.plays run {run} partition 0" in " ".join(told.split())
    assert "file:" not in told
    kept = sql.execute("select name from _importers.erasure_place where kind = 'quarantine'").fetchall()
    assert kept == sql.execute("select uri from _importers.quarantine").fetchall()


def test_who_was_erased_already_is_told_by_which_erasure(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    call("erase", "acme", ANN, *NEW)
    (day,) = sql.execute("select to_char(finished_at, 'YYYY-MM-DD') from _importers.erasure").fetchone() or ()
    told = f"by erasure no. 1 on {day}; 0 rows are left in 3 tables and 1 quarantine file"
    for options in (["--dry-run"], ["--yes"]):
        again = call("erase", "acme", ANN.lower(), "--domain", "listener", *options)
        assert f"this subject was erased already, {told}\n" in again.stderr
    mixed = call("erase", "acme", ANN, "Canary Nobody", *NEW).stderr
    assert "1 of 2 subjects were erased already, by erasure no. 2" in mixed
    assert "are the others spelt as at the source?" in mixed
    (earlier,) = answer("erase", "acme", ANN, *NEW)["earlier"]
    assert (earlier["erasure"], "finished_at" in earlier) == (3, True)


def test_who_was_erased_by_mistake_is_let_in_again(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    answer("erase", "acme", ANN, *NEW)
    receipt = answer("readmit", "acme", f" {ANN.upper()} ", *NEW, "--reason", "ticket 8")
    assert (receipt["asked_by"], receipt["reason"], receipt["domain"]) == ("dpo", "ticket 8", "listener")
    kept = sql.execute("select id, tenant, domain, asked_by, reason, subjects from _importers.readmission").fetchall()
    assert kept == [(1, "acme", "listener", "dpo", "ticket 8", [bytes.fromhex(receipt["subjects"][0])])]
    assert (ids(sql, "plays"), ids(sql, "members")) == ([2], [2, 3])  # no row came back
    (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{ANN},,6\n7,{ANN},,-7\n8,{BOB},,8\n")
    (run,) = answer("run", "acme.plays")
    assert [run[f"rows_{what}"] for what in ("loaded", "quarantined", "suppressed")] == [2, 1, 0]
    assert ids(sql, "plays") == [2, 6, 8]
    call("erase", "acme", ANN, *NEW)  # and may be erased again
    (loaded / "plays_3.csv").write_text(f"id,listener,friend,score\n9,{ANN},,6\n")
    assert answer("run", "acme.plays")[0]["rows_suppressed"] == 1
    assert ids(sql, "plays") == [2, 8]


def test_only_who_is_kept_out_can_be_let_in(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    call("erase", "acme", ANN, *NEW)
    told = call("readmit", "acme", ANN, BOB, *NEW, code=2).stderr
    assert "1 of 2 aren't on the list of the erased in the domain 'listener'" in told
    assert (ANN in told, BOB in told) == (False, False)
    sql.execute("update _importers.erasure set finished_at = null")
    assert "isn't finished; got erasure no. 1" in call("readmit", "acme", ANN, *NEW, code=2).stderr
    assert sql.execute("select from _importers.readmission").fetchall() == []
    sql.execute("update _importers.erasure set finished_at = now()")
    assert "no row came back" in call("readmit", "acme", ANN, *NEW).stderr
    call("readmit", "acme", ANN, *NEW, code=2)


def test_an_erasure_that_another_process_has_finished_deletes_nothing_of_who_was_let_in_since(
    loaded: Path, sql: psycopg.Connection[Any]
) -> None:
    installation = Installation.from_environment()
    keys = installation.keyring().tenant("acme")
    with closing(installation.open_destination("erase", keys)) as destination:
        eraser, whom = destination.eraser(), tokens_of(Domains(keys), "listener", [ANN])
        number = eraser.begin("listener", whom, "tests", "").erasure
        call("erase", "acme", ANN, *NEW)  # the same, by another process
        call("readmit", "acme", ANN, *NEW)
        (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{ANN},,6\n")
        call("run", "acme.plays")
        for table in eraser.tables():
            with pytest.raises(ConfigError, match="let in again"):
                eraser.erase(number, table, "listener", whom)
        with pytest.raises(ConfigError, match="let in again"), eraser.alone("listener", whom):
            pass
    assert ids(sql, "plays") == [2, 6]


def test_the_list_is_read_on_from_where_it_was_read(home: Path, sql: psycopg.Connection[Any], database: str) -> None:
    """Whoever began to erase first may be listed last: nobody is missed, and nobody is read twice."""
    installation = Installation.from_environment()
    with closing(installation.open_destination("plays", installation.keyring().tenant("acme"))) as destination:
        assert len(destination.erased("listener")) == 0  # which makes the tables
    known = Known()
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        first.execute("select now()")  # its transaction's moment, before the other's
        for connection, others, blinded in ((second, [b"3"], b"2"), (first, [], b"1")):  # with numbers one apart
            lock(connection, ERASE, "acme")
            suppress(connection, "acme", "another", others)
            suppress(connection, "acme", "listener", [blinded])
            connection.commit()
            answer = known.ask(sql, "acme", "listener")
            assert answer.rowcount == 1
            known.learn(answer)
        assert known.tokens == {b"1", b"2"}
        assert known.ask(sql, "acme", "listener").rowcount == 0
        for change, expected in ((lift, {b"2"}), (suppress, {b"1", b"2"})):
            before = known.version
            change(sql, "acme", "listener", [b"1"])
            known.learn(known.ask(sql, "acme", "listener"))
            assert known.tokens == expected
            assert known.version > before


def test_killed_at_every_step_it_comes_to_the_same_end(
    loaded: Path, sql: psycopg.Connection[Any], victims: Victims
) -> None:
    listed = []
    for point in OF_ERASURES:
        assert victims.command("erase", "acme", ANN, *NEW, at=point).signal == signal.SIGKILL
        listed.append(len(sql.execute("select from _importers.suppression").fetchall()))
        assert [row[0] for row in sql.execute("select finished_at from _importers.erasure").fetchall()] == [
            None
        ] * listed[-1]
    assert listed == [0, 1, 1, 1, 1, 1]
    receipt = answer("erase", "acme", ANN, *NEW)
    assert receipt["finished_at"] is not None
    assert sql.execute("select count(*) from _importers.erasure").fetchall() == [(1,)]
    assert (ids(sql, "plays"), ids(sql, "members"), quarantined()) == ([2], [2, 3], [BOB, None])
    (file,) = answer("quarantine", "list", "acme.plays")
    assert file["rows"] == 3
    # What the file lost before the process that rewrote it died was on no receipt: less is told than was done.
    assert placed(receipt) == {
        "acme.plays": (1, 0),
        "acme.members__rows": (1, 1),
        "acme.orders": (0, 0),
        "plays": (0, 2),
    }


NESTED = """\
tenant: acme
privacy: {purpose: tests, lawful_basis: contract}
pipelines:
  calls:
    importer: json
    config: {path: DATA/calls.json}
    privacy:
      subject: {column: who, domain: listener}
      columns:
        {id: keep, who: pseudonymise, to: pseudonymise, via.by: pseudonymise, "with[].name": pseudonymise,
         "heard[]": pseudonymise, days: pseudonymise, other: {pseudonymise: {domain: song}}, said: keep}
"""


def test_others_rows_that_name_the_person_are_counted_by_place(home: Path, sql: psycopg.Connection[Any]) -> None:
    """In objects, lists of them and lists of texts, too; a leaf whose path has a value in it by its column."""
    (home / "tenants/acme.yaml").write_text(NESTED.replace("DATA", str(home)))
    nobody = {"to": BOB, "via": {"by": BOB}, "with": [{"name": BOB}], "heard": [BOB], "days": {"2024-01-01": BOB}}
    named = [
        {"to": ANN, "with": [{"name": BOB}, {"name": ANN}]},
        {"via": {"by": ANN}, "heard": [BOB, ANN, ANN]},
        {"with": [{"name": ANN}, {"name": ANN}]},
        {"days": {"2024-01-01": ANN}, "via": None, "heard": []},
        {"other": {"of": ANN}, "said": [ANN]},  # of another domain, and as it is
    ]
    whole = dict.fromkeys(nobody, ANN) | {"via": {"by": ANN}, "with": [{"name": ANN}], "heard": [ANN], "days": {}}
    rows = [nobody | {"other": {"of": BOB}, "said": [], "id": i, "who": BOB} | each for i, each in enumerate(named)]
    records = [*rows, nobody | whole | {"id": 9, "who": ANN, "other": {"of": ANN}, "said": []}]
    (home / "calls.json").write_text(json.dumps(records))
    call("run", "acme.calls")
    counted = {
        "acme.calls.to": (1, 0),
        "acme.calls.via.by": (1, 0),
        "acme.calls.with[].name": (2, 0),
        "acme.calls.heard[]": (1, 0),
        "acme.calls.days": (1, 0),
    }
    for more in ("--dry-run", "--yes"):
        receipt = answer("erase", "acme", ANN, "--domain", "listener", more)
        mentions = [place for place in receipt["places"] if place["kind"] == "mention"]
        assert placed({"places": mentions}, "stays") == counted
        assert placed(receipt)["acme.calls"] == (1, 0)
    assert ids(sql, "calls") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("treatment", ["drop", "encrypt", "{mask: initials}"])
def test_rows_are_found_whatever_their_column_was_treated_as(
    home: Path, sql: psycopg.Connection[Any], treatment: str
) -> None:
    call("run", "acme.members")
    describe(home, treatment)
    (home / "members_2.csv").write_text(f"id,name,town\n4,{ANN},Ulm\n5,{BOB},Ulm\n")
    if treatment == "drop":
        call("run", "acme.members")
    else:  # the column has got another type
        sql.execute("drop table acme.members__rows cascade")
        call("run", "acme.members", "--full-refresh")
    assert placed(answer("erase", "acme", ANN, *NEW))["acme.members__rows"] == (2, 1)
    assert ids(sql, "members") == [2, 3, 5]


def test_a_quarantine_that_can_t_be_reached_is_told_and_erased_later(
    loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORTERS_QUARANTINE", str(loaded / "elsewhere"))
    receipt = answer("erase", "acme", ANN, *NEW, code=3)
    assert receipt["finished_at"] is None
    assert placed(receipt, "failed") == {"plays": (0, 0)}
    monkeypatch.delenv("IMPORTERS_QUARANTINE")
    (file,) = (loaded / "home/quarantine").rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    assert placed(answer("erase", "acme", ANN, *NEW, code=3), "failed") == {"plays": (0, 0)}
    file.write_bytes(whole)
    later = answer("erase", "acme", ANN, *NEW)
    assert (later["id"], placed(later)["acme.plays"], placed(later)["plays"]) == (receipt["id"], (1, 0), (1, 2))
    assert later["finished_at"] is not None


def played(home: Path, subject: str) -> None:
    """The plays' subject is another column from now on."""
    file = home / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("subject: {column: listener,", f"subject: {{column: {subject},"))


def test_rows_of_others_stay_where_the_subject_was_another_column(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    """Whose a row is, says the column that was the subject's when it was loaded."""
    played(loaded, "friend")
    (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{ANN},{BOB},6\n7,{BOB},{ANN},7\n8,{ANN},,8\n")
    call("run", "acme.plays")
    receipt = answer("erase", "acme", ANN, *NEW)
    assert placed(receipt)["acme.plays"] == (2, 1)
    assert ids(sql, "plays") == [2, 6, 8]  # Bob's own, and nobody's; each names Ann in the other column
    stays = placed(receipt, "stays")
    assert (stays["acme.plays.friend"], stays["acme.plays.listener"]) == ((1, 0), (2, 0))


def renamed(home: Path, before: str, now: str) -> None:
    """What the file says of a subject from now on."""
    file = home / "tenants/acme.yaml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, now))


def test_who_was_erased_doesn_t_come_back_in_another_domain(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    call("erase", "acme", ANN, *NEW)
    renamed(loaded, "{column: name, domain: listener}", "{column: name, domain: fan}")
    (loaded / "members_2.csv").write_text(f"id,name,town\n4,{ANN},Ulm\n5,{BOB},Ulm\n")
    for flags in ([], ["--full-refresh"]):
        said = call("run", "acme.members", *flags, code=2).stderr
        assert "whoever was erased in the domain 'listener' would be loaded again" in said
        assert "1 person kept out of 'listener', by `name`" in said
    assert ids(sql, "members") == [2, 3]
    renamed(loaded, "{column: name, domain: fan}", "{column: name, domain: fan, formerly: listener}")
    assert "1 person kept out of 'listener', by `name`, 0 of 'fan'" in call("run", "acme.members", code=2).stderr
    call("erase", "acme", ANN, "--yes", "--domain", "fan")  # what the error says is to be done
    (run,) = answer("run", "acme.members")
    assert (run["rows_loaded"], run["rows_suppressed"]) == (1, 1)
    assert any("the subject is `name` of the domain 'fan' now" in note for note in run["notes"])
    assert ids(sql, "members") == [2, 3, 5]


def test_who_was_erased_doesn_t_come_back_as_nobody(loaded: Path) -> None:
    call("erase", "acme", ANN, *NEW)
    renamed(loaded, "{column: name, domain: listener}", "{none: true, reason: towns}")
    said = call("run", "acme.members", code=2).stderr
    assert "whoever was erased in the domain 'listener' would be loaded again: rows concern nobody now" in said
    assert "if no row is one of theirs, say `formerly: listener` with the subject" in said
    renamed(loaded, "reason: towns}", "reason: towns, formerly: listener}")
    call("run", "acme.members")


def test_who_was_erased_doesn_t_come_back_by_a_pipeline_of_another_name(loaded: Path) -> None:
    call("erase", "acme", ANN, *NEW)
    renamed(loaded, "{column: name, domain: listener}", "{column: name, domain: fan}")
    renamed(loaded, "  members:", "  people:")
    said = call("run", "acme.people", code=2).stderr
    assert "whoever was erased in the domain 'listener' would be loaded again" in said


def test_another_column_of_the_same_domain_is_told(loaded: Path) -> None:
    renamed(loaded, "{column: name, domain: listener}", "{column: town, domain: listener}")
    (loaded / "members_2.csv").write_text(f"id,name,town\n4,{BOB},Ulm\n")
    assert answer("run", "acme.members")[0]["notes"] == []  # nobody is kept out
    call("erase", "acme", ANN, *NEW)
    renamed(loaded, "{column: town, domain: listener}", "{column: name, domain: listener}")
    (loaded / "members_3.csv").write_text(f"id,name,town\n5,{BOB},Ulm\n")
    (note,) = answer("run", "acme.members")[0]["notes"]
    assert "before `town`: who was erased is kept out if it is named there alike" in note


def test_a_receipt_tells_of_rows_that_say_in_another_domain_whose_they_are(loaded: Path) -> None:
    assert not any(
        "another domain" in place["note"] for place in answer("erase", "acme", BOB, *NEW, "--dry-run")["places"]
    )
    for column in ("name", "listener"):
        renamed(loaded, f"{{column: {column}, domain: listener}}", f"{{column: {column}, domain: fan}}")
    (loaded / "members_2.csv").write_text(f"id,name,town\n4,{ANN},Ulm\n")
    (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{BOB},,6\n")
    call("run", "acme.plays")
    (run,) = answer("run", "acme.members")
    assert any("rows that earlier runs loaded by `--domain listener`" in note for note in run["notes"])
    told = {
        place["name"].split("/acme/")[-1].split("/")[0]: place
        for place in answer("erase", "acme", ANN, "--yes", "--domain", "fan")["places"]
        if place["outcome"] == "clear"
    }
    assert (told["acme.members__rows"]["rows"], told["acme.plays"]["rows"]) == (1, 0)
    assert "2 rows say whose they are in another domain" in told["acme.members__rows"]["note"]
    assert "2 rows say whose they are in another domain" in told["acme.plays"]["note"]
    assert "2 rows say whose they are in the domain 'listener'" in told["plays"]["note"]


def test_a_run_that_was_planned_for_another_subject_isn_t_repaired(loaded: Path) -> None:
    """The list of the erased would be asked for the plan's domain, with tokens of today's."""
    (loaded / "plays_2.csv").write_text(f"id,listener,friend,score\n6,{ANN},,6\n")
    installation, file = Installation.from_environment(), loaded / "tenants/acme.yaml"
    (job,) = jobs(installation, read_tenant(file).tenant, "plays")
    with closing(job):
        run = plan.plan(job, "planned")
    file.write_text(file.read_text().replace("column: listener, domain: listener", "column: listener, domain: fan"))
    job, run = resume(installation, read_tenant(file).tenant, "plays", run.id)
    with closing(job):
        extract.stage(job, run, 0)
        with pytest.raises(ConfigError, match="another subject than it did when this run was planned"):
            gate.gate(job, run)


def test_another_tenant_s_rows_stay(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    other = TENANT.replace("tenant: acme", "tenant: zeta").replace("DATA", str(loaded)).replace("TREATMENT", "keep")
    (loaded / "tenants/zeta.yaml").write_text(other)
    call("run", "zeta.plays")
    call("erase", "acme", ANN, *NEW)
    assert sql.execute("select id from zeta.plays order by id").fetchall() == [(1,), (2,)]
    (file,) = answer("quarantine", "list", "zeta")
    assert file["rows"] == 4


def test_what_has_to_be_said(loaded: Path) -> None:
    assert "customer, listener" in call("erase", "acme", ANN, "--yes", code=2).output
    assert "Did you mean 'listener'" in call("erase", "acme", ANN, "--yes", "--domain", "listeners", code=2).output
    assert "nobody is named" in call("erase", "acme", *NEW, code=2).output
    assert "standard input" in call("erase", "acme", "--from", "-", "--domain", "listener", code=2, says=ANN).output
    call("erase", "acme", ANN, "--domain", "listener", code=1, says="n\n")
    assert answer("erase", "acme", ANN, *NEW)["id"] == 1


def test_another_key_finds_nobody_and_so_is_refused(loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTION_KEY", "x" * 43 + "=")
    tenant = read_tenant(loaded / "tenants/acme.yaml").tenant
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match="ENCRYPTION_KEY isn't"):
            erase(Installation.from_environment(), tenant, Request([ANN], "tests", "listener", dry_run=dry_run))


@pytest.mark.parametrize(
    "readmits", [False, True], ids=["", "as another is let in, so that they are as many as before"]
)
def test_who_is_erased_while_a_run_is_judged_is_in_no_quarantine(a_site: MakeSite, readmits: bool) -> None:
    """All bad rows of the second file are of listener 0, two of them known to be bad only by the gate."""
    site, sql = a_site(LoadMode.APPEND)
    with closing(site.job) as job:
        eraser, another = job.destination.eraser(), tokens_of(Domains(job.keys), "listener", ["nobody"])
        if readmits:
            eraser.finish(eraser.begin("listener", another, "tests", ""))
        run = plan.plan(job, "second")
        for number in range(len(run.plan.partitions)):
            extract.stage(job, run, number)
        if readmits:
            eraser.readmit("listener", another, "tests", "")
        eraser.begin("listener", tokens_of(Domains(job.keys), "listener", ["listener 0"]), "tests", "")
        passed = gate.gate(job, run)
        assert sum(file.rows for file in passed.quarantined) == 1  # the line that is no row
        for number in range(len(run.plan.partitions)):
            load.load(job, passed.run, number)
        finish.commit(job, passed.run)
        receipts = job.destination.find(run.id).receipts.values()
        finish.clean(job, run)
    assert sum(receipt.suppressed for receipt in receipts) == len([row for row in SECOND if row[2] == "listener 0"])
    look = Inspector(site, sql)
    assert look.quarantined()[run.id].total() == 1
    assert not [row for row in look.rows() if row[3].startswith("second") and row[0] % 5 == 0]
    assert len(look.rows()) == 8 + len([row for row in good(SECOND) if row[2] != "listener 0"])


def test_an_open_run_s_files_are_erased_before_it_registers_them(a_site: MakeSite) -> None:
    site, _ = a_site(LoadMode.APPEND)
    with closing(site.job) as job:
        run = plan.plan(job, "second")
        for number in range(len(run.plan.partitions)):
            extract.stage(job, run, number)
        receipt = erase(site.installation, site.definition, Request(["listener 0"], "tests"))
        files = [place for place in receipt.places if place.kind == "quarantine"]
        assert sum(place.rows for place in files) == 1
        assert {place.outcome for place in files} == {Outcome.CLEAR}
        (staged,) = (place for place in receipt.places if place.kind == "staging")
        assert staged.outcome is Outcome.STAYS
        assert "PT24H" in staged.note
        assert sum(file.rows for file in gate.gate(job, run).quarantined) == 1


def test_a_row_that_comes_back_is_no_erasure(loaded: Path, sql: psycopg.Connection[Any]) -> None:
    sql.execute(
        "create function acme.nothing() returns trigger language plpgsql as 'begin return null; end'; "
        "create trigger keep before delete on acme.plays for each row execute function acme.nothing()"
    )
    receipt = answer("erase", "acme", ANN, *NEW, code=3)
    assert placed(receipt, "failed") == {"acme.plays": (0, 0)}
    assert receipt["finished_at"] is None
    assert ids(sql, "members") == [2, 3]  # the others are erased
    sql.execute("drop trigger keep on acme.plays")
    sql.execute("create table acme.copied as select * from acme.plays")
    receipt = answer("erase", "acme", ANN, *NEW)
    assert placed(receipt)["acme.plays"] == (1, 0)
    assert placed(receipt, "stays")["acme.copied"] == (0, 0)


def test_a_subject_s_token_is_what_the_rows_have() -> None:
    """By the formula of docs/privacy.md, in the standard library."""
    import hmac

    from importers.keys.keyring import Keyring

    of = Keyring([bytes(range(32))]).tenant("acme")
    expected = hmac.new(of.pseudonym("listener").hex().encode(), b"canary ann", "sha256").digest()[:16]
    assert tokens_of(Domains(of), "listener", ["Canary Ann", " canary ANN "]) == [expected]


def test_of_two_at_one_erasure_neither_hides_what_the_other_couldn_t_reach(loaded: Path) -> None:
    """The second begins after the first has failed at a place; the first isn't through, and then says what there is."""
    tokens = tokens_of(Domains(keys()), "listener", [ANN])
    with closing(destination()) as one, closing(destination()) as two:
        first, second = one.eraser(), two.eraser()
        early = first.begin("listener", tokens, "tests", "")
        first.note(
            early.erasure, [Place("table", "acme.plays", Outcome.FAILED), Place("table", "gone", Outcome.FAILED)]
        )
        late = second.begin("listener", tokens, "tests", "")
        assert late.erasure == early.erasure
        receipt = first.finish(early)
        assert receipt.finished_at is None
        assert [place.name for place in receipt.places] == ["acme.plays", "gone"]
        second.note(late.erasure, [Place("table", "acme.plays", Outcome.CLEAR, 1)])
        first.note(early.erasure, [Place("table", "acme.members__rows", Outcome.FAILED)])
        receipt = second.finish(late)  # "gone" failed before it began, and it hasn't found it
        assert receipt.finished_at is None
        assert {place.name: place.outcome for place in receipt.places} == {
            "acme.plays": Outcome.CLEAR,
            "acme.members__rows": Outcome.FAILED,
        }
