"""`importers sources`: what data can come from, and which settings each source has."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from pydantic import BaseModel


@click.command("sources")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@asked.as_json
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the importers there are, with their settings."""
    from importers.core.registry import source_class, sources

    for name in names:
        source_class(name)  # raises for one that there isn't
    entries = [entry(name) for name in names or sources()]
    if as_json:
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _show(entries)


def entry(name: str) -> dict[str, Any]:
    """A source of the catalogue as JSON: name, family, title, extra, permitted_use, settings."""
    from importers.core.registry import source_class, sources

    cls = source_class(name)
    return {
        "name": name,
        "family": sources()[name],
        "title": cls.title,
        "extra": cls.extra,
        "permitted_use": cls.permitted_use,
        "settings": settings(cls.config_model),
    }


def settings(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The settings of a source, those first that are required: name, type in words, default, description."""
    schema = model.model_json_schema()
    found = [
        {
            "name": name,
            "type": _words(field, schema.get("$defs", {})),
            "required": name in schema.get("required", []),
            "default": field.get("default"),
            "description": field.get("description", ""),
        }
        for name, field in schema["properties"].items()
    ]
    return sorted(found, key=lambda each: not each["required"])


_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "nothing",
}


def _words(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _words(defs[schema["$ref"].rsplit("/", 1)[-1]], defs)
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_words(part, defs) for part in schema["anyOf"] if part.get("type") != "null"))
    if schema.get("type") == "array":
        return f"list of {_words(schema.get('items', {}), defs)}"
    return _TYPES.get(schema.get("type", ""), "mapping" if schema.get("type") == "object" else "anything")


def _show(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for source in entries:
        extra = f"  pip install 'airflow-provider-importers[{source['extra']}]'" if source["extra"] else ""
        console.print(f"\n[bold]{source['name']}[/] ({source['family']}): {escape(source['title'] + extra)}")
        if source["permitted_use"]:
            console.print(f"  {escape(source['permitted_use'])}")
        table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=bool(source["settings"]))
        for heading in ("  setting", "type", "default", "description"):
            table.add_column(heading, overflow="fold")
        for setting in source["settings"]:
            default = "required" if setting["required"] else json.dumps(setting["default"])
            cells = (f"  {setting['name']}", setting["type"], default, setting["description"])
            table.add_row(*map(escape, cells))
        console.print(table)
