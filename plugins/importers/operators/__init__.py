"""The steps of an import as ordinary operators, for the generated DAGs and for hand-written ones."""

from importers.operators.retry import RetryByRemedy
from importers.operators.steps import (
    AnonymiseOperator,
    CleanOperator,
    CommitOperator,
    ExtractOperator,
    GateOperator,
    LoadOperator,
    PlanOperator,
    ValidateOperator,
)
from importers.operators.sweep import SweepOperator

__all__ = [
    "AnonymiseOperator",
    "CleanOperator",
    "CommitOperator",
    "ExtractOperator",
    "GateOperator",
    "LoadOperator",
    "PlanOperator",
    "RetryByRemedy",
    "SweepOperator",
    "ValidateOperator",
]
