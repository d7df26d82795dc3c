"""What a DAG's page says: what becomes of each column, and the pipeline's YAML."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent, indent

from importers.core.settings import effective
from importers.core.tenant import NoSubject, Privacy, Subject, Tenant, Treat, Treatment


def document(tenant: Tenant, pipeline: str, text: str) -> str:
    """Markdown."""
    spec = tenant.pipelines[pipeline]
    parts = [f"# {tenant.tenant}.{pipeline}"]
    if tenant.controller:
        parts.append(f"Controller: {_plain(tenant.controller.name)} ({_plain(tenant.controller.contact)})")
    for stream in spec.streams or [""]:
        if stream:
            parts.append(f"## {stream}")
        parts.append("\n".join(_privacy(effective(tenant, pipeline, stream).privacy)))
    parts += ["## As the tenant's file has it", indent(dedent(text), "    ", lambda _: True)]
    return "\n\n".join(parts)


def _privacy(privacy: Privacy) -> Iterator[str]:
    yield f"Purpose: {_plain(privacy.purpose or 'unspecified')}. Lawful basis: {privacy.lawful_basis or 'unspecified'}."
    match privacy.subject:
        case Subject(column=column, domain=domain):
            yield f"Data subject: `{_plain(column)}` in the domain `{domain}`."
        case NoSubject(reason=reason):
            yield f"Data subject: none. {_plain(reason)}"
    yield ""
    yield "| column | treatment |"
    yield "|---|---|"
    for column, treatment in privacy.columns.items():
        yield f"| `{_plain(column)}` | {treatment_text(treatment)} |"
    other = "the run stops" if privacy.unclassified == "stop" else "drop"
    yield f"| any other | {other}, unless its source classified it |"


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
