"""Rows at rest between the steps of a run, and the bad ones after it: encrypted, atomic, on disk or in a bucket."""

from importers.staging.area import Staging
from importers.staging.place import Place, RunPlace
from importers.staging.quarantine import Quarantine, Quarantined, QuarantineWriter
from importers.staging.sweeper import SweepReport, sweep, sweep_quarantine
from importers.staging.writer import StagedWriter

__all__ = [
    "Place",
    "Quarantine",
    "QuarantineWriter",
    "Quarantined",
    "RunPlace",
    "StagedWriter",
    "Staging",
    "SweepReport",
    "sweep",
    "sweep_quarantine",
]
