"""What a DAG's page says: what becomes of each column, where the rows and the bad rows are, and the pipeline's YAML.

Made while the DAG file is parsed, so from the tenant's file alone: no source is asked, no warehouse. The pages behind
the links know the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent, indent
from urllib.parse import urlsplit

from airflow.sdk import conf

from importers.core.settings import StreamSettings, effective
from importers.core.tenant import NoSubject, Privacy, Subject, Tenant, Treat, Treatment
from importers.privacy.hints import class_by_name

BY_CLASS = {
    "none": "keep",
    "identifier, online id": "pseudonymise",
    "location": "drop; of an IP address the network stays",
    "contact, free text, special": "drop",
}
"""What `privacy.rules` does with a class where the file is silent; importing that here would cost every parse."""


def document(tenant: Tenant, pipeline: str, text: str) -> str:
    """Markdown."""
    spec = tenant.pipelines[pipeline]
    pages = f"{_airflow()}/importers/dags/{tenant.tenant}.{pipeline}"
    parts = [f"# {tenant.tenant}.{pipeline}", f"[Tables and runs]({pages}) · [Quarantine]({pages}/quarantine)"]
    if tenant.controller:
        parts.append(f"Controller: {_plain(tenant.controller.name)} ({_plain(tenant.controller.contact)})")
    settled = [effective(tenant, pipeline, stream) for stream in spec.streams or [""]]
    for stream, settings in zip(spec.streams or [""], settled, strict=True):
        if stream:
            parts.append(f"## {stream}")
        parts.append("\n".join(_stream(tenant.tenant, stream, settings)))
    if not all("*" in settings.privacy.columns for settings in settled):
        parts.append("\n".join(_defaults()))
    parts += ["## As the tenant's file has it", indent(dedent(text), "    ", lambda _: True)]
    return "\n\n".join(parts)


def _airflow() -> str:
    """The path that Airflow is served under, from `[api] base_url`; empty for a host's root."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _stream(tenant: str, stream: str, settings: StreamSettings) -> Iterator[str]:
    table = settings.load.table or stream
    mode = settings.load.mode or "the source's own mode"
    where = f"`{tenant}.{_plain(table)}`" if table else "a table named like the stream of the source"
    yield f"- Into {where}, {mode}."
    yield from _privacy(settings.privacy)


def _privacy(privacy: Privacy) -> Iterator[str]:
    yield f"- Purpose: {_plain(privacy.purpose or 'unspecified')}"
    yield f"- Lawful basis: {privacy.lawful_basis or 'unspecified'}"
    match privacy.subject:
        case Subject(column=column, domain=domain):
            yield f"- Data subject: `{_plain(column)}` in the domain `{domain}`."
        case NoSubject(reason=reason):
            yield f"- Data subject: none. {_plain(reason)}"
    yield ""
    yield "| column | treatment | class, by its name |"
    yield "|---|---|---|"
    for column, treatment in privacy.columns.items():
        if column != "*":
            yield f"| `{_plain(column)}` | {treatment_text(treatment)} | {_class(column)} |"
    if "*" in privacy.columns:
        yield f"| any other | {treatment_text(privacy.columns['*'])} | |"
    else:
        other = "the run stops" if privacy.unclassified == "stop" else "drop"
        yield f"| any other | {other}, unless its source classified it | |"


def _class(column: str) -> str:
    """A guess, for a reader to judge."""
    hinted = class_by_name(column)
    return f"{hinted.replace('_', ' ')}?" if hinted else ""


def _defaults() -> Iterator[str]:
    yield "A column that is not named here, and that its source classified, is treated by its class:"
    yield ""
    yield "| class | treatment |"
    yield "|---|---|"
    for classes, treatment in BY_CLASS.items():
        yield f"| {classes} | {treatment} |"


def treatment_text(treatment: Treatment) -> str:
    """As a person would say it: `mask: date, unit: month`."""
    if treatment.treat is Treat.MASK:
        more = {"date": f", unit: {treatment.unit}", "band": f", width: {treatment.width:g}"}
        return f"mask: {treatment.mask}{more.get(str(treatment.mask), '')}"
    words = [str(treatment.treat)]
    if treatment.domain:
        words.append(f"domain: {treatment.domain}")
    if treatment.deterministic:
        words.append("deterministic")
    return ", ".join(words)


def _plain(text: str) -> str:
    """On one line, and unable to end a cell or a code span."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
