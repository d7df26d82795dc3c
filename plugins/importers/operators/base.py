"""What the steps have in common: which pipeline, which run, which partition.

Arguments and XCom carry a run's number, a partition's number and counts: never data, bounds or secrets.
"""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator

from importers.exceptions import ConfigError, RunAbortedError, TransientSourceError
from importers.hooks.connections import resolve
from importers.hooks.deployment import find_installation, tenants_directory
from importers.operators.retry import WAITS, RetryByRemedy, told_to_wait

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk import Context, RetryPolicy

    from importers.core.model import JSON, Run
    from importers.core.tenant import Tenant
    from importers.pipeline.job import Job

LEASE = 600.0
"""Seconds for which a run counts as alive after each sign of life; a step gives one when it starts, and then four."""


class ImportOperator(BaseOperator):
    """A step of `tenant.pipeline`, as the tenant's file has it.

    With `importer`, and `config` as `get_importer` takes it, the pipeline need not be in a file; it is called like the
    importer unless it is named.
    """

    template_fields: Sequence[str] = ("tenant", "pipeline", "importer", "config")
    ui_color = "#eef4f1"

    def __init__(
        self,
        *,
        tenant: str,
        pipeline: str | None = None,
        importer: str | None = None,
        config: Mapping[str, Any] | None = None,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy or RetryByRemedy(), **kwargs)
        self.tenant = tenant
        self.pipeline = pipeline
        self.importer = importer
        self.config = config

    def execute(self, context: Context) -> Any:
        """Do the step; where the other side says when to come back, wait for that in the triggerer, not on a worker.

        It is the same try that then begins anew, so that the wait costs none, up to `WAITS` times.
        """
        return self._patiently(context, 0)

    def go_on(self, context: Context, event: Any, waited: int = WAITS) -> Any:
        """After a wait. `dag.test()` of Airflow 3.3 doesn't hand on how many there were: then it was the last one."""
        return self._patiently(context, waited)

    def _patiently(self, context: Context, waited: int) -> Any:
        try:
            return self.attempt(context)
        except TransientSourceError as error:
            told = told_to_wait(error)
            if told is None or waited >= WAITS:
                raise
            self.log.info("%s; waiting %.0f s", error, told.total_seconds())
            self.rest(told)
        return self.defer(trigger=TimeDeltaTrigger(told), method_name="go_on", kwargs={"waited": waited + 1})

    @abstractmethod
    def attempt(self, context: Context) -> Any:
        """Do the step."""

    def rest(self, wait: timedelta) -> None:
        """Before a wait: say what else has to know of it."""

    def described(self) -> tuple[Tenant, str]:
        """The tenant as it is described now, and the pipeline's name. Raises ConfigError."""
        if self.importer is not None:
            from importers.api.settings import tenant_of

            name = self.pipeline or self.importer
            return tenant_of(self.importer, self.tenant, name, self.config), name
        if self.pipeline is None:
            raise ConfigError("which pipeline?", do="give the operator `pipeline`, or `importer`", tenant=self.tenant)
        from importers.pipeline.tenants import find_tenant, read_tenant

        return read_tenant(find_tenant(tenants_directory(), self.tenant)).tenant, self.pipeline


class RunOperator(ImportOperator):
    """A step of a run that was planned; `run` is what PlanOperator pushed under that name."""

    template_fields: Sequence[str] = (*ImportOperator.template_fields, "run")
    asks_source: ClassVar[bool] = False
    """Whether the step speaks to the source: only such a step gets its connection."""

    def __init__(self, *, run: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = run

    def resumed(self) -> tuple[Job, Run]:
        """The job and the run as they are stored now. Raises RunAbortedError for a run that isn't the pipeline's."""
        from importers.pipeline.jobs import resume

        tenant, pipeline = self.described()
        connection = resolve(tenant, pipeline) if self.asks_source else None
        return resume(find_installation(), tenant, pipeline, int(self.run), connection)


class StepOperator(RunOperator):
    """A step that works on the run: shows that it is alive, and says in the ledger how long it took."""

    step: ClassVar[str]

    def rest(self, wait: timedelta) -> None:
        """The run is alive until the wait is over: neither another run nor the sweeper may end it."""
        job, run = self.resumed()
        with closing(job):
            job.destination.renew(run, wait.total_seconds() + LEASE)
            job.destination.failed(run, None)  # to be told to wait is no failure

    def attempt(self, context: Context) -> Mapping[str, JSON]:
        """Counts, for XCom."""
        job, run = self.resumed()
        with closing(job), kept_alive(job, run, LEASE):
            started = time.perf_counter()
            if getattr(context.get("ti"), "try_number", 1) > 1:
                job.destination.failed(run, None)  # what the try before has noted
            counts = self._noted(job, run)
            rows = counts.get("rows")
            seconds = time.perf_counter() - started
            job.destination.note(run, self.step, seconds, rows if isinstance(rows, int) else None, self.number)
        return counts

    def _noted(self, job: Job, run: Run) -> Mapping[str, JSON]:
        """The work; what it fails with is noted with the run."""
        from importers.pipeline.finish import fail

        try:
            return self.work(job, run)
        except Exception as error:
            fail(job, run, error)
            raise

    @property
    def number(self) -> int | None:
        """The partition that the step is about, if it is about one."""
        return None

    @abstractmethod
    def work(self, job: Job, run: Run) -> Mapping[str, JSON]:
        """Do the step; returns counts."""


@contextmanager
def kept_alive(job: Job, run: Run, lease: float) -> Iterator[None]:
    """Renew the run's lease however long the work takes, and be it one call that gives no sign of life.

    From a thread with a connection of its own: the step's is within a transaction. Raises RunAbortedError.
    """
    job.destination.renew(run, lease)
    done = Event()
    thread = Thread(target=_renew_until, args=(done, copy.copy(job), run, lease), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=lease / 4)  # a server that doesn't answer must not keep the step from its end


def _renew_until(done: Event, job: Job, run: Run, lease: float) -> None:
    with closing(job), suppress(RunAbortedError):  # the step itself finds out, by its fence
        while not done.wait(lease / 4):
            with suppress(TransientSourceError):  # there are three more before the lease ends
                job.destination.renew(run, lease)


class PartitionOperator(StepOperator):
    """A step of one partition. One that is loaded already is left alone: its counts are the receipt's."""

    template_fields: Sequence[str] = (*StepOperator.template_fields, "partition")

    def __init__(self, *, partition: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.partition = partition

    @property
    def number(self) -> int:
        return int(self.partition)

    def work(self, job: Job, run: Run) -> Mapping[str, JSON]:
        number = self.number
        if not 0 <= number < len(run.plan.partitions):
            have = f"{len(run.plan.partitions)} partitions, numbered from 0"
            raise ConfigError(f"the run has no partition {number}", got=have, do="map over what plan returned")
        receipt = run.receipts.get(number)
        if receipt is not None:
            return {"rows": receipt.rows, "loaded": receipt.loaded, "suppressed": receipt.suppressed}
        return self.work_on(job, run, number)

    @abstractmethod
    def work_on(self, job: Job, run: Run, partition: int) -> Mapping[str, JSON]:
        """Do the step for a partition that isn't loaded; returns counts."""
