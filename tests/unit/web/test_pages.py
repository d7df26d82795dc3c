"""Who sees which page, and what stands on it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from importers.core.model import Leaf, LoadMode, PersonalData, RunKind, RunState
from importers.exceptions import TransientSourceError
from importers.ledger import history
from importers.ledger.history import KeptFile, KnownTable, PastRun

OPENED = datetime.now(UTC) - timedelta(hours=3)
RUN = PastRun(
    id=7,
    stream="acme.listening.plays",
    key="acme.listening/manual__2026-11-22T18:51:46+00:00",
    generation=1,
    kind=RunKind.INCREMENTAL,
    mode=LoadMode.MERGE,
    table="acme.plays",
    state=RunState.COMMITTED,
    opened=OPENED,
    closed=OPENED,
    partitions=2,
    loaded=99_240,
    suppressed=0,
    quarantined=760,
    seconds={"extract": 1.5, "load": 2.25},
)
FILE = KeptFile(7, "acme.listening.plays", 0, "file:///q/0.parquet", 760, {"<b>rule</b>(x)": 760}, OPENED, None)
TABLE = KnownTable(
    "acme.listening.plays",
    "acme.plays",
    3,
    OPENED,
    {"who": "uuid", "title": "text", "_run": "bigint"},
    [
        Leaf("who", PersonalData.ONLINE_ID, "pseudonymise(listener)", "who"),
        Leaf("email", None, "drop", None),
        Leaf("title<script>", None, "keep", "title"),
    ],
)
JUDGEMENT = {
    "rows": 100_000,
    "rejects": 0,
    "bad": 760,
    "rules": {"<b>rule</b>(x)": {"evaluated": 99_000, "unexpected": 760}},
    "failures": [],
    "beyond": [],
    "profile": {"rows": 100_000, "columns": [{"name": "title", "type": "text", "deciles": ["a value"] * 11}]},
}
REPORT = "/importers/dags/acme.listening/report"
PATHS = ["/importers/dags/acme.listening", "/importers/dags/acme.listening/quarantine", REPORT]


@pytest.fixture(autouse=True)
def known(ledger: Any) -> None:
    ledger.runs = [RUN, replace(RUN, id=8, stream="beta.listening.plays", key="beta.listening/x", loaded=31_337)]
    ledger.files = [FILE]
    ledger.judgements = {7: JUDGEMENT, 8: JUDGEMENT}
    ledger.tables = [TABLE]


async def get(client: Any, path: str, who: str | None, **headers: str) -> Any:
    as_whom = {"Authorization": f"Bearer {who}"} if who else {}
    return await client.get(path, headers={**as_whom, **headers})


def text_of(page: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


@pytest.mark.parametrize("path", ["/importers/", *PATHS])
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("mallory", 403)])
async def test_nobody_sees_anything_without_a_login(client, ledger, path: str, who: str | None, status: int) -> None:
    page = await get(client, path, who)
    assert page.status_code == status
    assert "Please log in" in page.text
    assert "acme" not in page.text
    assert not ledger.asked


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", ["bob", "eve"])
async def test_another_tenants_pipeline_looks_like_one_that_there_isnt(client, ledger, path: str, who: str) -> None:
    refused = await get(client, path, who)
    missing = await get(client, path.replace("acme", "nobody"), who)
    assert refused.status_code == missing.status_code == 404
    assert refused.text == missing.text
    assert refused.headers == missing.headers
    assert not ledger.asked


@pytest.mark.parametrize(
    "dag_id",
    [
        "acme",
        "acme.",
        "acme.listening.plays",
        "ACME.listening",
        "acme%2Flistening",
        "_importers.sweep",
        "somebody_elses_dag",
        "acme.listening%0A",
        "%25.listening",
        "acme.listening'--",
    ],
)
async def test_an_address_that_is_no_pipelines_leads_nowhere(client, ledger, dag_id: str) -> None:
    page = await get(client, f"/importers/dags/{dag_id}", "ada")
    assert page.status_code == 404
    assert not ledger.asked


async def test_the_list_has_what_one_may_see_and_nothing_else(client) -> None:
    ada, bob = text_of(await get(client, "/importers/", "ada")), text_of(await get(client, "/importers/", "bob"))
    assert "catalogue never run" in ada
    assert "listening committed 3 hours ago 100,000 99,240 760" in ada
    assert "beta" not in ada
    assert "sweep" not in ada
    assert "somebody" not in ada
    assert "31,337" in bob
    assert "acme" not in bob
    assert "no pipeline that you may see" in text_of(await get(client, "/importers/", "eve"))


async def test_the_list_adds_up_a_pipelines_streams(client, ledger) -> None:
    """The third is still at work: what it has read isn't known yet, and so isn't the sum."""
    skips = replace(RUN, id=6, stream="acme.listening.skips", loaded=5, quarantined=1)
    ledger.runs = [RUN, skips]
    assert "listening committed 3 hours ago 100,006 99,245 761" in text_of(await get(client, "/importers/", "ada"))
    ledger.runs.append(replace(skips, id=5, stream="acme.listening.likes", state=RunState.OPEN))
    assert "listening committed abandoned 3 hours ago – 99,250 762" in text_of(await get(client, "/importers/", "ada"))


async def test_where_a_tenant_s_file_is_broken_the_pages_say_how_and_list_what_ran(
    client, ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only to who may see it; of pipelines that Airflow has no DAG of any more."""
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    (tmp_path / "acme.yaml").write_text("tenant: acme\npipelines: {}\nretentoin: <b>P1Y</b>\n")
    (tmp_path / "beta.yaml").write_text("tenant: beta\nretentoin: P1Y\n")
    assert "broken" not in (await get(client, "/importers/", "ada")).text
    ledger.stale = {"acme.listening", "beta.listening"}
    told = "The tenant's file is broken: until it is mended, no run of its pipelines begins"
    index, page = await get(client, "/importers/", "ada"), await get(client, PATHS[0], "ada")
    for seen in (index, page):
        assert told in text_of(seen).replace("&#39;", "'")
        assert f"{tmp_path}/acme.yaml:3: there is no setting `retentoin`" in text_of(seen)
        assert "beta" not in seen.text
        assert "<b>" not in seen.text.replace("<b>1,234,567 rows</b>", "")
    assert "listening (no DAG) committed 3 hours ago 100,000 99,240 760" in text_of(index)
    assert "catalogue never run" in text_of(index)
    assert "7 committed 3 hours ago plays 100,000 99,240 760 3.75" in text_of(page)


