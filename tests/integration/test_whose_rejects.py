"""A record that is no row, since one of its cells is of the wrong type, still says whose it is: an erasure finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from importers.core.erasure import Outcome
from importers.core.model import RunKind
from importers.core.tenant import Tenant
from importers.pipeline import rejects
from importers.pipeline.erase import Request, erase
from importers.pipeline.held import contents
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.staging.quarantine import RAW

ANN, BOB = "ann@example.org", "bob@example.org"
Rows = Sequence[tuple[int, str, str]]


def as_csv(rows: Rows) -> str:
    return "id,who,total\n" + "".join(f"{number},{who},{total}\n" for number, who, total in rows)


def as_jsonl(rows: Rows) -> str:
    of = '{{"id":{0},"who":"{1}","total":{2}}}\n'
    return "".join(of.format(n, who, total if total.isdigit() else f'"{total}"') for n, who, total in rows)


class Site:
    """A tenant whose totals have to be integers."""

    def __init__(self, root: Path, warehouse: str, importer: str) -> None:
        self.installation = Installation(root, warehouse, False, str(root / "staging"), str(root / "quarantine"))
        self.importer, self.file, self.numbers = importer, root / f"orders.{importer}", count(1)
        self.types: dict[str, str] = {"total": "integer"}
        self.load: dict[str, object] = {}
        self.columns, self.subject = {"id": "keep", "who": "pseudonymise", "total": "keep"}, "who"

    @property
    def tenant(self) -> Tenant:
        privacy = {
            "purpose": "tests",
            "lawful_basis": "contract",
            "subject": {"column": self.subject, "domain": "customer"},
            "columns": self.columns,
        }
        types = {} if self.importer == "xlsx" else {"types": self.types}
        pipeline = {
            "importer": "excel" if self.importer == "xlsx" else self.importer,
            "config": {"path": str(self.file), "stream": "orders", "on_change": "reload", **types},
            "quarantine": {"max_fraction": 1.0},
            "privacy": privacy,
            "load": self.load,
        }
        return Tenant.model_validate({"tenant": "acme", "pipelines": {"shop": pipeline}})

    def run(self, rows: Rows = (), *, replay: bool = False) -> Result:
        if rows and self.importer == "xlsx":
            said = [[n, who, int(total) if total.isdigit() else total] for n, who, total in rows]
            frame = pl.DataFrame(said, schema=["id", "who", "total"], orient="row", strict=False)
            frame.write_excel(self.file)
        elif rows:
            self.file.write_text((as_csv if self.importer == "csv" else as_jsonl)(rows))
        return self.deliver(replay=replay)

    def deliver(self, text: str = "", *, replay: bool = False) -> Result:
        if text:
            self.file.write_text(text)
        (job,) = jobs(self.installation, self.tenant, "shop", replay=replay)
        kind = RunKind.REPLAY if replay else RunKind.INCREMENTAL
        return run(job, f"run {next(self.numbers)}", kind, processes=1)

    def erased(self, *who: str) -> list[tuple[Outcome, int, int]]:
        receipt = erase(self.installation, self.tenant, Request(list(who), "dpo", domain="customer"))
        return [(p.outcome, p.rows, p.unknown) for p in receipt.places if p.kind == "quarantine"]

    def held(self) -> list[bytes]:
        (job,) = jobs(self.installation, self.tenant, "shop", replay=True)
        with closing(job):
            uris = [held.file.uri for held in contents(job.destination, job.tenant).held]
            key = job.keys.quarantine()
            return [raw for uri in uris for raw in job.quarantine.read(uri, key)[RAW].to_pylist()]


@pytest.fixture(params=["csv", "jsonl"])
def site(tmp_path: Path, database: str, encryption_key: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    return Site(tmp_path, database, request.param)


def test_one_odd_cell_hides_nobody(site: Site) -> None:
    first = site.run([(1, ANN, "much"), (2, BOB, "little"), (3, ANN, "7")])
    assert (first.rows_loaded, first.rows_quarantined) == (1, 2)
    assert site.erased(ANN) == [(Outcome.CLEAR, 1, 0)]
    (left,) = site.held()
    assert BOB.encode() in left
    again = site.run([(4, ANN, "much"), (5, BOB, "5"), (6, ANN, "8")])
    assert (again.rows_loaded, again.rows_suppressed, again.rows_quarantined) == (1, 2, 0)
    assert site.held() == [left]


def test_a_replay_knows_whose_they_are_when_the_file_doesn_t_say_so_any_more(site: Site) -> None:
    site.run([(1, ANN, "much"), (2, BOB, "little")])
    site.file.unlink()
    replayed = site.run(replay=True)
    assert (replayed.rows_read, replayed.rows_quarantined) == (2, 2)
    assert site.erased(ANN) == [(Outcome.CLEAR, 1, 0)]
    (left,) = site.held()
    assert BOB.encode() in left


def test_of_very_many_it_is_known_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV is read again at once, however many there are; an object of JSON says it by itself."""
    monkeypatch.setattr(rejects, "READ_AGAIN", 1)
    site.run([(1, BOB, "little"), (2, ANN, "much"), (3, ANN, "7")])
    assert site.erased(ANN) == [(Outcome.CLEAR, 1, 0)]


