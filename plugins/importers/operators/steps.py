"""The steps in their order: plan → [extract → validate][*] → gate → [anonymise → load][*] → commit → clean.

What each one does is in `importers.pipeline`, which is imported when a task runs, not when its DAG is read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException

from importers.exceptions import ConfigError, FatalSourceError, ImporterError
from importers.hooks.connections import resolve
from importers.hooks.deployment import check_reach, find_installation
from importers.operators.base import LEASE, ImportOperator, PartitionOperator, RunOperator, StepOperator
from importers.operators.interval import SAMPLE, Request, form_of, request_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from importers.core.model import JSON, Run
    from importers.pipeline.job import Job


CONTINUOUS = 600.0
"""Seconds after which a run of a stream that never ends gives way to the next one, so that runs are seen to end."""

IDLE = timedelta(seconds=10)
"""How long a run of a stream that found nothing lasts on, on no worker: Airflow starts the next one when it ends."""


def _reads_it_all(job: Job) -> bool:
    """Whether each ordinary run finds all that the source has, and none is seen to have found nothing new."""
    from importers.core.model import LoadMode, Reads

    return job.stream.reads is Reads.SNAPSHOT or job.stream.load_mode is LoadMode.REPLACE


def _is_streamed(job: Job, request: Request) -> bool:
    """Whether the run takes what comes, of a source that can be followed into a table that takes micro-batches.

    A backfill, a replay or a full refresh of such a pipeline is a run like any other.
    """
    follows = job.source.follows and job.stream.load_mode in job.destination.live_modes
    return job.spec.schedule == "@continuous" and follows and request.plain


class PlanOperator(ImportOperator, SkipMixin):
    """Fixes what the run reads. Returns the numbers of its partitions, to map over; pushes `run`, and in words `reads`.

    Without `stream` the source must have just one. Of a stream that wasn't asked for, and after a dry run, which is
    this task alone, the tasks that follow are skipped; likewise in a `@continuous` DAG whose source can be followed:
    there this task loads what there is, in micro-batches. A run of any other `@continuous` DAG that finds nothing new
    lasts on likewise, and one that reads all there is begins as much later.
    """

    template_fields: Sequence[str] = (*ImportOperator.template_fields, "stream")

    def __init__(self, *, stream: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self._rested = False

    def attempt(self, context: Context) -> list[int]:
        form = form_of(context)
        if not form.wants(self.stream):
            self.log.info("%s wasn't asked for", self.stream)
            return self._nothing_follows(context)
        installation = find_installation()
        check_reach(installation.staging)
        with closing(self._job(installation, replay=form.replay_quarantine)) as job:
            request = request_of(context, job.stream.reads, form)
            if form.dry_run:
                self._look(job, request, form.sample_size or SAMPLE)
                return self._nothing_follows(context)
            if _is_streamed(job, request):
                if not self._drain(job):
                    self._rest("idled")
                return self._nothing_follows(context)
            loops = job.spec.schedule == "@continuous" and request.plain
            if loops and not self._rested and _reads_it_all(job):
                self._rest("rested")
            numbers = self._open(job, request, context)
            if loops and not numbers:
                self._rest("found_nothing")
            return numbers

    def _rest(self, then: str) -> NoReturn:
        """Airflow starts the next run when this one ends: until then it waits in the triggerer."""
        self.defer(trigger=TimeDeltaTrigger(IDLE), method_name=then)

    def rested(self, context: Context, event: Any) -> Any:
        """Before a run that reads all that there is."""
        self._rested = True
        return self._patiently(context, 0)

    def found_nothing(self, context: Context, event: Any) -> list[int]:
        """After a run was opened that has nothing to read; its lease is longer than the wait."""
        return []

    def _patiently(self, context: Context, waited: int) -> Any:
        """A wait is no failure; what ends the attempt is listed among the runs."""
        began = datetime.now(UTC)
        try:
            return super()._patiently(context, waited)
        except ImporterError as error:
            with suppress(ImporterError):  # what went wrong first is what the reader needs
                self._list(context, error, began)
            raise

    def _list(self, context: Context, error: ImporterError, began: datetime) -> None:
        from importers.core.model import Reads
        from importers.pipeline.unopened import Attempt

        form = form_of(context)
        if not form.dry_run:
            (tenant, pipeline), streams = self.described(), [self.stream] if self.stream else []
            asked = request_of(context, Reads.POSITION, form)
            attempt = Attempt(find_installation(), tenant, pipeline, streams, asked.key, asked.kind, asked.window)
            attempt.note(error, began)

    def idled(self, context: Context, event: Any) -> list[int]:
        """After the wait of a run that found nothing."""
        return self._nothing_follows(context)

    def _drain(self, job: Job) -> int:
        """In micro-batches, each a whole import: no other task has anything left to do. Returns how many records."""
        from importers.pipeline.stream import stream

        ends = time.monotonic() + CONTINUOUS
        total = stream(job, lambda: time.monotonic() > ends, drain=True)
        self.log.info("%d records: %d loaded, %d quarantined", total.rows, total.loaded, total.quarantined)
        return total.rows

    def _nothing_follows(self, context: Context) -> list[int]:
        """Clean is skipped too: as a teardown it would run, and take the run for one that a person has ended."""
        self.skip(context["ti"], self.downstream_list)  # raises, unless this task stands alone
        return []

    def _open(self, job: Job, request: Request, context: Context) -> list[int]:
        from importers.core.model import RunState
        from importers.pipeline.plan import plan

        started = time.perf_counter()
        run = plan(job, request.key, request.kind, request.window, lease=LEASE, full_refresh=request.full_refresh)
        job.destination.note(run, "plan", time.perf_counter() - started)
        numbers = [] if run.state is RunState.COMMITTED else list(range(len(run.plan.partitions)))
        self.log.info("%s: %s; %d partitions", request.kind, request.story, len(numbers))
        for note in run.plan.notes:
            self.log.warning("%s", note)
        context["ti"].xcom_push("run", run.id)
        context["ti"].xcom_push("reads", f"{request.kind}: {request.story}")
        return numbers

    def _look(self, job: Job, request: Request, rows: int) -> None:
        from importers.pipeline.preview import preview

        seen = preview(job, rows, request.window, full_refresh=request.full_refresh)
        self.log.info("dry run of %s: %s; nothing is written", seen.stream, request.story)
        all_of_it = "all that there is" if seen.complete else "a sample"
        self.log.info("%d rows read (%s): %d bad, %d rejected", seen.read, all_of_it, seen.bad, seen.rejected)
        self.log.info("%d rows of erased subjects would be left out", seen.suppressed)
        for reason, count in (*seen.rules.items(), *seen.reasons.items()):
            self.log.info("%d × %s", count, reason)
        for note in seen.notes:
            self.log.warning("%s", note)
        for failure in seen.failures:
            self.log.warning("the gate would stop the run: %s", failure)
        for leaf in seen.columns:
            self.log.info("%s: %s → %s", leaf.source, leaf.treatment, leaf.column or "nowhere")

    def _job(self, installation: Any, *, replay: bool) -> Job:
        from importers.pipeline.jobs import jobs

        tenant, pipeline = self.described()
        streams = [self.stream] if self.stream else []
        found = jobs(installation, tenant, pipeline, streams, resolve(tenant, pipeline), replay=replay)
        if len(found) > 1:
            names = ", ".join(job.stream.name for job in found)
            what = "the source has several streams, and each needs tasks of its own"
            raise ConfigError(what, got=names, do="name them under `streams:`", tenant=self.tenant, pipeline=pipeline)
        return found[0]


class ExtractOperator(PartitionOperator):
    """Reads a partition into encrypted files."""

    step = "extract"
    asks_source = True

    def work_on(self, job: Job, run: Run, partition: int) -> Mapping[str, JSON]:
        from importers.pipeline.extract import extract

        staged = extract(job, run, partition, LEASE)
        return {"rows": staged.rows, "rejected": staged.rejected}


class ValidateOperator(PartitionOperator):
    """Judges a partition's rows by the rules; bad ones go to quarantine."""

    step = "validate"
    asks_source = True  # whose the records are that were no rows

    def work_on(self, job: Job, run: Run, partition: int) -> Mapping[str, JSON]:
        from importers.pipeline.extract import validate

        staged = validate(job, run, partition)
        return {"rows": staged.rows, "rejected": staged.rejected}