def test_which_dags_are_stale_is_what_airflow_s_own_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models import DagModel
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from importers.web import access

    engine = create_engine("sqlite://")
    DagModel.metadata.create_all(engine, tables=[DagModel.__table__])
    with Session(engine) as session:
        for dag_id in ("acme.listening", "acme.catalogue"):
            session.add(DagModel(dag_id=dag_id, bundle_name="dags-folder", is_stale=dag_id == "acme.listening"))
        session.commit()
    monkeypatch.setattr(access, "create_session", lambda **_: Session(engine))
    assert access.stale_dags() == {"acme.listening"}


async def test_a_pipeline_that_no_file_has_any_more_says_so(
    client, ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    ledger.stale = {"acme.listening"}
    assert "No file makes a DAG of it any more" in text_of(await get(client, PATHS[0], "ada"))
    assert "broken" not in (await get(client, "/importers/", "ada")).text


async def test_a_table_that_nobody_may_count_yet_says_so(client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "count", lambda *_: history.RowCount(None, exact=False))
    assert "acme.plays Not counted yet. Columns as of" in text_of(await get(client, PATHS[0], "ada"))


async def test_a_pipelines_page_has_columns_rows_and_runs(client, ledger) -> None:
    page = await get(client, PATHS[0], "ada")
    text = text_of(page)
    assert "1,234,567 rows" in text
    assert "who online id pseudonymise(listener) who uuid" in text
    assert "email contact? drop not stored" in text  # nobody said so: a guess
    assert "7 committed 3 hours ago plays 100,000 99,240 760 3.75" in text
    assert 'href="/base/dags/acme.listening/runs/manual__2026-11-22T18%3A51%3A46%2B00%3A00"' in page.text
    assert 'href="/base/importers/dags/acme.listening/quarantine#run-7"' in page.text
    assert all(about == ("acme", "listening") for about in ledger.asked)


async def test_inside_airflow_no_link_leads_to_airflow(client) -> None:
    page = await get(client, PATHS[0], "ada", **{"Sec-Fetch-Dest": "iframe"})
    links = re.findall(r'href="([^"]+)"', page.text)
    assert links
    assert all(link.startswith("/base/importers/") for link in links)


async def test_the_report_is_of_the_last_run_or_of_the_one_that_was_asked_for(client, ledger) -> None:
    ledger.runs.insert(0, replace(RUN, id=9, loaded=5))
    ledger.judgements[9] = {**JUDGEMENT, "rows": 5}
    last, asked = await get(client, REPORT, "ada"), await get(client, f"{REPORT}?run=7", "ada")
    assert "acme.listening.plays run 9" in text_of(last)
    assert "delivered 5 rows" in text_of(last)
    assert "run 7 state" in text_of(asked)
    assert "760 of 99,000 break it" in text_of(asked)
    assert "&lt;b&gt;rule&lt;/b&gt;(x)" in asked.text
    assert "a value" not in asked.text
    page = await get(client, PATHS[0], "ada")
    assert 'href="/base/importers/dags/acme.listening/report"' in page.text
    assert 'href="/base/importers/dags/acme.listening/report?run=7"' in page.text


async def test_what_rules_saw_of_values_is_on_no_page(client, ledger) -> None:
    mean, rows = "expect_column_mean_to_be_between(x)", "expect_table_row_count_to_equal()"
    counts = {"evaluated": 9, "unexpected": 0}
    saw = {
        mean: {**counts, "wanted": "max_value: 12", "observed": "12.5", "of_values": True},
        rows: {**counts, "wanted": "value: 7", "observed": "9 rows", "of_values": False},
    }
    failures = [
        {
            "rule": rule,
            "what": "outside",
            "wanted": one["wanted"],
            "got": one["observed"],
            "of_values": one["of_values"],
        }
        for rule, one in saw.items()
    ]
    ledger.judgements[7] = {**JUDGEMENT, "rules": saw, "failures": failures}
    text = text_of(await get(client, REPORT, "ada"))
    assert f"{mean} : outside; wanted max_value: 12; got what `importers report` shows" in text
    assert f"{mean} max_value: 12 what `importers report` shows; the run fails it" in text
    assert f"{rows} value: 7 9 rows; the run fails it" in text
    assert "12.5" not in text


async def test_an_older_ledgers_judgement_has_a_report_too(client, ledger) -> None:
    ledger.judgements[7] = {name: said for name, said in JUDGEMENT.items() if name != "profile"}
    assert "760 of 99,000 break it" in text_of(await get(client, REPORT, "ada"))


@pytest.mark.parametrize("run", ["8", "99", "0", "-1", "x", "7%20or%201", str(2**70)])
async def test_a_report_on_a_run_that_isnt_the_pipelines_is_nowhere(client, run: str) -> None:
    """Run 8 is another tenant's."""
    page = await get(client, f"{REPORT}?run={run}", "ada")
    assert page.status_code == 404
    assert "31,337" not in page.text
    assert "There is nothing here" in page.text


async def test_quarantine_has_counts_by_rule(client) -> None:
    page = await get(client, PATHS[1], "ada")
    assert "&lt;b&gt;rule&lt;/b&gt;(x)" in page.text
    assert "Run 7 plays, 3 hours ago" in text_of(page)
    assert "partition 0: 760 rows" in text_of(page)


async def test_names_from_data_cannot_become_markup(client) -> None:
    page = await get(client, PATHS[0], "ada")
    assert "title&lt;script&gt;" in page.text
    assert "<script" not in page.text


async def test_before_the_first_run_the_pages_say_so(client, ledger) -> None:
    ledger.begun = False
    assert "never run" in text_of(await get(client, "/importers/", "ada"))
    assert "No table yet" in text_of(await get(client, PATHS[0], "ada"))
    assert "It is empty" in text_of(await get(client, PATHS[1], "ada"))
    assert (await get(client, REPORT, "ada")).status_code == 404


async def test_a_warehouse_that_is_down_is_told_as_such(client, monkeypatch: pytest.MonkeyPatch) -> None:
    from importers.ledger import history

    def down(_: str) -> None:
        raise TransientSourceError("PostgreSQL can't be reached", do="see that it runs")

    monkeypatch.setattr(history, "reading", down)
    page = await get(client, PATHS[0], "ada")
    assert page.status_code == 503
    assert "can't be reached. See that it runs" in text_of(page).replace("&#39;", "'")


@pytest.mark.parametrize("path", ["/importers/", *PATHS, "/importers/dags/nobody.x", "/importers/style.css"])
async def test_pages_need_no_other_host_and_no_script(client, path: str) -> None:
    page = await get(client, path, "ada")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r'(?:href|src|action)="(?!/base/)|url\(|@import', page.text)
    if path.endswith(".css"):
        assert page.headers["Content-Type"].startswith("text/css")
        assert "prefers-color-scheme: dark" in page.text
    else:
        assert page.headers["Cache-Control"] == "no-store"


async def test_pages_only_read(client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, PATHS[0], headers={"Authorization": "Bearer ada"})
        assert answer.status_code == 405


async def test_the_api_describes_itself_to_nobody(client) -> None:
    for path in ("/importers/openapi.json", "/importers/docs", "/importers/redoc"):
        assert (await get(client, path, "ada")).status_code == 404


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    from importlib.metadata import entry_points

    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from importers.web.plugin import ImportersPlugin

    (found,) = [entry for entry in entry_points(group="airflow.plugins") if entry.value.startswith("importers.")]
    assert found.load() is ImportersPlugin
    views = [ExternalViewResponse.model_validate(view) for view in ImportersPlugin.external_views]
    assert {view.destination for view in views} == {"nav", "dag"}
    assert not any(view.href.startswith("/") for view in views)  # Airflow's base path would be lost


def test_the_style_travels_with_the_package() -> None:
    from importers.web import app

    assert app.STYLE.is_file()
    assert {path.name for path in (app.STYLE.parent / "templates").iterdir()} >= {"base.html", "pipeline.html"}
    assert Path(app.__file__).parent == app.STYLE.parent