def test_a_record_that_isn_t_one_is_nobody_s(tmp_path: Path, database: str, encryption_key: str) -> None:
    site = Site(tmp_path, database, "csv")
    site.run([(1, f"{ANN},{BOB}", "much"), (2, ANN, "7")])
    assert site.erased(ANN) == [(Outcome.CLEAR, 0, 1)]


def test_a_record_that_says_no_person_or_two_is_nobody_s(tmp_path: Path, database: str, encryption_key: str) -> None:
    site = Site(tmp_path, database, "jsonl")
    whose = [f'["{ANN}"]', "{}", "[]", "true", f'{{"id":"{ANN}"}}', f'"{BOB}","who":"{ANN}"', f'"{ANN}"']
    text = "".join(f'{{"id":1,"total":"x","who":{who}}}\n' for who in whose)
    found = site.deliver(f'{{"id":1,"total":1,"who":"{BOB}"}}\n{text}')
    assert (found.rows_loaded, found.rows_quarantined) == (1, len(whose))
    assert site.erased(ANN) == [(Outcome.CLEAR, 1, len(whose) - 2)]  # true is a text, if one that is nobody's


def test_another_key_that_is_there_twice_hides_nobody(tmp_path: Path, database: str, encryption_key: str) -> None:
    """The subject's own does, wherever it stands."""
    site = Site(tmp_path, database, "jsonl")
    site.types = {}
    site.columns, site.subject = {"id": "keep", "user.id": "pseudonymise", "user.plan": "keep"}, "user.id"
    of = f'"user":{{"id":"{ANN}","plan":"p"}}'
    within = f'"user":{{"id":"{ANN}","plan":"p","plan":"q"}}'
    unsaid = f'"user":{{"id":"{ANN}","plan":"p","id":"{BOB}"}}'
    bad = [f'"id":2,"id":3,{of}', f'"id":4,{within}', f'"id":5,{unsaid}', f'"id":6,{of},{of}']
    found = site.deliver("".join(f"{{{one}}}\n" for one in (f'"id":1,{of}', *bad)))
    assert (found.rows_loaded, found.rows_quarantined) == (1, len(bad))
    assert site.erased(ANN) == [(Outcome.CLEAR, 2, 2)]


def test_a_file_without_the_subject_s_column_has_nobody_s_records(
    tmp_path: Path, database: str, encryption_key: str
) -> None:
    site = Site(tmp_path, database, "csv")
    site.load = {"optional": ["who"]}
    site.run([(1, ANN, "1")])
    found = site.deliver("id,total\n2,much\n3,3\n")
    assert (found.rows_loaded, found.rows_quarantined) == (1, 1)
    assert site.erased(ANN) == [(Outcome.CLEAR, 0, 1)]


@pytest.mark.parametrize(
    "bad", ['{"id":3,"user":"x"}', '{"id":3,"user":[7]}', '{"id":3,"user":{"plan":"p"}}', '{"id":3,"user":7}']
)
def test_an_object_that_is_none_keeps_its_row_out_as_nobody_s(
    tmp_path: Path, database: str, encryption_key: str, bad: str
) -> None:
    site = Site(tmp_path, database, "jsonl")
    site.types, site.load = {}, {"schema_change": "discard"}
    site.columns, site.subject = {"id": "keep", "user.id": "pseudonymise", "user.plan": "keep"}, "user.id"
    site.deliver('{"id":1,"user":{"id":"ann","plan":"p"}}\n')
    kept = site.deliver(f"{bad}\n")
    assert (kept.rows_loaded, kept.rows_quarantined) == (0, 1)


def test_whose_a_bad_row_is_says_its_subject_in_the_agreed_type(
    tmp_path: Path, database: str, encryption_key: str
) -> None:
    """A fraction in the sample makes floats of a column of integers, and 1.2345678901e+10 is nobody's number."""
    site = Site(tmp_path, database, "csv")
    site.load = {"schema_change": "quarantine"}
    site.run([(1, "12345678901", "1")])
    bad = site.run([(2, "12345678901", "much"), (3, "12345678901", "7"), (4, "7.5", "7")])
    assert (bad.rows_loaded, bad.rows_quarantined) == (1, 2)
    site.types = {}
    site.run([(5, "12345678901", "x"), (6, "7.5", "7")])
    assert site.erased("12345678901") == [(Outcome.CLEAR, 1, 0), (Outcome.CLEAR, 1, 0)]


def test_a_record_whose_quote_is_never_closed_is_nobody_s_and_no_row_of_a_replay(
    tmp_path: Path, database: str, encryption_key: str
) -> None:
    """It holds the lines after it, and their persons."""
    site = Site(tmp_path, database, "csv")
    site.deliver(f'id,who,total\n1,{BOB},7\n2,"{ANN},7\n3,{BOB},7\n')
    assert site.erased(BOB) == [(Outcome.CLEAR, 0, 1)]
    replayed = site.run(replay=True)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (0, 1)
    assert site.held() == [f'2,"{ANN},7\n3,{BOB},7\n'.encode()]
