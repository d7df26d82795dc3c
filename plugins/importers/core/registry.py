"""Sources and destinations, found by their place on disk and imported on first use.

`sources/files/csv.py` is the source `csv` of the family `files`; its class is the one Source subclass it defines.
Adding a system is adding a file.
"""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from importers.core.destination import Destination
from importers.core.names import did_you_mean
from importers.core.source import Source
from importers.exceptions import ConfigError, MissingExtraError

PACKAGE = Path(__file__).parents[1]
SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql"}
"""Which destination serves a URL's scheme."""


@cache
def sources() -> dict[str, str]:
    """Name → family of every source there is. Imports none of them."""
    return {
        path.stem: path.parent.name
        for path in sorted((PACKAGE / "sources").glob("*/*.py"))
        if not path.stem.startswith("_") and not path.parent.name.startswith("_")
    }


@cache
def destinations() -> tuple[str, ...]:
    """The name of every destination there is."""
    return tuple(sorted(p.stem for p in (PACKAGE / "destinations").glob("*.py") if not p.stem.startswith("_")))


def source_class(name: str) -> type[Source[Any]]:
    """The class behind a registry name. Raises ConfigError for a name that no file has."""
    if name not in sources():
        raise ConfigError(f"there is no importer '{name}'", do=did_you_mean(name, sources()))
    return _only_subclass(f"importers.sources.{sources()[name]}.{name}", Source)


def destination_class(name: str) -> type[Destination]:
    """The class behind a destination's name."""
    if name not in destinations():
        raise ConfigError(f"there is no destination '{name}'", do=did_you_mean(name, destinations()))
    return _only_subclass(f"importers.destinations.{name}", Destination)


def _only_subclass(module: str, base: type) -> type[Any]:
    found = [
        item
        for _, item in inspect.getmembers(import_module(module), inspect.isclass)
        if issubclass(item, base) and item.__module__ == module and not inspect.isabstract(item)
    ]
    if len(found) != 1:
        raise TypeError(f"{module} must define exactly one {base.__name__}, it has {[c.__name__ for c in found]}")
    return found[0]


def optional(module: str, extra: str) -> Any:
    """Import a client library that only some installations have. Raises MissingExtraError, which names the extra."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"'{module}' isn't installed", do=f"pip install 'airflow-provider-importers[{extra}]'"
        ) from None
