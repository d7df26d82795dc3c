"""A whole run in one process tree: the same steps as under a scheduler, sharded by partition over processes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from threading import Lock, Thread
from typing import Any, TypeAlias
from uuid import uuid4

from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from importers.core.memory import give_back
from importers.core.model import Leaf, Position, QuarantineFile, Receipt, Run, RunKind, RunState, Window
from importers.exceptions import ConfigError, ImporterError, TransientSourceError
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.job import Job
from importers.pipeline.unopened import Attempt

MAX_PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a job, with how many of its partitions are done."""

    where: str
    step: str
    done: int
    total: int
    rows: int = 0


Watch: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did. `rows_read` = `rows_loaded` + `rows_quarantined` + `rows_suppressed`.

    `timings` are seconds by step, from its first start to its last end, whatever ran at once: their sum is the run's.
    `rules` counts bad rows by the rule or reason they broke; `notes` are the plan's and the commit's.
    """

    run: int
    stream: str
    table: str
    rows_read: int
    rows_loaded: int
    rows_quarantined: int
    rows_suppressed: int
    position: Position
    receipts: tuple[Receipt, ...]
    timings: Mapping[str, float]
    lineage: tuple[Leaf, ...]
    rules: Mapping[str, int] = field(default_factory=dict)
    quarantine: tuple[QuarantineFile, ...] = ()
    lag: Mapping[str, int] = field(default_factory=dict)
    """How many messages of each lane are unread, where the source can say."""
    notes: tuple[str, ...] = ()


class Clock:
    """Seconds by step, by the clock on the wall."""

    def __init__(self, job: Job, watch: Watch) -> None:
        self._job, self._watch = job, watch
        self.seconds: dict[str, float] = {}

    def tell(self, step: str, done: int, total: int, rows: int = 0) -> None:
        self._watch(
            Progress(f"{self._job.tenant.tenant}.{self._job.pipeline}/{self._job.stream.name}", step, done, total, rows)
        )

    @contextmanager
    def spent(self, name: str) -> Iterator[None]:
        """A step that tells itself how far it is."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.tell(name, 0, 1)
        with self.spent(name):
            yield
        self.tell(name, 1, 1)


def _silent(_: Progress) -> None:
    pass


def run(
    job: Job,
    key: str | None = None,
    kind: RunKind = RunKind.INCREMENTAL,
    window: Window | None = None,
    *,
    full_refresh: bool = False,
    watch: Watch = _silent,
    processes: int | None = None,
) -> Result:
    """Import one stream. The same key again goes on where a crash ended it, or is a no-op.

    Partitions are worked on by `processes`: by default `IMPORTERS_PROCESSES`, else one a core. Raises ImporterError;
    what was staged then stays encrypted until it is swept.
    """
    clock = Clock(job, watch)
    with closing(job):
        key = key or uuid4().hex
        window = window or Window()
        asked = Attempt(job.installation, job.tenant, job.pipeline, [job.stream.name], key, kind, window)
        with clock.step("plan"), asked.listed():
            opened = plan.plan(job, key, kind, window, full_refresh=full_refresh)
        fixed = job.fixed(opened)
        with closing(fixed):
            try:
                passed = _through_the_gate(fixed, opened, clock, processes or _processes())
                with clock.step("commit"):
                    committed = finish.commit(fixed, passed.run)
            except BaseException as error:
                finish.fail(job, opened, error)
                with suppress(ImporterError):  # what went wrong first is what the reader needs
                    finish.give_up(job, opened)
                raise
            with clock.step("clean"):
                finish.clean(job, opened)
            return _result(fixed, passed, committed, clock, finish.lag(fixed, opened, committed.position))


def _through_the_gate(job: Job, opened: Run, clock: Clock, processes: int) -> gate.Passed:
    """Stage → gate → load, the first and the last over all partitions at once. The run then has all its receipts."""
    if opened.state is RunState.COMMITTED:
        return gate.Passed(opened, {}, tuple(job.destination.quarantine().of_run(opened.id)))
    numbers = range(len(opened.plan.partitions))
    with _workers(min(processes, len(numbers))) as each:
        with clock.spent("stage"):
            each(_stage, job, opened, [n for n in numbers if n not in opened.receipts], "stage", clock)
        with clock.step("gate"):
            passed = gate.gate(job, opened)
        with clock.spent("load"):
            each(_load, job, passed.run, list(numbers), "load", clock)
    return replace(passed, run=job.destination.find(opened.id))


def _processes() -> int:
    said = os.environ.get("IMPORTERS_PROCESSES")
    if not said:
        return min(os.cpu_count() or 1, MAX_PROCESSES)
    if not said.isdecimal() or int(said) < 1:
        raise ConfigError("IMPORTERS_PROCESSES isn't a number of processes", got=repr(said), do="write 1 or more")
    return int(said)


