"""What a DAG run asks for: its key, its kind and its window, from its dates and from what a person entered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from importers.core.model import Reads, RunKind, Window
from importers.exceptions import ConfigError

if TYPE_CHECKING:
    from airflow.sdk import Context


@dataclass(frozen=True, slots=True)
class Request:
    """The same DAG run gives the same key, whatever is cleared and tried again."""

    key: str
    kind: RunKind
    window: Window
    full_refresh: bool


def request_of(context: Context, reads: Reads) -> Request:
    """A backfill, and whoever enters dates, asks for a window; so does an interval, of a source that reads by it.

    A run without an interval (from the command line, or with `logical_date: null`) goes on from the position.
    Raises ConfigError.
    """
    run = context["dag_run"]
    params: Mapping[str, Any] = context.get("params") or {}
    window = Window(_moment(params.get("start"), "start"), _moment(params.get("end"), "end"))
    if not window.bounded and (run.run_type == "backfill" or reads is Reads.WINDOW):
        window = Window(_iso(context.get("data_interval_start")), _iso(context.get("data_interval_end")))
    if window.start and window.end and datetime.fromisoformat(window.start) >= datetime.fromisoformat(window.end):
        raise ConfigError("the window is empty", got=f"{window.start} to {window.end}", do="let it end after it starts")
    kind = RunKind.WINDOW if window.bounded else RunKind.INCREMENTAL
    return Request(f"{run.dag_id}/{run.run_id}", kind, window, bool(params.get("full_refresh")))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: Any, name: str) -> str | None:
    if text in (None, ""):
        return None
    do = "write it as 2026-01-31T00:00:00+00:00"
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"the parameter '{name}' isn't a moment", got=repr(text)[:40], do=do) from None
    if moment.tzinfo is None:
        raise ConfigError(f"the parameter '{name}' lacks its offset from UTC", got=repr(text)[:40], do=do)
    return moment.isoformat()
