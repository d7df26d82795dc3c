"""What the DAG's page says, beside what the policy does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from importers.core.model import PersonalData
from importers.core.tenant_file import parse_tenant
from importers.dag_factory.document import BY_CLASS, document
from importers.privacy.leaves import leaves
from importers.privacy.rules import class_default

TEXT = """
tenant: acme
pipelines:
  plays:
    importer: csv
    config: {path: plays.csv}
    privacy: {columns: {account_id: pseudonymise, track: keep}}
    streams:
      heard: {load: {table: plays, mode: merge, primary_key: track}}
      skipped: {privacy: {columns: {"*": drop}}}
  songs:
    importer: csv
    config: {path: songs.csv}
    privacy: {columns: {"*": drop, title: keep}, unclassified: drop}
"""


def page(pipeline: str, text: str = TEXT) -> str:
    return document(parse_tenant(text, "acme.yaml").tenant, pipeline, "plays:\n  importer: csv")


def test_each_column_has_its_treatment_and_a_guess_at_its_class() -> None:
    assert "| `account_id` | pseudonymise | identifier? |" in page("plays")
    assert "| `track` | keep |  |" in page("plays")


def test_each_stream_says_where_it_goes() -> None:
    text = page("plays")
    assert "- Into `acme.plays`, merge." in text.split("## heard")[1].split("## skipped")[0]
    assert "- Into `acme.skipped`, the source's own mode." in text.split("## skipped")[1]
    assert "- Into a table named like the stream of the source" in page("songs")


def test_what_happens_to_a_column_that_is_not_named() -> None:
    assert "| any other | the run stops, unless its source classified it | |" in page("plays")
    assert "| any other | drop | |" in page("songs")
    assert "`*`" not in page("songs")
    assert "by its class" in page("plays")
    assert "by its class" not in page("songs")  # `*` leaves nothing to the classes


def test_the_defaults_are_those_of_the_policy() -> None:
    """The page's own words, against what the policy does with a column of each class."""
    said = {name.strip(): does for names, does in BY_CLASS.items() for name in names.split(",")}
    assert set(said) == {personal.replace("_", " ") for personal in PersonalData}
    (leaf,) = leaves([pa.field("thing", pa.string())])
    for personal in PersonalData:
        treatment = class_default(leaf, personal)
        assert treatment is not None
        assert said[personal.replace("_", " ")].split(";")[0] == str(treatment.treat), personal


@pytest.mark.parametrize(
    ("base_url", "path"),
    [("", ""), ("http://h:8080/", ""), ("https://h/airflow", "/airflow"), ("https://h/a/b/", "/a/b")],
)
def test_links_lead_to_the_pages_wherever_airflow_is_served(
    monkeypatch: pytest.MonkeyPatch, base_url: str, path: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    links = re.findall(r"\]\(([^)]+)\)", page("plays"))
    assert links == [f"{path}/importers/dags/acme.plays", f"{path}/importers/dags/acme.plays/quarantine"]


def test_a_page_asks_no_source(tmp_path: Path) -> None:
    """The file that the tenant names isn't there, and nothing that could read one is imported."""
    program = f"""
import sys
from importers.core.tenant_file import parse_tenant
from importers.dag_factory.document import document
document(parse_tenant({TEXT!r}, "acme.yaml").tenant, "plays", "")
print([name for name in ("polars", "psycopg", "importers.sources.files.csv") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, cwd=tmp_path, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr
