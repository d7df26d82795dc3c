"""Writes docs/reference from the models that read tenant files: what the pages say is what the program does.

With --check nothing is written; exits 1 if a page is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from importers.cli.sources import entry, settings
from importers.core.registry import sources
from importers.core.tenant import (
    Controller,
    Expectation,
    Load,
    Mask,
    NoSubject,
    Pipeline,
    Privacy,
    Quarantine,
    StreamSpec,
    Subject,
    Tenant,
    Treat,
    Treatment,
)
from importers.quality.gx import ROW_LEVEL
from importers.quality.vocabulary import COMPILED

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py from the models: change those, then `make docs`. -->"
PARTS: dict[str, type[BaseModel]] = {
    "The file": Tenant,
    "controller": Controller,
    "pipelines.NAME": Pipeline,
    "streams.NAME": StreamSpec,
    "privacy": Privacy,
    "subject: whose rows these are": Subject,
    "subject: nobody's": NoSubject,
    "columns.LEAF: a treatment": Treatment,
    "expect: a rule": Expectation,
    "quarantine": Quarantine,
    "load": Load,
}


def tenant_file() -> str:
    """The page on tenant files."""
    lines = [
        "# The tenant file",
        GENERATED,
        "One file a tenant, `include/tenants/TENANT.yaml`, named after it. `importers lint` checks it and points at the"
        " line; `importers schema` prints its JSON schema for editors. What a stream says counts over what its pipeline"
        " says, and that over what the tenant says; rules add up. The two files in include/tenants are examples with"
        " comments.",
    ]
    for title, model in PARTS.items():
        lines += [f"## {title}", (model.__doc__ or "").strip(), *_table(settings(model))]
    lines += [
        "## Treatments",
        ", ".join(f"`{treat}`" for treat in Treat) + ".",
        "Masks: " + ", ".join(f"`{m}`" for m in Mask) + ".",
    ]
    lines += ["Short forms: `keep`; `{mask: date, unit: month}`; `{pseudonymise: {domain: listener}}`."]
    return _page([*lines, "## Rules", *_rules()])


def _rules() -> Iterator[str]:
    yield (
        "In Great Expectations' words. A row that breaks a rule goes to quarantine; with `mostly`, the run fails"
        " if a smaller share of the values holds. A rule on the whole run fails the run."
    )
    rows = []
    for name, rule in COMPILED.items():
        fields = rule.model_json_schema()["properties"]
        rows.append(
            f"| `{name}` | {(rule.__doc__ or '').splitlines()[0]} | {', '.join(f'`{field}`' for field in fields)} |"
        )
    yield "\n".join(["| rule | holds when | settings |", "|---|---|---|", *rows])
    yield (
        "Judged by Great Expectations itself, slower, with its extra installed: "
        + ", ".join(f"`{n}`" for n in ROW_LEVEL)
        + "."
    )


def catalogue() -> str:
    """The page on sources."""
    lines = ["# Sources", GENERATED, "What `importer:` may name. `importers sources` prints the same."]
    for name in sources():
        source = entry(name)
        lines += [f"## {name}", f"{source['title']} (family {source['family']})."]
        if source["extra"]:
            lines.append(f"Needs `pip install 'airflow-provider-importers[{source['extra']}]'`.")
        if source["permitted_use"]:
            lines.append(source["permitted_use"])
        lines += _table(source["settings"])
    return _page(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        f"| `{row['name']}` | {_escape(row['type'])} | {_default(row)} | {_escape(row['description'])} |"
        for row in rows
    ]
    return ["\n".join(["| key | what | default | |", "|---|---|---|---|", *cells])]


def _default(row: dict[str, Any]) -> str:
    """Of what has parts, the parts' defaults stand in a table of their own."""
    default = row["default"]
    if row["required"]:
        return "needed"
    return "" if default is None or isinstance(default, dict) or default == [] else f"`{json.dumps(default)}`"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _page(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> int:
    stale = []
    for name, text in {"tenant-file.md": tenant_file(), "sources.md": catalogue()}.items():
        page = DIRECTORY / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run `make docs`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
