"""The trigger form: what a person may ask of one run. `operators.interval` reads it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.sdk import Param

from importers.operators.interval import SAMPLE

WHAT, HOW, TRIAL = "What to read", "From the beginning", "Only look"


def form(streams: Collection[str]) -> dict[str, Param]:
    """Fields by name. Left as they are, they make an ordinary run. Airflow answers what has another type with 400."""
    moment: dict[str, Any] = {
        "type": ["null", "string"],
        "format": "date-time",  # draws the calendar; nothing that Airflow installs checks it
        "pattern": r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}",
        "section": WHAT,
    }
    fields = {
        "start": Param(
            None,
            title="Window: from",
            description="Import again what is of this time or later. Without dates a run goes on where the last ended.",
            **moment,
        ),
        "end": Param(None, title="Window: to", description="Up to this time, itself not included.", **moment),
        "streams": _choice(streams),
        "full_refresh": Param(
            False,
            type="boolean",
            title="Full refresh",
            description="Read everything again, not only what is new. Needs load mode merge or replace.",
            section=HOW,
        ),
        "replay_quarantine": Param(
            False,
            type="boolean",
            title="Replay quarantine",
            description="Instead of the source read the quarantined rows, and load those that today's rules let pass.",
            section=HOW,
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Read a sample, judge it and apply the policy, then stop: nothing is written anywhere. The log "
            "of `plan` has counts and what becomes of each column, never rows.",
            section=TRIAL,
        ),
        "sample_size": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=100_000,
            title="Sample size",
            description=f"How many good rows a dry run looks at; {SAMPLE} unless you say.",
            section=TRIAL,
        ),
    }
    return fields if len(streams) > 1 else {name: field for name, field in fields.items() if name != "streams"}


def _choice(streams: Collection[str]) -> Param:
    names = list(streams)
    return Param(
        names,
        type="array",
        items={"type": "string", "enum": names},
        examples=names,  # what Airflow offers to choose from
        minItems=1,
        uniqueItems=True,
        title="Streams",
        description="Only these; the tasks of the others are skipped.",
        section=WHAT,
    )
