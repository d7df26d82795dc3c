"""Governed data import for many tenants: extract → validate → anonymise → load, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importers.api import (
        Importer,
        ImporterHealthCheck,
        ImportResult,
        Outcome,
        get_importer,
        orchestrate_import_pipeline,
    )

__all__ = [
    "ImportResult",
    "Importer",
    "ImporterHealthCheck",
    "Outcome",
    "get_importer",
    "orchestrate_import_pipeline",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the API on first use: `import importers` itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'importers' has no attribute {name!r}")
    from importers import api

    return getattr(api, name)
