"""preview: the first rows that a run would load, as they would stand in the table. Nothing is written anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.coded import decoded
from importers.core.model import OURS, Batch, Leaf, Plan, Window
from importers.exceptions import ConfigError
from importers.pipeline import treatments
from importers.pipeline.extract import read
from importers.pipeline.job import Job
from importers.pipeline.plan import agreed, foresee, position_of
from importers.privacy import spelling
from importers.quality import Judgement, judge
from importers.staging.manifest import widest

MOST_READ = 100_000
"""Rows after which a preview is content with fewer good ones than were asked for."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do with the first rows that it reads: whole batches, until there are enough good ones.

    `read` = good rows + `bad` rows + `rejected` records + rows that are `suppressed`, since their subject is erased:
    those are neither shown nor counted as bad. `rules` counts bad rows by the rule that they break (one may
    break several), `reasons` counts rejects by why they are none. Rules on the whole run are in `failures`, and only
    if the preview read all that the run would (`complete`): of a sample they would say something else.
    """

    stream: str
    """`tenant.pipeline.stream`."""
    target: str
    """The table that a run would load."""
    columns: tuple[Leaf, ...]
    """Each leaf of the source, its class, its treatment, and the column of the table that it becomes, if any."""
    read: int
    bad: int
    rejected: int
    suppressed: int
    complete: bool
    table: pa.Table = field(repr=False)
    """The first good rows under the policy, as many as were asked for or as there are; without our own columns."""
    rules: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    """Why the gate would stop the run, in counts."""
    notes: tuple[str, ...] = ()
    """What somebody should look at."""


def preview(job: Job, rows: int = 20, window: Window | None = None, *, full_refresh: bool = False) -> Preview:
    """Read what a run would read now, judge it by the rules, and give the first `rows` good rows under the policy.

    Opens no run, stages and quarantines nothing, makes no table and moves no position; the source is only read, never
    acknowledged. A stream without anything new gives an empty table: `full_refresh` looks at everything instead.
    Raises what `plan`, the source and the policy raise: a column that nobody classified shows nothing.
    """
    if rows < 1:
        raise ConfigError("a preview shows at least one row", got=str(rows), do="ask for 1 or more")
    with job.at(), closing(job):
        plan = foresee(job, window, full_refresh=full_refresh)
        begins = position_of(job, window or Window(), full_refresh=full_refresh)
        return _Sample(treatments.told(agreed(job, window, begins)), rows).of(plan)


class _Sample:
    """Batches of a plan's partitions and what the checker says of them; small enough for memory."""

    def __init__(self, job: Job, rows: int) -> None:
        self._job, self._wanted = job, rows
        self._checker = job.rules.checker(job.keys.uniqueness())
        self._batches: list[pa.RecordBatch] = []
        self._rules: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._erased = None if job.destination.is_new() else job.erased
        self._gone: list[npt.NDArray[np.int64]] = []
        """The numbers of erased subjects' rows, batch by batch."""
        self._read = self._good = 0

    def of(self, plan: Plan) -> Preview:
        complete = self._take(plan)
        verdict = self._checker.verdict(self._reasons.total())
        judgement = judge(
            self._job.rules,
            {0: verdict},
            self._job.spec.quarantine,
            lambda _: map(self._job.fitted, self._batches),
            self._job.keys.uniqueness(),
            telling=self._job.telling,
        )
        gone = np.concatenate([np.empty(0, np.int64), *self._gone])
        bad = self._excluded(verdict.bad_rows, judgement, gone)
        return Preview(
            stream=".".join(self._job.where.values()),
            target=f"{self._job.tenant.tenant}.{self._job.stream.target}",
            columns=tuple(self._job.policy.lineage(self._job.stream.schema)),
            read=self._read + self._reasons.total(),
            bad=len(bad),
            rejected=self._reasons.total(),
            suppressed=len(gone),
            complete=complete,
            table=self._shown(np.union1d(bad, gone)),
            rules=dict(self._rules),
            reasons=dict(self._reasons),
            failures=tuple(map(str, judgement.failures)) if complete else (),
            notes=tuple(self._folded()),
        )

    def _folded(self) -> Iterator[str]:
        for (leaf, domain), count in self._job.policy.folded(self._batches).items():
            yield spelling.told(leaf, domain, count, settled=domain in self._job.domains)

    def _take(self, plan: Plan) -> bool:
        """Read until there are enough good rows; whether that was all that there is."""
        for batch in self._reading(plan):
            if self._good >= self._wanted or self._read >= MOST_READ:
                return False
            rows = decoded(batch.rows)
            checked = self._checker.check(self._job.fitted(rows), self._job.unfit(rows))
            gone = self._whose(rows)
            self._rules.update(checked.broken.filter(pa.array(~gone[checked.bad])).flatten().to_pylist())
            self._reasons.update(reject.reason for reject in batch.rejects)
            self._batches.append(rows)
            self._gone.append(np.flatnonzero(gone) + self._read)
            self._read += rows.num_rows
            self._good += rows.num_rows - int((checked.bad | gone).sum())
        return True

    def _whose(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which rows are an erased subject's."""
        tokens = self._job.tokens(rows) if self._erased else None
        if tokens is None or self._erased is None:
            return np.zeros(rows.num_rows, np.bool_)
        gone: npt.NDArray[np.bool_] = self._erased.among(tokens).to_numpy(zero_copy_only=False)
        return gone

    def _reading(self, plan: Plan) -> Iterator[Batch]:
        for partition in plan.partitions:
            yield from read(self._job, partition)

    def _excluded(self, bad: np.ndarray, judgement: Judgement, gone: np.ndarray) -> np.ndarray:
        """The numbers of all bad rows but those that are `gone`; those too that only the rows after them show to be."""
        for duplicates in judgement.extra_bad.values():
            told = pa.array(~np.isin(duplicates.rows, gone))
            self._rules.update(duplicates.broken.filter(told).flatten().to_pylist())
            bad = np.union1d(bad, duplicates.rows)
        return np.setdiff1d(bad, gone)

    def _shown(self, bad: np.ndarray) -> pa.Table:
        columns = [column.name for column in self._job.policy.table(self._job.asked.schema) if column.name not in OURS]
        tables, start, missing = [self._empty(columns)], 0, self._wanted
        for batch in self._batches:
            good = np.setdiff1d(np.arange(start, start + batch.num_rows, dtype=np.uint64), bad)[:missing]
            start, missing = start + batch.num_rows, missing - len(good)
            kept = batch.take(pa.array(good - np.uint64(start - batch.num_rows)))
            tables.append(pa.Table.from_batches([self._job.policy.apply(self._job.fitted(kept))]).select(columns))
        schema = widest(table.schema for table in tables)
        return pa.concat_tables([table.cast(schema) for table in tables])

    def _empty(self, columns: list[str]) -> pa.Table:
        """No row, but the columns' names and types."""
        nothing = pa.RecordBatch.from_pylist([], self._job.asked.schema)
        return pa.Table.from_batches([self._job.policy.apply(nothing)]).select(columns)
