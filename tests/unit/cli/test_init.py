"""`importers init`: a tenant file from a sample, which either is ready or says what a person must decide."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from importers.cli.main import main
from importers.pipeline.tenants import read_tenant

SONGS = "id;listener_id;reach;note;seconds\n" + "".join(
    f"{n};l{n};canary{n}@example.org;said canary {n};{n}.5\n" for n in range(20)
)


def init(*args: object) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, args)])


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    file = tmp_path / "Plays 2026.csv"
    file.write_text(SONGS)
    return file


def test_what_is_inferred_and_what_is_left(sample: Path, tmp_path: Path) -> None:
    done = init(sample, "--tenants", tmp_path / "t", "--tenant", "acme")
    text = (tmp_path / "t/acme.yaml").read_text()
    assert done.exit_code == 0
    assert f"wrote {tmp_path}/t/acme.yaml; 2 things in it are left for you to decide:\n" in done.stdout
    assert 'delimiter: ";"' in text
    assert "  plays_2026:\n    importer: csv\n" in text
    assert 'subject: {column: "listener_id", domain: listener}' in text
    assert "id: keep  # int64; if it concerns no person" in text
    assert "listener_id: pseudonymise  # string; its name says an identifier of a person" in text
    assert "reach: drop  # string; its values look like e-mail addresses" in text
    assert "note: drop  # string; its name says free text" in text
    assert "seconds: keep  # double" in text
    assert "canary" not in text + done.output


def test_once_decided_it_is_right_and_reads(sample: Path, tmp_path: Path) -> None:
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    file = tmp_path / "acme.yaml"
    text = file.read_text().replace("TODO say what the data is processed for", "charts")
    file.write_text(text.replace("lawful_basis: TODO", "lawful_basis: contract"))
    assert CliRunner().invoke(main, ["lint", str(file)]).exit_code == 0
    tenant = read_tenant(file).tenant
    assert list(tenant.pipelines) == ["plays_2026"]
    assert tenant.pipelines["plays_2026"].privacy.columns["reach"].treat == "drop"


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("listener_id", "domains: {listener: {case_sensitive: true}}"),
        ("device_id", "# domains: {KIND_OF_PERSON: {case_sensitive: true}}"),  # whose rows these are is a TODO
    ],
)
def test_a_domain_is_proposed_in_which_case_counts_where_it_seems_to(tmp_path: Path, header: str, line: str) -> None:
    sample = tmp_path / "plays.csv"
    sample.write_text(f"{header},n\n4iV5W9uYEdYUVa79Axb7Rh,1\n1Je1IMUlBXcx1Fz0WE7oPT,2\n")
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    file = tmp_path / "acme.yaml"
    text = file.read_text()
    why = f"Upper and lower case seem to tell values of {header} apart; it holds for the whole domain."
    assert f"\n# {why}\n{line}\n" in text
    assert "4iV5W9" not in text
    told = CliRunner().invoke(main, ["lint", str(file)]).stdout
    assert "pseudonyms of the domain" not in told  # the pipeline has TODOs, so that lint can't see whose domain it is
    sample.write_text(f"{header},n\nANN@EXAMPLE.ORG,1\nann@example.org,2\n")
    init(sample, "--tenants", tmp_path, "--tenant", "other")
    assert "domains:" not in (tmp_path / "other.yaml").read_text()


def test_every_todo_is_told_and_refused(sample: Path, tmp_path: Path) -> None:
    sample.write_text("email,x\na@example.org,1\n")  # personal, and nothing that could be a subject
    done = init(sample, "--tenants", tmp_path, "--tenant", "acme")
    file = tmp_path / "acme.yaml"
    todo = {str(n) for n, line in enumerate(file.read_text().splitlines(), 1) if " TODO" in line}
    assert {line.split(":")[1] for line in done.stdout.splitlines() if "acme.yaml:" in line} == todo
    assert len(todo) == 3
    text = file.read_text().replace("lawful_basis: TODO", "lawful_basis: consent").replace("TODO say what", "what")
    file.write_text(text)
    refused = CliRunner().invoke(main, ["lint", str(file)])
    assert refused.exit_code == 1
    assert "subject" in refused.stdout


@pytest.mark.parametrize(
    ("name", "text", "importer"),
    [
        ("a.json", '[{"id": 1}, {"id": 2}]', "json"),
        ("a.json", '{\n  "data": {"visits": [{"id": 1}]}\n}', "json"),
        ("a.json", '{"id": 1}', "json"),
        ("a.json", '{"id": 1}\n{"id": 2}\n', "jsonl"),
        ("a.log", '{"id": 1}', "jsonl"),
        ("a.jsonl", '{"id": 1}\n', "jsonl"),
    ],
)
def test_json_is_recognised_by_how_it_is_written(tmp_path: Path, name: str, text: str, importer: str) -> None:
    (tmp_path / name).write_text(text)
    assert json.loads(init(tmp_path / name, "--tenants", tmp_path, "--json").stdout)["importer"] == importer


@pytest.mark.parametrize("kind", ["xlsx", "xlsm", "xlsb", "xls", "ods"])  # the reader goes by what is in it
def test_a_workbook_is_recognised(tmp_path: Path, kind: str) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "email"], [1, "ada@example.org"]):
        book.active.append(row)
    book.save(tmp_path / "book.xlsx")
    (tmp_path / "book.xlsx").rename(tmp_path / f"plain.{kind}")
    init(tmp_path / f"plain.{kind}", "--tenants", tmp_path)
    text = (tmp_path / "plain.yaml").read_text()
    assert "    importer: excel\n" in text
    assert "email: drop" in text


def test_a_guess_is_a_cautious_one(sample: Path, tmp_path: Path) -> None:
    sample.write_text("id,name,email,total\n1,Ada,ada@example.org,1\n")
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    text = (tmp_path / "acme.yaml").read_text()
    assert "name: drop  # string; beside what concerns a person it may be their name\n" in text
    assert "total: keep" in text
    assert "listener" not in text


def test_nobody_s_data_needs_a_reason(sample: Path, tmp_path: Path) -> None:
    sample.write_text("song,plays\na,1\n")
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    file = tmp_path / "acme.yaml"
    text = file.read_text().replace("lawful_basis: TODO", "lawful_basis: none").replace("TODO say what", "what")
    file.write_text(text)
    refused = CliRunner().invoke(main, ["lint", str(file)])
    assert refused.exit_code == 1
    assert "privacy.subject.reason` isn't decided yet. Say why no row concerns a person" in refused.stdout


def test_nothing_is_overwritten(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("mine")
    done = init(sample, "--tenants", tmp_path, "--tenant", "acme")
    assert done.exit_code == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "acme.yaml").read_text() == "mine"


def test_numbers_and_dates_as_other_countries_write_them_are_proposed(tmp_path: Path) -> None:
    sample = tmp_path / "sales.csv"
    sample.write_text('id;total;large;day;at\n1;3,00;"1.234,50";31.12.2026;31.12.2026 23:59\n2;4,5;2,00;01.02.2026;\n')
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    text = (tmp_path / "acme.yaml").read_text()
    for line in ('decimal: ","', 'thousands: "."', 'date_format: "%d.%m.%Y"', 'timestamp_format: "%d.%m.%Y %H:%M"'):
        assert f"      {line}\n" in text
    kinds = {"id": "int64", "total": "double", "large": "double", "day": "date32[day]", "at": "timestamp[us]"}
    assert all(f"{name}: keep  # {kind}" in text for name, kind in kinds.items())


def test_a_cell_that_says_it_is_none_makes_no_text_of_numbers(tmp_path: Path) -> None:
    sample = tmp_path / "sales.csv"
    sample.write_text("id;total;rank;city\n1;3,50;1;Ulm\n2;n/a;2;Bonn\n3;1,25;N/A;Kiel\n")
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    text = (tmp_path / "acme.yaml").read_text()
    assert '      decimal: ","\n' in text
    assert '      null_values: ["", "n/a", "N/A"]\n' in text
    kinds = {"id": "int64", "total": "double", "rank": "int64"}
    assert all(f"{name}: keep  # {kind}" in text for name, kind in kinds.items())


def test_what_would_change_another_column_is_not_proposed(tmp_path: Path) -> None:
    """A decimal comma would make text of 1.5."""
    sample = tmp_path / "sales.csv"
    sample.write_text("a;b\n1,5;1.5\n")
    init(sample, "--tenants", tmp_path, "--tenant", "acme")
    text = (tmp_path / "acme.yaml").read_text()
    assert "decimal" not in text
    assert "b: keep  # double" in text


def test_a_pattern_is_drafted_from_what_it_matches(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"orders-{number}.csv").write_text(f"n\n{number}\n")
    pattern = tmp_path / "orders-*.csv"
    done = init(pattern, "--tenants", tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert (answer["tenant"], answer["stream"]) == ("orders", "orders")
    assert f'path: "{pattern}"' in (tmp_path / "orders.yaml").read_text()
    nothing = init(tmp_path / "invoices-*.csv", "--tenants", tmp_path)
    assert nothing.exit_code == 2
    assert "no file matches" in nothing.stderr


def test_formats_are_recognised_by_extension_or_by_content(tmp_path: Path) -> None:
    table = pa.table({"user": ["a"], "payload": [{"email": "x@example.org", "n": 1}]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.bin")
    (tmp_path / "c.jsonl").write_text('{"user": "a", "payload": {"email": "x@example.org", "n": 1}}\n')
    (tmp_path / "d").write_text((tmp_path / "c.jsonl").read_text())
    for name, importer in (("a.parquet", "parquet"), ("b.bin", "parquet"), ("c.jsonl", "jsonl"), ("d", "jsonl")):
        tenants = tmp_path / f"of_{name}"
        answer = json.loads(init(tmp_path / name, "--tenants", tenants, "--tenant", "acme", "--json").stdout)
        assert (answer["importer"], answer["tenant"]) == (importer, "acme")
        text = (tenants / "acme.yaml").read_text()
        assert "payload.email: drop" in text
        assert "payload.n: keep" in text


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert init(tmp_path / "missing.csv").exit_code == 2
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    done = init(tmp_path / "bad.parquet", "--tenants", tmp_path)
    assert done.exit_code == 1
    assert not list(tmp_path.glob("*.yaml"))


def test_keys_that_look_like_values_are_not_written_down(tmp_path: Path) -> None:
    sample = tmp_path / "plays.jsonl"
    sample.write_text('{"id": 1, "plays": {"ann.smith@example.org": 2, "4111111111111111": 3}}\n')
    done = init(sample, "--tenant", "acme", "--tenants", tmp_path / "tenants")
    text = (tmp_path / "tenants" / "acme.yaml").read_text()
    for said in (text, done.output):
        assert "ann.smith" not in said
        assert "4111" not in said
    assert "        plays: drop  # its keys look like values\n" in text


def test_settings_are_written_down(tmp_path: Path) -> None:
    """Of a setting that is said nothing else is proposed."""
    sample = tmp_path / "sales.csv"
    sample.write_bytes("id;größe;größe;day\n1;2,5;n/a;31.12.2026\n2;3,5;7;\n".encode("cp1252"))
    said = ("encoding=cp1252", "duplicate_names=number", "null_values=['', '-']", "types={id: string}")
    done = init(sample, "--tenants", tmp_path, *(part for one in said for part in ("--set", one)))
    text = (tmp_path / "sales.yaml").read_text()
    assert done.exit_code == 0
    config = text.partition("    config:\n")[2].partition("    privacy:\n")[0]
    assert config == (
        f'      path: "{sample}"\n'
        '      encoding: "cp1252"\n'
        '      duplicate_names: "number"\n'
        '      null_values: ["", "-"]\n'
        '      types: {"id": "string"}\n'
        '      decimal: ","\n'
        '      date_format: "%d.%m.%Y"\n'
    )
    for column in ("id: keep  # string", "größe: keep  # double", "größe_2: keep  # string", "day: keep  # date32"):
        assert column in text


def test_a_file_of_no_rows_is_not_drafted(tmp_path: Path) -> None:
    sample = tmp_path / "old.csv"
    sample.write_bytes("id,name\n1,Müller\n".encode("cp1252"))
    done = init(sample, "--tenants", tmp_path)
    assert done.exit_code == 1
    assert "1 × not in the file's encoding" in done.stderr
    assert not list(tmp_path.glob("*.yaml"))


def test_where_a_header_may_be_is_noted(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["Report of Jan"], [], ["id", "total"], [1, 2]):
        book.active.append(row)
    book.save(tmp_path / "report.xlsx")
    done = init(tmp_path / "report.xlsx", "--tenants", tmp_path, "--json")
    (note,) = json.loads(done.stdout)["notes"]
    assert "1 of 2 columns have no name" in note
    assert "--set range=A3" in done.stderr


def test_a_compressed_file_is_recognised_by_what_is_in_it(tmp_path: Path) -> None:
    for name, text in (("a.csv.gz", "n;total\n1;2,5\n"), ("b.json.gz", '{"n": 1}')):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    init(tmp_path / "a.csv.gz", "--tenants", tmp_path)
    assert '      delimiter: ";"\n      decimal: ","\n' in (tmp_path / "a.yaml").read_text()
    assert json.loads(init(tmp_path / "b.json.gz", "--tenants", tmp_path, "--json").stdout)["importer"] == "json"


def test_a_column_that_odd_values_make_text_is_noted(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text("total\n" + "1.5\n" * 99 + "n. a.\n")
    done = init(tmp_path / "sums.csv", "--tenants", tmp_path, "--json")
    (note,) = json.loads(done.stdout)["notes"]
    assert "99 of its 100 values are of type number, 1 is not" in note
    assert note in done.stderr


def test_of_an_archive_the_members_are_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "may.zip", "w") as archive:
        archive.writestr("LIESMICH", "Umsatz\n")
        archive.writestr("a.csv", "n;total\n1;2,5\n")
    assert "`members`" in init(tmp_path / "may.zip", "--tenants", tmp_path).stderr
    init(tmp_path / "may.zip", "--tenants", tmp_path, "--set", "members=*.csv")
    for line in ('members: "*.csv"', 'decimal: ","', "total: keep  # double"):
        assert line in (tmp_path / "may.yaml").read_text()
