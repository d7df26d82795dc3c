"""The public Python API."""

from importers.api.importer import (
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
