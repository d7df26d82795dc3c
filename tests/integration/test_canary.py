"""No personal value and no secret in anything that we write: unmistakable values are planted and looked for."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from importers.core.tenant import Tenant
from importers.exceptions import ImporterError, QualityError, TransientSourceError, UnclassifiedError
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run

CANARY = "zz-canary-7c1e-käfig"
"""Part of every planted value. Not ASCII, so that encodings show."""


def planted(kind: str) -> str:
    return f"{kind}.{CANARY}"


def forms(value: str) -> list[bytes]:
    """The value as it may lie about: plain, UTF-16, hex, base64 (at each of the three alignments), escaped."""
    plain, lower = value.encode(), value.lower().encode()
    found = [plain, lower, value.encode("utf-16-le"), value.encode("utf-16-be"), plain.hex().encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        found += [
            encoded[4 if shift else 0 : -4],
            encoded[4 if shift else 0 : -4].replace(b"+", b"-").replace(b"/", b"_"),
        ]
    return [*found, value.encode("unicode_escape"), repr(plain)[2:-1].encode()]


def found_in(data: bytes) -> list[bytes]:
    return [form for form in forms(CANARY) if form in data]


def test_the_search_finds_what_it_should() -> None:
    for hidden in (
        CANARY.encode(),
        ("x" + CANARY).encode("utf-16-le"),
        base64.b64encode(f"a{CANARY}bc".encode()),
        base64.b64encode(f"ab{CANARY}".encode()),
        CANARY.encode().hex().encode(),
    ):
        assert found_in(b"before" + hidden + b"after")


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Canaries in good rows, in a row that breaks a rule, in one that has a wrong type and in a malformed line."""
    lines = ["id,who,mail,ip,note,ms"]
    lines += [
        f"{n},{planted('who')}{n},{planted('mail')}@example.org,203.0.113.{n},{planted('note')},{n}" for n in range(50)
    ]
    lines += [f"50,{planted('bad')},{planted('bad')}@example.org,203.0.113.9,{planted('bad')},-1"]
    lines += [f"51,{planted('type')},{planted('type')}@example.org,203.0.113.9,{planted('type')},{planted('type')}"]
    lines += [f"52,{planted('short')}"]
    file = tmp_path / "data" / "plays.csv"
    file.parent.mkdir()
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def tenant(csv: Path, max_fraction: float = 0.5, **columns: Any) -> Tenant:
    policy = {
        "id": "keep",
        "ms": "keep",
        "who": "pseudonymise",
        "mail": "encrypt",
        "ip": {"mask": "ip_prefix"},
        "note": "drop",
    }
    policy = {name: treatment for name, treatment in (policy | columns).items() if treatment}
    pipeline = {
        "importer": "csv",
        "config": {"path": str(csv), "stream": "plays", "types": {"ms": "integer"}},
        "privacy": {"subject": {"column": "who", "domain": "listener"}, "columns": policy},
        "quarantine": {"max_fraction": max_fraction},
        "expect": [
            {"expect_column_values_to_be_between": {"column": "ms", "min_value": 0}},
            {"expect_column_values_to_be_unique": {"column": "id"}},
            {"expect_column_values_to_not_match_regex": {"column": "note", "regex": "^never"}},
        ],
    }
    return Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})


