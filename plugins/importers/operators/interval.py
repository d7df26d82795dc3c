"""What a DAG run asks for: its key, its kind and its window, from its dates and from what a person entered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from importers.core.model import Reads, RunKind, Window
from importers.core.names import did_you_mean
from importers.exceptions import ConfigError

if TYPE_CHECKING:
    from airflow.sdk import Context

SAMPLE = 100
"""Good rows that a dry run looks at, unless it is told."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a person entered: `dag_factory.params` draws the form, field by field. Nothing entered: an ordinary run."""

    start: str | None = None
    end: str | None = None
    streams: tuple[str, ...] = ()
    """None of them: all."""
    full_refresh: bool = False
    replay_quarantine: bool = False
    dry_run: bool = False
    sample_size: int | None = None

    @property
    def window(self) -> Window:
        return Window(self.start, self.end)

    def wants(self, stream: str | None) -> bool:
        """Whether the run is about the stream; a pipeline that names none has just one."""
        return stream is None or not self.streams or stream in self.streams


FIELDS = tuple(Form.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Request:
    """The same DAG run gives the same key, whatever is cleared and tried again."""

    key: str
    kind: RunKind
    window: Window
    full_refresh: bool
    because: str = field(compare=False)
    """Where the window comes from, or where the run starts without one."""

    @property
    def plain(self) -> bool:
        """Whether it is a run like any other: no backfill, replay or full refresh."""
        return self.kind is RunKind.INCREMENTAL and not self.full_refresh

    @property
    def story(self) -> str:
        """For a person: which window or position the run took, and why."""
        if not self.window.bounded:
            return self.because
        return f"{self.window.start or 'the beginning'} to {self.window.end or 'now'}, {self.because}"


def form_of(context: Context) -> Form:
    """What was entered, by hand or in a backfill's configuration. Raises one ConfigError for all that is wrong."""
    params: Mapping[str, Any] = context.get("params") or {}
    form = Form(
        start=_moment(params.get("start"), "start"),
        end=_moment(params.get("end"), "end"),
        streams=tuple(params.get("streams") or ()),
        full_refresh=bool(params.get("full_refresh")),
        replay_quarantine=bool(params.get("replay_quarantine")),
        dry_run=bool(params.get("dry_run")),
        sample_size=params.get("sample_size"),
    )
    wrong = [*_misspelt(context), *_contradictions(form, context["dag_run"].run_type)]
    if wrong:
        raise ConfigError("this run can't be what was asked for", got="; ".join(wrong), do="trigger it anew without")
    return form


def request_of(context: Context, reads: Reads, form: Form | None = None) -> Request:
    """A backfill, and whoever enters dates, asks for a window; so does an interval, of a source that reads by it.

    A run without an interval (from the command line, or with `logical_date: null`) goes on from the position.
    Raises ConfigError.
    """
    run, form = context["dag_run"], form or form_of(context)
    kind, window, because = RunKind.INCREMENTAL, Window(), "no dates: goes on from the committed position"
    if form.replay_quarantine:
        kind, because = RunKind.REPLAY, "the quarantine that isn't replayed yet"
    elif form.window.bounded:
        kind, window, because = RunKind.WINDOW, form.window, "the dates that were entered"
    elif form.full_refresh:
        because = "a full refresh: everything, wherever the position is"
    elif run.run_type == "backfill" or reads is Reads.WINDOW:
        interval = _interval(context)
        if interval.bounded:
            kind, window, because = RunKind.WINDOW, interval, f"the interval of a {run.run_type} run"
    elif reads is Reads.SNAPSHOT:
        because = "a snapshot: everything that the source has now"
    return Request(f"{run.dag_id}/{run.run_id}", kind, window, form.full_refresh, because)


def _interval(context: Context) -> Window:
    """Of a run by hand of a DAG without a schedule, start and end are one moment: nothing to read between them."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    return Window() if start == end else Window(_iso(start), _iso(end))


def _misspelt(context: Context) -> list[str]:
    """Airflow takes any key of a configuration; here a misspelt one would silently be an ordinary run."""
    dag, entered = context.get("dag"), getattr(context["dag_run"], "conf", None)
    if dag is None or not entered or not set(FIELDS) - {"streams"} <= set(dag.params):  # somebody's own DAG
        return []
    unknown = sorted(set(entered) - set(dag.params))
    return [f"there is no '{name}': {did_you_mean(name, dag.params)}" for name in unknown]


def _contradictions(form: Form, run_type: str) -> list[str]:
    """In words: each pair that can't be meant."""
    bounded, backfill = form.window.bounded, run_type == "backfill"
    start, end = form.start, form.end
    empty = bool(start and end and datetime.fromisoformat(start) >= datetime.fromisoformat(end))
    rules = {
        f"the window is empty: {start} to {end}": empty,
        "a full refresh of a window: a window is read again as it is": form.full_refresh and (bounded or backfill),
        "a window of the quarantine: all that isn't replayed yet is": form.replay_quarantine and (bounded or backfill),
        "both a full refresh and a replay of the quarantine": form.full_refresh and form.replay_quarantine,
        "a dry run of the quarantine: there is no preview of it": form.dry_run and form.replay_quarantine,
        "a sample without a dry run: a run loads all or nothing": form.sample_size is not None and not form.dry_run,
        "dates in a backfill: each of its runs has its own": bounded and backfill,
    }
    return [rule for rule, broken in rules.items() if broken]


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