class GateOperator(StepOperator):
    """Judges the run as a whole and makes the table fit. Nothing is loaded from a run that fails here."""

    step = "gate"

    def work(self, job: Job, run: Run) -> Mapping[str, JSON]:
        from importers.pipeline.gate import gate

        return gate(job, run).counts


class AnonymiseOperator(PartitionOperator):
    """Stages a partition as it will stand in the table."""

    step = "anonymise"

    def work_on(self, job: Job, run: Run, partition: int) -> Mapping[str, JSON]:
        from importers.pipeline.load import anonymise

        return {"rows": anonymise(job, run, partition).rows}


class LoadOperator(PartitionOperator):
    """Loads a partition, once, in one transaction."""

    step = "load"

    def work_on(self, job: Job, run: Run, partition: int) -> Mapping[str, JSON]:
        from importers.pipeline.load import load

        receipt = load(job, run, partition)
        return {"rows": receipt.rows, "loaded": receipt.loaded, "suppressed": receipt.suppressed}


class CommitOperator(StepOperator):
    """Makes the run count and moves the position."""

    step = "commit"
    asks_source = True  # a broker is told

    def work(self, job: Job, run: Run) -> Mapping[str, JSON]:
        from importers.pipeline.finish import commit, lag

        position, notes = commit(job, run)
        unread = lag(job, run, position)
        for note in notes:
            self.log.warning("%s", note)
        return {"partitions": len(run.plan.partitions), **({"lag": unread} if unread else {})}


