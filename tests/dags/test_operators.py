"""Operators alone: what they ask for, and when they are tried again."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, RetryAction
from airflow.sdk.exceptions import TaskDeferred
from hypothesis import given
from hypothesis import strategies as st

from importers.core.model import LoadMode, Reads, RunKind, Window
from importers.core.retention import Expired
from importers.dag_factory.params import form
from importers.exceptions import (
    ConfigError,
    ContractError,
    FatalSourceError,
    ImporterError,
    MissingExtraError,
    PrivacyError,
    QualityError,
    RunAbortedError,
    RunBusyError,
    StagingError,
    TransientSourceError,
)
from importers.operators import ExtractOperator, PlanOperator, RetryByRemedy, SweepOperator
from importers.operators.base import ImportOperator, kept_alive
from importers.operators.interval import FIELDS, Form, form_of, request_of
from importers.operators.retry import WAITS
from importers.pipeline.sweep import Swept
from importers.pipeline.unopened import Attempt
from importers.staging.sweeper import SweepReport

START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
INTERVAL = {"data_interval_start": START, "data_interval_end": END}
DAY = Window("2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00")


def context(run_type: str = "manual", params: dict[str, Any] | None = None, **more: Any) -> Any:
    run = SimpleNamespace(dag_id="acme.songs", run_id=f"{run_type}__1", run_type=run_type)
    return {"dag_run": run, "params": params or {}, **more}


@pytest.mark.parametrize(
    ("run_type", "reads", "dates", "kind", "window"),
    [
        ("scheduled", Reads.POSITION, INTERVAL, RunKind.INCREMENTAL, Window()),
        ("scheduled", Reads.SNAPSHOT, INTERVAL, RunKind.INCREMENTAL, Window()),
        ("scheduled", Reads.WINDOW, INTERVAL, RunKind.WINDOW, DAY),
        ("backfill", Reads.POSITION, INTERVAL, RunKind.WINDOW, DAY),
        ("backfill", Reads.WINDOW, INTERVAL, RunKind.WINDOW, DAY),
        ("manual", Reads.POSITION, INTERVAL, RunKind.INCREMENTAL, Window()),
        ("manual", Reads.WINDOW, {}, RunKind.INCREMENTAL, Window()),  # the interval's keys are absent
    ],
)
def test_what_a_run_asks_for(run_type: str, reads: Reads, dates: Any, kind: RunKind, window: Window) -> None:
    request = request_of(context(run_type, **dates), reads)
    assert (request.kind, request.window) == (kind, window)
    assert request.key == f"acme.songs/{run_type}__1"
    assert not request.full_refresh


def test_what_a_person_enters_goes_first() -> None:
    entered = {"start": "2026-01-01T00:00:00+01:00", "end": None}
    request = request_of(context("scheduled", entered, **INTERVAL), Reads.WINDOW)
    assert request.window == Window("2026-01-01T00:00:00+01:00", None)
    assert request.kind is RunKind.WINDOW
    assert request.story == "2026-01-01T00:00:00+01:00 to now, the dates that were entered"


@pytest.mark.parametrize("reads", Reads)
def test_a_full_refresh_needs_no_dates(reads: Reads) -> None:
    request = request_of(context(params={"full_refresh": True}, **INTERVAL), reads)
    assert (request.kind, request.window, request.full_refresh) == (RunKind.INCREMENTAL, Window(), True)


def test_a_replay_needs_no_dates() -> None:
    request = request_of(context(params={"replay_quarantine": True}, **INTERVAL), Reads.WINDOW)
    assert (request.kind, request.window) == (RunKind.REPLAY, Window())


def test_one_moment_is_no_interval() -> None:
    at = {"data_interval_start": START, "data_interval_end": START}
    request = request_of(context(**at), Reads.WINDOW)
    assert (request.kind, request.window) == (RunKind.INCREMENTAL, Window())
    assert "committed position" in request.story


DATES = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("entered", "run_type", "words"),
    [
        (DATES | {"full_refresh": True}, "manual", ["full refresh of a window"]),
        ({"full_refresh": True}, "backfill", ["full refresh of a window"]),
        (DATES | {"replay_quarantine": True}, "manual", ["window of the quarantine"]),
        ({"replay_quarantine": True, "full_refresh": True}, "manual", ["both a full refresh and a replay"]),
        ({"replay_quarantine": True, "dry_run": True}, "manual", ["dry run of the quarantine"]),
        ({"sample_size": 5}, "manual", ["sample without a dry run"]),
        (DATES, "backfill", ["dates in a backfill"]),
        (DATES | {"full_refresh": True, "sample_size": 5}, "manual", ["full refresh of a window", "sample without"]),
    ],
)
def test_what_cannot_be_meant_together_is_one_error(entered: dict[str, Any], run_type: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        form_of(context(run_type, entered))
    assert all(word in str(caught.value) for word in words)
    assert str(caught.value).count(";") == len(words)


def test_a_misspelt_field_is_an_error_where_the_dag_has_the_form() -> None:
    params = dict.fromkeys(set(FIELDS) - {"streams"})
    asked = context(params={"ful_refresh": True}, dag=SimpleNamespace(params=params))
    asked["dag_run"].conf = {"ful_refresh": True}
    with pytest.raises(ConfigError, match="no 'ful_refresh': did you mean 'full_refresh'"):
        form_of(asked)
    asked["dag"].params = {"mine": 1}
    assert form_of(asked) == Form()


def test_the_form_has_just_the_fields_that_are_read() -> None:
    assert set(form(["plays", "skips"])) == set(FIELDS)
    assert set(form(["plays"])) == set(form([])) == set(FIELDS) - {"streams"}


def test_the_form_left_as_it_is_asks_for_nothing() -> None:
    fields = form(["plays", "skips"])
    untouched = form_of(context(params={name: field.resolve() for name, field in fields.items()}))
    assert untouched == Form(streams=("plays", "skips"))
    assert untouched.wants("plays")
    assert untouched.wants(None)
    assert not Form(streams=("plays",)).wants("skips")


def test_every_field_says_what_it_is_and_where_it_belongs() -> None:
    for name, field in form(["plays", "skips"]).items():
        assert {"type", "title", "section"} <= field.schema.keys(), name
        assert field.description, name


@pytest.mark.parametrize(
    "entered",
    [
        {"start": "yesterday"},
        {"start": "2026-01-01T00:00:00"},
        {"end": 5},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        {"start": "2026-01-01T01:00:00+01:00", "end": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_window_that_is_none_is_refused(entered: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        request_of(context(params=entered), Reads.POSITION)


class Told(ImportOperator):
    """Is told to wait, always."""

    def attempt(self, context: Any) -> Any:
        raise TransientSourceError("later", retry_after=90)


def test_a_wait_that_was_told_is_the_triggerers_and_the_try_goes_on() -> None:
    operator = Told(task_id="told", tenant="acme")
    before = datetime.now(UTC)
    with pytest.raises(TaskDeferred) as deferred:
        operator.go_on({}, event=None, waited=7)  # type: ignore[typeddict-item]
    moment = deferred.value.trigger.moment
    assert timedelta(seconds=90) <= moment - before <= timedelta(seconds=690)  # however busy the machine is
    assert (deferred.value.method_name, deferred.value.kwargs) == ("go_on", {"waited": 8})
    assert deferred.value.timeout is None


def test_who_is_told_to_wait_for_ever_fails_some_time() -> None:
    with pytest.raises(TransientSourceError):
        Told(task_id="told", tenant="acme").go_on({}, event=None, waited=WAITS)  # type: ignore[typeddict-item]


@pytest.mark.parametrize("records", [0, 3])
def test_a_run_of_a_stream_that_found_nothing_lasts_on_in_the_triggerer(
    records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DAG("acme.plays", schedule=None):
        operator = PlanOperator(task_id="plan", tenant="acme", pipeline="plays")
        operator >> EmptyOperator(task_id="extract")
    skipped: list[Any] = []
    job = SimpleNamespace(close=lambda: None, stream=SimpleNamespace(reads=Reads.POSITION))
    for name, instead in {
        "find_installation": lambda: SimpleNamespace(staging=None),
        "check_reach": lambda staging: None,
        "_is_streamed": lambda job, request: True,
    }.items():
        monkeypatch.setattr(f"importers.operators.steps.{name}", instead)
    monkeypatch.setattr(operator, "_job", lambda installation, replay: job)
    monkeypatch.setattr(operator, "_drain", lambda job: records)
    monkeypatch.setattr(operator, "skip", lambda ti, tasks: skipped.extend(tasks))
    given = context("scheduled", ti=None)
    if records:
        assert operator.execute(given) == []
    else:
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(given)
        assert timedelta() < deferred.value.trigger.moment - datetime.now(UTC) <= timedelta(seconds=10)
        assert skipped == []
        assert getattr(operator, deferred.value.method_name)(given, None) == []
    assert [task.task_id for task in skipped] == ["extract"]


@pytest.mark.parametrize(
    ("reads", "mode", "partitions", "waits"),
    [
        (Reads.POSITION, LoadMode.APPEND, [], "found_nothing"),
        (Reads.POSITION, LoadMode.APPEND, [0], None),
        (Reads.POSITION, LoadMode.REPLACE, [0], "rested"),
        (Reads.SNAPSHOT, LoadMode.MERGE, [0], "rested"),
        (Reads.SNAPSHOT, LoadMode.MERGE, [], "rested"),
    ],
)
@pytest.mark.parametrize("schedule", ["@continuous", "@hourly"])
def test_a_continuous_run_that_nothing_is_seen_of_waits_in_the_triggerer(
    schedule: str, reads: Reads, mode: LoadMode, partitions: list[int], waits: str | None, monkeypatch: Any
) -> None:
    spec, stream = SimpleNamespace(schedule=schedule), SimpleNamespace(reads=reads, load_mode=mode)
    source = SimpleNamespace(follows=False)
    job = SimpleNamespace(close=lambda: None, stream=stream, spec=spec, source=source)
    monkeypatch.setattr("importers.operators.steps.find_installation", lambda: SimpleNamespace(staging=None))
    monkeypatch.setattr("importers.operators.steps.check_reach", lambda staging: None)
    operator = PlanOperator(task_id="plan", tenant="acme", pipeline="plays")
    opened: list[Any] = []
    monkeypatch.setattr(operator, "_job", lambda installation, replay: job)
    monkeypatch.setattr(operator, "_open", lambda *asked: opened.append(asked) or partitions)
    given = context("scheduled", ti=None)
    if waits is None or schedule != "@continuous":
        assert operator.execute(given) == partitions
        return
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(given)
    assert len(opened) == (waits == "found_nothing")  # whose files may go while it waits, so that it isn't opened
    assert timedelta() < deferred.value.trigger.moment - datetime.now(UTC) <= timedelta(seconds=10)
    go_on = getattr(operator, deferred.value.method_name)
    assert deferred.value.method_name == waits
    if waits == "found_nothing" or partitions:
        assert go_on(given, None) == partitions
    else:
        with pytest.raises(TaskDeferred):
            go_on(given, None)
    assert len(opened) == 1
    by_hand = context("manual", {"full_refresh": True})
    assert operator.execute(by_hand) == partitions


class Refused(PlanOperator):
    """A plan that fails of what it was given."""

    error: ImporterError

    def attempt(self, context: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "entered", "noted"),
    [
        (ConfigError("no"), {}, [("plays", RunKind.INCREMENTAL)]),
        (ConfigError("no"), {"replay_quarantine": True}, [("plays", RunKind.REPLAY)]),
        (ConfigError("no"), {"dry_run": True}, []),
        (TransientSourceError("later"), {}, [("plays", RunKind.INCREMENTAL)]),
        (TransientSourceError("later", retry_after=90), {}, []),  # which waits
    ],
)
def test_what_ends_a_plan_is_listed_and_a_wait_is_not(
    error: ImporterError, entered: dict[str, Any], noted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def note(attempt: Attempt, error: ImporterError, began: datetime) -> None:
        assert (attempt.streams, attempt.key) == (["plays"], "acme.songs/scheduled__1")
        found.append((attempt.pipeline, attempt.kind))

    monkeypatch.setattr(Attempt, "note", note)
    monkeypatch.setattr("importers.operators.steps.find_installation", lambda: None)
    operator = Refused(task_id="plan", tenant="acme", pipeline="plays", stream="plays")
    operator.error = error
    monkeypatch.setattr(operator, "described", lambda: (None, "plays"))
    with pytest.raises((type(error), TaskDeferred)):
        operator.execute(context("scheduled", entered))
    assert found == noted


def decide(error: BaseException, number: int = 1) -> Any:
    return RetryByRemedy().evaluate(error, try_number=number, max_tries=5)


@pytest.mark.parametrize(
    "kind",
    [
        ConfigError,
        MissingExtraError,
        FatalSourceError,
        RunAbortedError,
        ContractError,
        QualityError,
        PrivacyError,
    ],
)
def test_what_a_person_has_to_mend_is_not_tried_again(kind: type[Exception]) -> None:
    assert decide(kind("no")).action is RetryAction.FAIL


@pytest.mark.parametrize("kind", [TransientSourceError, RunBusyError, StagingError])
def test_what_passes_is_tried_again_when_it_was_told(kind: type[TransientSourceError]) -> None:
    decision = decide(kind("later", retry_after=90), number=4)
    assert decision.action is RetryAction.RETRY
    assert timedelta(seconds=90) <= decision.retry_delay <= timedelta(seconds=91)


@given(st.integers(min_value=1, max_value=2000))
def test_without_a_word_it_is_tried_ever_later_up_to_a_limit(number: int) -> None:
    seconds = decide(TransientSourceError("later"), number).retry_delay.total_seconds()
    expected = {1: 15, 2: 30, 3: 60, 4: 120, 5: 240, 6: 480}.get(number, 900)
    assert expected <= seconds <= 2 * expected


@pytest.mark.parametrize("error", [ConfigError("no"), QualityError("no"), ImporterError("nobody foresaw")])
def test_a_dag_that_starts_anew_at_once_tries_ever_later_what_has_to_be_mended(error: ImporterError) -> None:
    waits = [RetryByRemedy(looping=True).evaluate(error, number, 5) for number in (1, 2, 3)]
    assert [decision.action for decision in waits] == [RetryAction.RETRY] * 3
    for decision, least in zip(waits, (15, 30, 60), strict=True):
        assert decision.retry_delay is not None
        assert least <= decision.retry_delay.total_seconds() <= 2 * least
    gone = RetryByRemedy(looping=True).evaluate(RunAbortedError("taken over"), 1, 5)
    assert gone.action is RetryAction.FAIL


def test_other_errors_are_left_to_airflow() -> None:
    assert decide(MemoryError()).action is RetryAction.DEFAULT


def test_the_reason_that_is_kept_holds_no_message() -> None:
    assert "secret" not in str(decide(QualityError("secret")).reason)


def test_what_nobody_foresaw_is_left_to_airflow() -> None:
    assert decide(ImporterError("a bug, or memory")).action is RetryAction.DEFAULT


class _Leased:
    """Stands in for a job: notes which destination gave a sign of life, and when it was closed."""

    signs: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.closed, self.failing = False, 1

    def __reduce__(self) -> Any:
        return _Leased, ()

    @property
    def destination(self) -> Any:
        return self

    def renew(self, run: Any, lease: float) -> None:
        self.signs.append(id(self))
        if len(self.signs) == 2:
            raise TransientSourceError("away for a moment")

    def close(self) -> None:
        self.closed = True


def test_a_step_that_takes_long_keeps_its_lease() -> None:
    job: Any = _Leased()
    _Leased.signs.clear()
    with kept_alive(job, cast("Any", None), 0.2):
        deadline = time.monotonic() + 60
        while len(_Leased.signs) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    signs = list(_Leased.signs)
    assert len(signs) >= 4
    assert signs[0] == id(job)
    assert id(job) not in signs[1:]  # the step's own connection is within a transaction
    time.sleep(0.15)
    assert signs == _Leased.signs
    assert not job.closed


def sweeping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *failed: ImporterError) -> dict[str, int]:
    gone = Expired("acme.songs.songs", "songs", "P1Y", START, 7)
    swept = Swept(SweepReport(deleted=3), SweepReport(deleted=2), (gone, gone), failed)
    monkeypatch.setattr("importers.operators.sweep.find_installation", lambda: None)
    monkeypatch.setattr("importers.operators.sweep.tenants_directory", lambda: tmp_path)
    monkeypatch.setattr("importers.pipeline.sweep.sweep", lambda *args, **more: swept)
    return SweepOperator(task_id="sweep").execute(context())


def test_a_sweep_says_what_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert sweeping(monkeypatch, tmp_path) == {"staging": 3, "quarantine": 2, "rows": 14}


def test_rows_that_stay_past_their_retention_fail_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="puts them back"):
        sweeping(monkeypatch, tmp_path, ContractError("something puts them back"))


def test_an_importer_needs_no_tenant_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    operator = ExtractOperator(
        task_id="extract", tenant="acme", importer="csv", config={"path": "a.csv"}, run=1, partition=0
    )
    tenant, pipeline = operator.described()
    assert (tenant.tenant, pipeline) == ("acme", "csv")
    assert tenant.importers == {"csv": {"path": "a.csv"}}


def test_an_operator_needs_a_pipeline_or_an_importer() -> None:
    with pytest.raises(ConfigError, match="which pipeline"):
        PlanOperator(task_id="plan", tenant="acme").described()