def _stage(job: Job, run: Run, partition: int) -> int:
    return extract.stage(job, run, partition).rows


def _load(job: Job, run: Run, partition: int) -> int:
    return load.load(job, run, partition).loaded


Step: TypeAlias = Callable[[Job, Run, int], int]
Each: TypeAlias = Callable[[Step, Job, Run, Sequence[int], str, Clock], None]


@contextmanager
def _workers(processes: int) -> Iterator[Each]:
    """Something that runs a step for each partition: here for one, here and in further processes for several.

    The workers come from loky: unlike the standard library's, they don't import the caller's main module, so that a
    plain script may import data at its top level. This process works too: it has begun before they have started.
    """
    if processes < 2:
        yield _here
        return
    pool = ProcessPoolExecutor(
        max_workers=processes - 1,
        env={"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"},
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    try:
        yield _in(pool, processes - 1)
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _end_with(parent: int) -> None:
    """End this process soon after its parent: of one that was killed a worker learns nothing else, and waits for good.

    Linux's PR_SET_PDEATHSIG would end it with the thread that started it, and macOS has none.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    Thread(target=watch, name="parent", daemon=True).start()


def _here(step: Step, job: Job, run: Run, partitions: Sequence[int], name: str, clock: Clock) -> None:
    for done, partition in enumerate(partitions):
        rows, seconds = _timed(step, job, run, partition)
        job.destination.note(run, name, seconds, rows, partition)
        clock.tell(name, done + 1, len(partitions), rows)


def _in(pool: Any, workers: int) -> Each:
    def each(step: Step, job: Job, run: Run, partitions: Sequence[int], name: str, clock: Clock) -> None:
        clock.tell(name, 0, len(partitions))
        todo, done, one_at_a_time = deque(partitions), count(1), Lock()

        def work_off(work: Callable[[int], tuple[int, float]]) -> None:
            while True:
                try:
                    partition = todo.popleft()
                except IndexError:
                    return
                try:
                    rows, seconds = work(partition)
                except BaseException:
                    todo.clear()  # nobody begins another
                    raise
                with one_at_a_time:  # the job's connection, and whoever watches
                    job.destination.note(run, name, seconds, rows, partition)
                    clock.tell(name, next(done), len(partitions), rows)

        def there(partition: int) -> tuple[int, float]:
            result: tuple[int, float] = pool.submit(_alone, step, job, run, partition).result()
            return result

        with ThreadPoolExecutor(workers) as askers:
            asked = [askers.submit(work_off, there) for _ in range(min(workers, len(partitions)))]
            try:
                work_off(partial(_alone, step, copy(job), run))  # its own connection: this one notes what others did
            except BaseException:
                pool.shutdown(wait=True, kill_workers=True)
                raise
        try:
            for asker in asked:
                asker.result()
        except TerminatedWorkerError:  # by submit too: one that is killed between two steps is missed at the next
            raise TransientSourceError(
                "a worker process was killed",
                do="run again; if it happens again, see whether memory runs out",
                run=run.id,
                **job.where,
            ) from None

    return each


def _alone(step: Step, job: Job, run: Run, partition: int) -> tuple[int, float]:
    with closing(job):
        return _timed(step, job, run, partition)


def _timed(step: Step, job: Job, run: Run, partition: int) -> tuple[int, float]:
    started = time.perf_counter()
    try:
        rows = step(job, run, partition)
    finally:
        give_back()  # else each partition would find memory in other pieces than the last, and take more
    return rows, time.perf_counter() - started


def _result(job: Job, passed: gate.Passed, committed: finish.Committed, clock: Clock, lag: Mapping[str, int]) -> Result:
    run = passed.run
    receipts = tuple(receipt for _, receipt in sorted(run.receipts.items()))
    rules: dict[str, int] = {}
    for file in passed.quarantined:
        for reason, rows in file.reasons.items():
            rules[reason] = rules.get(reason, 0) + rows
    quarantined = sum(file.rows for file in passed.quarantined)
    loaded = sum(receipt.loaded for receipt in receipts)
    suppressed = sum(receipt.suppressed for receipt in receipts)
    return Result(
        run=run.id,
        stream=run.stream,
        table=f"{job.tenant.tenant}.{job.stream.target}",
        rows_read=loaded + suppressed + quarantined,
        rows_loaded=loaded,
        rows_quarantined=quarantined,
        rows_suppressed=suppressed,
        position=committed.position,
        receipts=receipts,
        timings=clock.seconds,
        lineage=tuple(job.policy.lineage(job.stream.schema)),
        rules=rules,
        quarantine=passed.quarantined,
        lag=lag,
        notes=(*run.plan.notes, *committed.notes),
    )