def everything_written(installation: Installation, sql: psycopg.Connection) -> Iterator[tuple[str, bytes]]:
    for root in (installation.home, Path(installation.staging), Path(installation.quarantine)):
        for path in root.rglob("*") if root.exists() else ():
            yield f"the name of {path}", str(path).encode()
            if path.is_file():
                yield f"the content of {path}", path.read_bytes()
    tables = sql.execute(
        "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    ).fetchall()
    for schema, table in tables:
        for (row,) in sql.execute(SQL("select t::text from {} t").format(Identifier(schema, table))).fetchall():
            yield f"table {schema}.{table}", row.encode()


def outcome(installation: Installation, whose: Tenant) -> ImporterError | None:
    try:
        for job in jobs(installation, whose, "listening"):
            with closing(job):
                run(job, processes=1)
    except ImporterError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("succeeds", None),
        ("fails its rules", QualityError),
        ("lacks a policy", UnclassifiedError),
        ("dies", TransientSourceError),
    ],
)
def test_nothing_planted_is_found(
    how: str,
    expected: type[ImporterError] | None,
    installation: Installation,
    csv: Path,
    sql: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    whose = tenant(csv)
    if how == "fails its rules":
        whose = tenant(csv, max_fraction=0.0)
    elif how == "lacks a policy":
        whose = tenant(csv, note=None)
    elif how == "dies":
        from importers.destinations import _loading

        original = _loading.copy

        def cut(connection: psycopg.Connection, *rest: Any) -> None:
            original(connection, *rest)
            sql.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))

        monkeypatch.setattr("importers.destinations._loading.copy", cut)
    error = outcome(installation, whose)
    assert type(error) is (expected or type(None))
    written = dict(everything_written(installation, sql))
    if how == "succeeds":
        assert sql.execute("select count(*) from acme.plays").fetchone() == (50,)
        assert not list(Path(installation.staging).rglob("*.frames"))
    if how in ("fails its rules", "dies"):
        assert list(Path(installation.staging).rglob("*.frames"))
    if how != "lacks a policy":
        assert list(Path(installation.quarantine).rglob("*.parquet"))
    said = caplog.text + "".join(capfd.readouterr()) + repr(error)
    if error:
        said += str(error) + "".join(traceback.format_exception(error))
    written["what was said"] = said.encode()
    assert {place: hits for place, data in written.items() if (hits := found_in(data))} == {}


def test_nothing_planted_is_found_when_steps_run_apart(
    installation: Installation, csv: Path, sql: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """As a scheduler runs them: what each step leaves for the next, and what the server logs of it all."""
    caplog.set_level(logging.DEBUG)
    (job,) = jobs(installation, tenant(csv), "listening")
    opened = plan.plan(job, "r1")
    with closing(job), closing(job.fixed(opened)) as fixed:
        look = partial(everything_written, installation, sql)
        seen = {}
        for step in ("extract", "validate", "gate", "anonymise", "load"):
            if step == "gate":
                opened = gate.gate(fixed, opened).run
            else:
                module = load if step in ("anonymise", "load") else extract
                getattr(module, step)(fixed, opened, 0)
            seen[step] = {place: hits for place, data in look() if (hits := found_in(data))}
        finish.commit(fixed, opened)
        finish.clean(fixed, opened)
    assert sql.execute("select count(*) from acme.plays").fetchone() == (50,)
    assert {step: hits for step, hits in seen.items() if hits} == {}
    (directory,) = sql.execute("show data_directory").fetchone() or ("",)
    assert not found_in((Path(directory) / "log").read_bytes() + caplog.text.encode())


@pytest.mark.parametrize("kind", ["a key that turns up late", "keys that nobody classified", "a header"])
def test_a_name_that_is_data_is_in_no_message(installation: Installation, tmp_path: Path, kind: str) -> None:
    whose = f"{planted('key')}@example.org"
    file = tmp_path / "plays.jsonl"
    config: dict[str, Any] = {"path": str(file), "stream": "plays"}
    importer = "jsonl"
    if kind == "a header":
        importer, config["path"] = "csv", str(tmp_path / "plays.csv")
        (tmp_path / "plays.csv").write_text(f"1,{whose}\n2,{whose}\n", encoding="utf-8")
    elif kind == "a key that turns up late":
        config["sample_rows"] = 1
        file.write_text('{"id": 1}\n' + json.dumps({"id": 2, whose: 3}) + "\n", encoding="utf-8")
    else:
        file.write_text(json.dumps({"id": 2, "plays": {whose: 3}, whose: 4}) + "\n", encoding="utf-8")
    privacy = {"subject": {"none": True, "reason": "a test"}, "columns": {"id": "keep"}}
    pipeline = {"importer": importer, "config": config, "privacy": privacy}
    error = outcome(installation, Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}}))
    assert error is not None
    said = str(error) + repr(error) + "".join(traceback.format_exception(error))
    assert not found_in(said.encode()), kind


def test_a_driver_s_error_is_told_without_its_values(
    installation: Installation, csv: Path, sql: psycopg.Connection
) -> None:
    outcome(installation, tenant(csv))
    sql.execute("alter table acme.plays add constraint short check (length(mail) < 3) not valid")
    csv.with_name("plays2.csv").write_text(csv.read_text().replace("plays", "x"), encoding="utf-8")
    error = outcome(installation, tenant(csv.with_name("plays2.csv")))
    assert error is not None
    text = str(error) + "".join(traceback.format_exception(error))
    assert "constraint short" in text
    assert "23514" in text
    assert not found_in(text.encode())
