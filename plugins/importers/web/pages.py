"""What each page shows: asks the ledger, fills a template."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from importers.exceptions import ConfigError
from importers.hooks.deployment import find_ledger, tenants_directory
from importers.ledger import history
from importers.ledger.report import reported
from importers.pages.page import page_of
from importers.pipeline.tenants import examine_all
from importers.privacy.hints import class_by_name
from importers.web import words
from importers.web.plugin import PREFIX

if TYPE_CHECKING:
    import psycopg
    from fastapi import Request

    from importers.web.access import Pipeline

RUNS = 20
_WITH_ITS_STYLE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'"

_templates = Environment(
    loader=PackageLoader("importers.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "number": words.number,
    "moment": words.moment,
    "seconds": words.seconds,
    "class_by_name": class_by_name,
    "segment": lambda text: quote(text, safe=""),
}


def index(request: Request, pipelines: Sequence[Pipeline]) -> HTMLResponse:
    """The pipelines that the user may see, each with the last runs of its streams."""
    with _ledger() as connection:
        tenants = sorted({pipeline.tenant for pipeline in pipelines})
        last = history.last_runs(connection, tenants) if connection else {}
    last = {pipeline.dag_id: last.get(pipeline.dag_id, []) for pipeline in pipelines}
    by_tenant = [(tenant, list(group)) for tenant, group in groupby(pipelines, lambda pipeline: pipeline.tenant)]
    return _page(request, "index.html", by_tenant=by_tenant, last=last, left_out=_left_out(pipelines))


def pipeline(request: Request, pipeline: Pipeline) -> HTMLResponse:
    """The tables of a pipeline, column by column, and its last runs."""
    with _ledger() as connection:
        tables = history.tables(connection, pipeline.tenant, pipeline.name) if connection else []
        counts = {table.name: history.count(connection, table.name) for table in tables} if connection else {}
        runs = history.runs(connection, pipeline.tenant, pipeline.name, limit=RUNS) if connection else []
    left_out = _left_out([pipeline])
    return _page(
        request, "pipeline.html", pipeline=pipeline, tables=tables, counts=counts, runs=runs, left_out=left_out
    )


def _left_out(pipelines: Iterable[Pipeline]) -> dict[str, list[ConfigError]]:
    """By tenant, of those that have a pipeline without a DAG: what is wrong with its file, as far as that tells.

    Only their files are read: those of a thousand tenants take seconds.
    """
    tenants = {pipeline.tenant for pipeline in pipelines if pipeline.stale}
    found: dict[str, list[ConfigError]] = defaultdict(list)
    for tenant in tenants:
        for reading in examine_all(tenants_directory(), tenant.__eq__):
            found[tenant] += reading.findings
    return found


def quarantine(request: Request, pipeline: Pipeline) -> HTMLResponse:
    """What was kept out, by run and rule. Never a row."""
    with _ledger() as connection:
        files = history.kept_files(connection, pipeline.tenant, pipeline.name) if connection else []
    by_run = [(run, list(group)) for run, group in groupby(files, lambda file: file.run)]
    reasons = {run: sum((Counter(file.reasons) for file in group), Counter[str]()) for run, group in by_run}
    return _page(request, "quarantine.html", pipeline=pipeline, by_run=by_run, reasons=reasons)


def report(request: Request, pipeline: Pipeline, run: int | None) -> HTMLResponse | None:
    """What `importers report` writes, of a run or of each stream's last, without the columns' profiles and what rules
    saw of values.

    No page of the web server holds any. None if there is no such run. The page brings its style with
    it, since it is made to be kept.
    """
    with _ledger() as connection:
        found = reported(connection, pipeline.tenant, pipeline.name, run) if connection else []
    if not found:
        return None
    here = f"{request.scope.get('root_path', '')}/dags/{pipeline.dag_id}"
    counts = [replace(report, judgement=_without_values(report.judgement)) for report in found]
    text = page_of("report.html", pipeline=pipeline.dag_id, reports=counts, back=here)
    return HTMLResponse(text, headers={"Content-Security-Policy": _WITH_ITS_STYLE})


_UNTOLD = "what `importers report` shows"


def _without_values(judgement: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not judgement:
        return judgement
    rules = {
        label: {**said, "observed": _UNTOLD} if said.get("of_values") else said
        for label, said in judgement["rules"].items()
    }
    failures = [{**said, "got": _UNTOLD} if said.get("of_values") else said for said in judgement["failures"]]
    told = {name: said for name, said in judgement.items() if name != "profile"}
    return {**told, "rules": rules, "failures": failures}


def refused(request: Request, status: int) -> HTMLResponse:
    """Not logged in, or nothing here."""
    return _page(request, "refused.html", status=status)


def failed(request: Request, said: str) -> HTMLResponse:
    """The ledger can't be read. What errors of ours say may be shown."""
    return _page(request, "failed.html", status=503, said=said)


@contextmanager
def _ledger() -> Iterator[psycopg.Connection | None]:
    """The warehouse's ledger; None before the first run."""
    with history.reading(find_ledger()) as connection:
        yield connection if history.begun(connection) else None


def _page(request: Request, template: str, status: int = 200, **said: Any) -> HTMLResponse:
    here = request.scope.get("root_path", "")
    text = _templates.get_template(template).render(
        here=here,
        airflow=here.removesuffix(PREFIX),
        # Inside Airflow's page a link to Airflow would open a second one in the frame.
        framed=request.headers.get("sec-fetch-dest") == "iframe",
        now=datetime.now(UTC),
        status=status,
        **said,
    )
    return HTMLResponse(text, status_code=status)