class CleanOperator(RunOperator):
    """Destroys what a committed run has staged. What a failed run has waits for a repair; the next run needn't wait.

    `commit` is the task that commits, in a DAG whose run it decides: if that failed, or couldn't begin, the run has
    failed already, and clean is quiet. If it was skipped, somebody has marked the run as failed: it is aborted, and
    clean fails, since nothing else would fail the DAG run. Without `commit`, clean fails if the run isn't committed.
    """

    def __init__(self, *, commit: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.commit = commit

    def attempt(self, context: Context) -> None:
        ended = self._state_of_commit(context)
        if self.run in (None, "", "None"):
            if ended in _FAILED:
                raise AirflowSkipException("plan has opened no run: there is nothing to clean")
            raise FatalSourceError(
                "nothing was planned, so nothing was loaded", do="see whether somebody ended the run"
            )
        job, run = self.resumed()
        with closing(job):
            self._clean(job, run, ended)

    def _clean(self, job: Job, run: Run, ended: str | None) -> None:
        from importers.pipeline.finish import abort, clean

        where = {**job.where, "run": run.id}
        if ended == "skipped":
            aborted = "what it had loaded is taken back" if abort(job, run) else "what it loaded was committed before"
            what = f"the run was marked as failed; {aborted}"
            raise FatalSourceError(what, do="to run it anew, clear all of its tasks").at(**where)
        if clean(job, run):
            return
        kept = "the run isn't committed; what it staged is kept, encrypted, for `staging_ttl`"
        do = "see which task failed first; clear it to go on from there"
        if ended not in _FAILED:
            raise FatalSourceError(kept, do=do).at(**where)
        self.log.info("%s; %s", kept, do)

    def _state_of_commit(self, context: Context) -> str | None:
        """As Airflow has it now; None if the operator wasn't told which task that is."""
        if self.commit is None:
            return None
        ti, run = context["ti"], context["dag_run"].run_id
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self.commit], run_ids=[run])
        state = states.get(run, {}).get(self.commit)
        return str(state) if state else None


_FAILED = frozenset({"failed", "upstream_failed"})
