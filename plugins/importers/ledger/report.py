"""What the ledger has on a run, for a report: what the gate said, what was kept out and why, and the runs before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from importers.ledger import history
from importers.ledger.history import PastRun

PAST = 30
"""Runs in the plot."""
LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Reported:
    """A run, what the gate said (None: it never came so far), rows in quarantine by reason, and the runs before it."""

    run: PastRun
    judgement: Mapping[str, Any] | None
    reasons: Mapping[str, int]
    past: Sequence[PastRun]
    """The stream's last runs up to this one, the oldest first."""


def reported(connection: psycopg.Connection, tenant: str, pipeline: str, number: int | None = None) -> list[Reported]:
    """Run `number` of a pipeline, or the newest of each of its streams. Nothing where there is none."""
    past = history.runs(connection, tenant, pipeline, limit=LOOKED_AT) if history.begun(connection) else []
    wanted = _wanted(past, number)
    if not wanted:
        return []
    said = history.judgements(connection, [run.id for run in wanted])
    files = history.kept_files(connection, tenant, pipeline, limit=10 * LOOKED_AT)
    found = []
    for run in wanted:
        reasons = sum((Counter(file.reasons) for file in files if file.run == run.id), Counter[str]())
        before = [one for one in past if one.stream == run.stream and one.id <= run.id][:PAST]
        found.append(Reported(run, said.get(run.id), dict(reasons.most_common()), before[::-1]))
    return found


def _wanted(past: Sequence[PastRun], number: int | None) -> list[PastRun]:
    if number is not None:
        return [run for run in past if run.id == number]
    return sorted(history.newest_of_each(past), key=lambda run: run.stream)
