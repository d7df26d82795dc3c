"""One run of a stream: micro-batches of a few minutes, judged one by one before they are loaded, and together after."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa

from importers.core.coded import without_views
from importers.core.model import Batch, MicroBatch, Position, Receipt, Run
from importers.core.places import located
from importers.core.tenant import period
from importers.exceptions import ImporterError, QualityError
from importers.pipeline.finish import commit
from importers.pipeline.job import Job
from importers.pipeline.rejects import Whose
from importers.pipeline.stamp import stamped
from importers.pipeline.table import own, prepare
from importers.pipeline.verdicts import Kept, put_away, quarantine, refuse
from importers.quality import Checked, judge_loaded
from importers.staging.writer import REJECTS

LEAST = 1_000
"""Records by which `max_fraction` is judged at least: one bad one among the first few says nothing of a stream."""
MOST = 5_000_000
"""Rows after which a run ends whatever the time: rules on keys hold eight bytes of each."""
_log = logging.getLogger(__name__)


class Segment:
    """An open live run with its checker. `load` may be called from another thread, a batch at a time."""

    def __init__(self, job: Job, run: Run) -> None:
        self._job, self._run = job, run
        self._checker = job.rules.checker(job.keys.uniqueness())
        # These ask the warehouse, whose connection is another thread's while it loads.
        self._quarantine, self._erased = job.quarantine, job.erased
        self._schema: pa.Schema = pa.schema([])
        self._began, self._ends = time.monotonic(), period(job.spec.micro_batch.window).total_seconds()
        self._batches = self._rows = self._rejected = self._bad = 0
        self.receipt = Receipt(run.id, 0, "", 0, 0)

    @property
    def is_full(self) -> bool:
        """Whether the run should end; one that has loaded nothing has no reason to."""
        return self._rows > MOST or (self._seen > 0 and time.monotonic() - self._began > self._ends)

    @property
    def _seen(self) -> int:
        return self._rows + self._rejected

    def is_new_to(self, schema: pa.Schema) -> bool:
        """Whether rows of it may not fit the table as it is prepared."""
        return not self._schema.equals(own(schema))

    def prepare(self, schema: pa.Schema) -> None:
        """Make the table fit. Raises PrivacyError for a leaf that no policy covers, ContractError."""
        pins = {str(self.receipt.partition): {"digest": self.receipt.digest}} if self.receipt.digest else {}
        prepare(self._job, self._run, [schema], pins)
        self._schema = own(schema)

    def judged(self, batch: Batch, since: Position, to: Position) -> MicroBatch:
        """What of a batch may be loaded, under the policy; the rest is in quarantine then. Raises QualityError."""
        came = without_views(self._job.whole(batch.rows))
        rows = stamped(self._job.stream, came, self._run.version + self._batches)
        checked = self._checker.check(self._job.fitted(rows), self._job.unfit(rows))
        first, self._rows = self._rows, self._rows + rows.num_rows
        self._batches, self._rejected = self._batches + 1, self._rejected + len(batch.rejects)
        self._bad += int(checked.bad.sum())
        reasons = Counter(checked.broken.flatten().to_pylist()) + Counter(each.reason for each in batch.rejects)
        self._refuse_a_flood(reasons)
        kept = self._put_away(rows, batch, checked, first) if reasons else Kept(None)
        good = rows.filter(pa.array(~checked.bad)) if checked.bad.any() else rows
        treated = self._job.policy.apply(self._job.fitted(good)) if good.num_rows else None
        return MicroBatch(rows.num_rows, treated, since, to, kept.file, kept.suppressed)

    def load(self, batch: MicroBatch) -> Receipt:
        job = self._job
        if batch.quarantined is None:
            return job.destination.load_live(self._run, job.stream, batch)
        with job.destination.no_erasure(job.policy.subject_domain) as erased:
            kept = Kept(batch.quarantined, batch.suppressed).without(job, erased)
            known = replace(batch, quarantined=kept.file, suppressed=kept.suppressed)
            return job.destination.load_live(self._run, job.stream, known)

    def close(self) -> None:
        """The run is over: say what its rules found and what it left, tell a broker."""
        destination = self._job.destination
        self._tell_what_was_found()
        destination.note(self._run, "stream", time.monotonic() - self._began, self._rows)
        commit(self._job, destination.find(self._run.id))
        destination.release(self._run)

    def give_up(self) -> None:
        """The same after an error, as far as it goes: nobody has to wait for this run."""
        with suppress(ImporterError):
            self._tell_what_was_found()
        self._job.destination.abort(self._run, self._job.stream)
        self._job.destination.release(self._run)

    def _tell_what_was_found(self) -> None:
        if not self._seen:
            return
        verdict = self._checker.verdict(self._rejected)
        limits, key = self._job.spec.quarantine, self._job.keys.uniqueness()
        judgement = judge_loaded(self._job.rules, verdict, limits, key, self._job.telling)
        self._job.destination.judged(self._run, {**judgement.told(), "beyond": self._job.beyond})
        for failure in judgement.failures:
            _log.warning("%s.%s run %d: %s", self._job.tenant.tenant, self._job.pipeline, self._run.id, failure)

    def _refuse_a_flood(self, reasons: Counter[str]) -> None:
        limit = self._job.spec.quarantine.max_fraction
        seen, refused = self._seen, self._bad + self._rejected
        if reasons and refused > limit * max(seen, LEAST):
            worst = "; ".join(f"{count:,} × {reason}" for reason, count in reasons.most_common(5))
            raise QualityError(
                "too much of the stream is bad: the last micro-batch isn't loaded",
                got=f"{refused:,} of the run's {seen:,} records, max_fraction {limit}; in this batch {worst}",
                do="mend the source or the rules; the stream goes on where it stopped",
                run=self._run.id,
            )

    def _put_away(self, rows: pa.RecordBatch, batch: Batch, checked: Checked, first: int) -> Kept:
        """A file of its own: it is there before the batch is committed, which registers it."""
        place, bad = self._job.place(self._run).partition(0), np.flatnonzero(checked.bad)
        key, schema = self._job.keys.quarantine(), self._job.asked.schema
        reasons, suppressed = Counter[str](), 0
        with self._quarantine.writer(place, secrets.token_hex(16), schema, key) as writer:
            if len(bad):
                where, kept = located(batch.places, bad), rows.take(pa.array(bad))
                put = quarantine(self._job, writer, kept, checked.broken, bad + first, where, self._erased)
                reasons, suppressed = reasons + put.reasons, put.suppressed
            if batch.rejects:
                columns = [[getattr(each, name) for each in batch.rejects] for name in ("raw", "location", "reason")]
                refused = pa.record_batch(columns, schema=REJECTS)
                put = refuse(writer, Whose(self._job, self._run, 0), refused, self._erased)
                reasons, suppressed = reasons + put.reasons, suppressed + put.suppressed
            file = writer.finish()
        return Kept(put_away(file, 0, reasons, self._erased), suppressed)
