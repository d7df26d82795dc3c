"""Writes docs/reference from the models, classes and commands themselves: what the pages say is what the program does.

With --check nothing is written; exits 1 if a page is stale. A field or option that nobody described is an error.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from ruamel.yaml import YAML

from importers.cli.main import main as command_line
from importers.cli.sources import entry, settings
from importers.core.registry import source_class, sources
from importers.core.source import Source
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
from importers.quality.rowwise import RowRule
from importers.quality.runwide import UniqueRule
from importers.quality.typewise import ShapeRule
from importers.quality.vocabulary import COMPILED, UNSAID

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py from the code: change that, then `make docs`. -->"
PARTS: dict[str, tuple[type[BaseModel], str]] = {
    "The file": (
        Tenant,
        """
        tenant: acme
        controller: {name: Acme Music GmbH, contact: dpo@acme.example}
        importers:
          csv: {delimiter: ";"}
        privacy: {lawful_basis: contract}
        pipelines:
          orders: {importer: csv, config: {path: in/orders-*.csv}}
        """,
    ),
    "controller": (Controller, "{name: Acme Music GmbH, contact: dpo@acme.example}"),
    "pipelines.NAME": (
        Pipeline,
        """
        importer: csv
        config: {path: in/orders-*.csv}
        schedule: "30 5 * * *"
        quarantine: {max_fraction: 0.001}
        privacy: {purpose: order statistics, columns: {order_id: keep}}
        expect:
          - expect_column_values_to_not_be_null: {column: order_id}
        load: {mode: merge, primary_key: order_id}
        streams: {orders: {load: {table: all_orders}}}
        max_parallel: 4
        staging_ttl: PT12H
        """,
    ),
    "streams.NAME": (
        StreamSpec,
        """
        expect:
          - expect_column_values_to_be_unique: {column: order_id}
        privacy: {columns: {note: drop}}
        load: {table: all_orders}
        """,
    ),
    "privacy": (
        Privacy,
        """
        purpose: order statistics
        lawful_basis: contract
        subject: {column: customer, domain: customer}
        columns: {order_id: keep, customer: pseudonymise, email: {mask: email}, "items[].note": drop}
        unclassified: drop
        """,
    ),
    "subject: whose rows these are": (Subject, "{column: payload.user.id, domain: listener}"),
    "subject: nobody's": (NoSubject, "{none: true, reason: songs as published; no listener is in the data}"),
    "columns.LEAF: a treatment": (Treatment, "{treat: mask, mask: date, unit: month}"),
    "expect: a rule": (Expectation, "expect_column_values_to_be_between: {column: total, min_value: 0, mostly: 0.99}"),
    "quarantine": (Quarantine, "{max_fraction: 0.001, retention: P14D}"),
    "load": (Load, "{mode: merge, table: orders, primary_key: [shop, order_id], cursor: changed_at}"),
}
"""Each part of a tenant file: its model, and an example that the model has to take."""


def tenant_file() -> str:
    """The page on tenant files."""
    lines = [
        "# The tenant file",
        GENERATED,
        "Every key of a tenant file, with its type, default and meaning. One file a tenant,"
        " `include/tenants/TENANT.yaml`, named after it. `importers lint` checks it and points at the line; `importers"
        " schema` prints its JSON schema for editors. What a stream says counts over what its pipeline says, and that"
        " over what the tenant says; rules add up. The two files in include/tenants are examples with comments.",
        "A duration is ISO 8601: `PT30M`, `P30D`, `P2Y`. What is called reserved is read and does nothing yet.",
    ]
    for title, (model, example) in PARTS.items():
        lines += [f"## {title}", inspect.cleandoc(model.__doc__ or ""), *_table(settings(model), model.__name__)]
        lines.append(_example(model, inspect.cleandoc(example)))
    lines += [
        "## Treatments",
        ", ".join(f"`{treat}`" for treat in Treat) + ". What each does is told in [privacy](../privacy.md).",
        "Masks: " + ", ".join(f"`{m}`" for m in Mask) + ".",
    ]
    lines += ["Short forms: `keep`; `{mask: date, unit: month}`; `{pseudonymise: {domain: listener}}`."]
    lines += ["## Rules", "In Great Expectations' words: [every rule, and how it is judged](rules.md)."]
    return _page(lines)


def rules() -> str:
    """The page on rules: every type, and how it runs."""
    lines = [
        "# Rules",
        GENERATED,
        "What `expect` may say, in Great Expectations' words; a setting means what it means there, and a test holds"
        " both to the same rows. A row that breaks a rule about rows is bad: it goes to quarantine, and with `mostly`"
        " the run fails if a smaller share of the values holds. A rule on the whole run or on its columns has no bad"
        " rows: it fails the run. Both look at all partitions together. A row that is bad already takes no part in what"
        " is said of all rows, uniqueness too, since it isn't loaded: where a replay mends it, its key may be in the"
        " table already."
        " [Quality](../quality.md) tells more of profiles and drift.",
        "Every rule on rows or on a run also takes `row_condition`, and is then about the rows for which that holds:"
        " [how it is written](../quality.md#rules-on-some-of-the-rows). Great Expectations' `severity`, `meta`"
        " and `notes` aren't taken: a rule that breaks does what this page says.",
    ]
    kinds: dict[str, list[tuple[str, type[BaseModel]]]] = {"rows": [], "runs": [], "columns": []}
    for name, rule in COMPILED.items():
        keyed = issubclass(rule, UniqueRule | RowRule)
        kinds["rows" if keyed else "columns" if issubclass(rule, ShapeRule) else "runs"].append((name, rule))
    for about, found in kinds.items():
        rows = [
            f"| `{name}` | {(rule.__doc__ or '').splitlines()[0]} |"
            f" {', '.join(f'`{field}`' for field in rule.model_json_schema()['properties'])} |"
            for name, rule in found
        ]
        title = {"rows": "On rows", "runs": "On a run", "columns": "On columns and their types"}[about]
        lines += [f"## {title}", "\n".join(["| rule | holds when | settings |", "|---|---|---|", *rows])]
    lines += [
        "## Judged by Great Expectations itself",
        "Slower, batch by batch, with the extra `great-expectations` installed: "
        + ", ".join(f"`{name}`" for name in ROW_LEVEL)
        + "; and regular expressions with look-around or back-references.",
        "## Not there",
        "`importers lint` refuses these.",
        "\n".join(
            ["| type | why, or what to say instead |", "|---|---|", *(f"| `{n}` | {w} |" for n, w in UNSAID.items())]
        ),
    ]
    return _page(lines)


def catalogue() -> str:
    """The page that lists the sources."""
    rows = [
        f"| [`{name}`]({name}.md) | {source['family']} | {source['title']} | {source['extra'] or ''} |"
        for name in sources()
        for source in [entry(name)]
    ]
    return _page(
        [
            "# Sources",
            GENERATED,
            "What `importer:` may name, with a page each. `importers sources` prints the same.",
            "\n".join(["| name | family | what | extra |", "|---|---|---|---|", *rows]),
        ]
    )


def source_page(name: str) -> str:
    """The page of one source, from its class and the model of its settings."""
    source, cls = entry(name), source_class(name)
    lines = [f"# {name}", GENERATED, f"{source['title']} (family {source['family']})."]
    if source["extra"]:
        lines.append(f"Needs `pip install 'airflow-provider-importers[{source['extra']}]'`.")
    if source["permitted_use"]:
        lines.append(source["permitted_use"])
    if cls.connection_type:
        lines.append(_connection(name, cls))
    lines += [inspect.cleandoc(text) for text in (cls.__dict__.get("__doc__"), cls.config_model.__doc__) if text]
    schema = cls.config_model.model_json_schema()["properties"]
    needed = {s["name"]: schema[s["name"]].get("examples", [None])[0] for s in source["settings"] if s["required"]}
    if None not in needed.values():
        cls.config_model.model_validate(needed)
        config = ", ".join(f"{key}: {value}" for key, value in needed.items())
        lines.append(_yaml(f"importer: {name}\nconfig: {{{config}}}"))
    return _page([*lines, *_table(source["settings"], name)])


def _connection(name: str, cls: type[Source[Any]]) -> str:
    """Which connection a source takes, and which variables are one without Airflow."""
    when = " for paths at `s3://`" if cls.connection_type == "aws" and name != "s3" else ""
    needed, besides = ([f"`{v}`" for v in said.values()] for said in (cls.environment, cls.environment_besides))
    also = f" (and {', '.join(besides)}, where it takes them)" if besides else ""
    return (
        f"Its [connection](../../connections.md){when} is `importer_TENANT_{name}`, of Airflow's type"
        f" `{cls.connection_type}`; without Airflow it is what these variables say: {', '.join(needed)}{also}."
    )


def commands() -> str:
    """The page on the command line."""
    lines = ["# The command line, option by option", GENERATED, "What `importers COMMAND --help` says."]
    return _page(
        [
            *lines,
            *_command(
                click.Context(command_line, info_name="importers", terminal_width=100, **command_line.context_settings)
            ),
        ]
    )


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    yield f"## {context.command_path}"
    yield textwrap.indent(context.get_help(), "    ")
    for option in (param for param in command.params if isinstance(param, click.Option)):
        if not option.help:
            raise SystemExit(f"{context.command_path} {option.opts[0]} has no help")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child and not child.hidden:
                yield from _command(click.Context(child, info_name=name, parent=context, terminal_width=100))


def _table(rows: list[dict[str, Any]], whose: str) -> list[str]:
    for row in rows:
        if not row["description"]:
            raise SystemExit(f"{whose}.{row['name']} has no description: give the field a docstring")
    cells = [
        f"| `{row['name']}` | {_escape(row['type'])} | {_default(row)} | {_escape(row['description'])} |"
        for row in rows
    ]
    return ["\n".join(["| key | what | default | |", "|---|---|---|---|", *cells])]


def _example(model: type[BaseModel], text: str) -> str:
    model.model_validate(YAML(typ="safe", pure=True).load(text))
    return _yaml(text)


def _yaml(text: str) -> str:
    return f"<!-- not run: part of a file; its model took it when this page was written -->\n```yaml\n{text}\n```"


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


def pages() -> dict[str, str]:
    """Every generated page by its name below docs/reference."""
    made = {"tenant-file.md": tenant_file(), "rules.md": rules(), "cli.md": commands(), "sources/index.md": catalogue()}
    return made | {f"sources/{name}.md": source_page(name) for name in sources()}


def main() -> int:
    made = pages()
    there = {str(page.relative_to(DIRECTORY)): page for page in DIRECTORY.rglob("*.md")}
    gone = sorted(there.keys() - made)
    stale = [n for n, text in made.items() if n not in there or there[n].read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        if stale or gone:
            print(f"stale: {', '.join(stale + gone)}; run `make docs`")
        return int(bool(stale or gone))
    for name in stale:
        (DIRECTORY / name).parent.mkdir(parents=True, exist_ok=True)
        (DIRECTORY / name).write_text(made[name], encoding="utf-8")
    for name in gone:
        there[name].unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
