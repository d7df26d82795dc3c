"""Pages to keep or send: one file, no script, nothing from another host, light or dark, on a phone too."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from importers.core.registry import optional
from importers.exceptions import ConfigError


def write_page(place: Path, template: str, **said: Any) -> None:
    """A page as a file. Raises as `page_of` does, and ConfigError for the place."""
    text = page_of(template, **said)
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{place} can't be written", got=str(error.strerror), do="name another file") from None


def page_of(template: str, **said: Any) -> str:
    """A filled template of `pages/templates`. Raises MissingExtraError without jinja2."""
    jinja2 = optional("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("importers.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = lambda *lists: list(zip(*lists, strict=False))
    environment.filters |= {"number": lambda value: f"{value:,}", "value": shown}
    text: str = environment.get_template(template).render(**said)
    return text


def shown(value: Any) -> str:
    """A value in a line: moments to the second, numbers to six places, text cut."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds").removesuffix("+00:00")
    if isinstance(value, float):
        return f"{value:,.6g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
