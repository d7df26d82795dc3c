"""What validation leaves beside a staged attempt, and in quarantine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.coded import decoded
from importers.core.erasure import Erased
from importers.core.model import OURS, VERSION, QuarantineFile, Reject, Run, Staged
from importers.core.places import from_bytes, located, to_bytes, together
from importers.exceptions import QualityError
from importers.keys.keyring import RunKey
from importers.pipeline.job import Job
from importers.pipeline.profiles import Profiling
from importers.pipeline.rejects import Whose
from importers.quality import Verdict
from importers.staging.quarantine import LOCATION, RAW, REASON, Quarantined, QuarantineWriter

VERDICT, QUARANTINED, PLACES = "verdict-2", "quarantined", "places"  # other versions judged otherwise
MAX_BAD = 2_000_000
"""Rows of one partition that go to quarantine before the run is given up: by then it is the reading that is wrong."""


class Validation:
    """Judges one attempt at a partition, batch by batch; bad rows and rejects go to quarantine."""

    def __init__(self, job: Job, run: Run, partition: int, attempt: str) -> None:
        self._job, self._run, self._partition = job, run, partition
        self._checker = job.rules.checker(job.keys.uniqueness())
        self._profiling = Profiling(job, run, partition)
        self._reasons: Counter[str] = Counter()
        self._erased = job.erased
        self._rows = self._bad = self._suppressed = 0
        place = job.place(run).partition(partition)
        self._writer = job.quarantine.writer(place, attempt, job.asked.schema, job.keys.quarantine())
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def check(
        self,
        rows: pa.RecordBatch,
        places: pa.RecordBatch | None,
        first: int = 0,
        *,
        came: pa.RecordBatch | None = None,
    ) -> None:
        """Judge the next rows, which stood at the `places` from number `first` on. `came`: the same with what they had
        as views, which the rules read sooner. Raises QualityError when nearly nothing is right.
        """
        fitted = self._job.fitted(rows)
        judged = came if came is not None and fitted is rows else fitted
        checked = self._checker.check(judged, self._job.unfit(rows))
        self._profiling.add(fitted, self._untold(rows, checked.bad))
        start, self._rows = self._rows, self._rows + rows.num_rows
        bad = np.flatnonzero(checked.bad)
        if len(bad):
            self._bad += len(bad)
            self._refuse_a_flood()
            where, kept = located(places, bad + first), decoded(rows.take(pa.array(bad)))
            put = quarantine(self._job, self._writer, kept, checked.broken, bad + start, where, self._erased)
            self._reasons += put.reasons
            self._suppressed += put.suppressed

    def _untold(self, rows: pa.RecordBatch, bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The rows of whose values no profile tells: bad ones, and those of erased subjects."""
        tokens = self._job.tokens(rows) if self._erased else None
        if tokens is None:
            return bad
        untold: npt.NDArray[np.bool_] = bad | self._erased.among(tokens).to_numpy(zero_copy_only=False)
        return untold

    def finish(self, staged: Staged, key: RunKey) -> None:
        """Write the verdict: from here on the attempt is validated."""
        whose = Whose(self._job, self._run, self._partition)
        for rejects in self._job.staging.rejects(staged, key):
            put = refuse(self._writer, whose, rejects, self._erased)
            self._reasons += put.reasons
            self._suppressed += put.suppressed
        file = self._writer.finish()
        kept = Kept(put_away(file, self._partition, self._reasons, self._erased), self._suppressed)
        self._job.staging.put(staged, QUARANTINED, _encode(kept), key)
        self._profiling.finish(staged, key)
        self._job.staging.put(staged, VERDICT, self._checker.verdict(staged.rejected).to_bytes(), key)

    def _refuse_a_flood(self) -> None:
        if self._bad > MAX_BAD:
            worst = "".join(f"; mostly {reason}" for reason, _ in self._reasons.most_common(1))
            raise QualityError(
                "a partition's rows are bad by the million: nothing was loaded",
                got=f"{self._bad:,} of the first {self._rows:,}{worst}",
                do="see whether the rules, the delimiter or the source are wrong",
                partition=self._partition,
            )


@dataclass(frozen=True, slots=True)
class Kept:
    """What is bad of an attempt: a file, if there is any; `suppressed` rows of erased subjects are in none."""

    file: QuarantineFile | None
    suppressed: int = 0

    def without(self, job: Job, erased: Erased) -> Kept:
        """Take out whoever was erased since the file was written. Raises StagingError, ContractError."""
        file = self.file
        if file is None or file.erased == erased.version:
            return self
        left = job.quarantine.erase_subjects(file.uri, erased.among, job.keys.quarantine())
        now = replace(file, rows=left.rows, reasons=left.reasons, erased=erased.version)
        return Kept(now, self.suppressed + file.rows - left.rows)


def put_away(
    file: Quarantined | None, partition: int, reasons: Mapping[str, int], erased: Erased
) -> QuarantineFile | None:
    """A finished file, if there is one, as it is registered."""
    return QuarantineFile(partition, file.uri, file.rows, dict(reasons), erased=erased.version) if file else None


@dataclass(frozen=True, slots=True)
class Put:
    """How many rows that were put away broke which rule, and how many weren't, since their subject is erased."""

    reasons: Counter[str]
    suppressed: int


def quarantine(
    job: Job,
    writer: QuarantineWriter,
    rows: pa.RecordBatch,
    broken: pa.ListArray,
    numbers: npt.NDArray[Any],
    where: pa.StringArray,
    erased: Erased,
) -> Put:
    """Put bad rows away, but erased subjects': with their numbers in the partition, where they stood in the source, and
    the subject's token as the index by which an erasure finds them.
    """
    tokens, suppressed = job.tokens(rows), 0
    if tokens is not None and erased:
        stays = pc.invert(erased.among(tokens))
        rows, broken, where, tokens = (each.filter(stays) for each in (rows, broken, where, tokens))
        suppressed, numbers = len(numbers) - len(tokens), numbers[stays.to_numpy(zero_copy_only=False)]
    own = rows.select([name for name in rows.schema.names if name not in OURS])
    versions = rows[VERSION] if VERSION in rows.schema.names else None
    at = pa.array(numbers, pa.int64())
    writer.rows(own, rules=broken, rows=at, places=where, subjects=tokens, versions=versions)
    return Put(Counter(broken.flatten().to_pylist()), suppressed)


def refuse(writer: QuarantineWriter, whose: Whose, rejects: pa.RecordBatch, erased: Erased) -> Put:
    """Put away what was no row, but of erased subjects, as far as a record says whose it is."""
    raw, location, reason = (rejects[name].to_pylist() for name in (RAW, LOCATION, REASON))
    records = [Reject(*each) for each in zip(raw, location, reason, strict=True)]
    tokens, suppressed = whose.tokens(records), 0
    if tokens is not None and erased:
        stays = pc.invert(erased.among(tokens))
        suppressed, rejects, tokens = stays.false_count, rejects.filter(stays), tokens.filter(stays)
    writer.rejects(rejects, tokens)
    return Put(Counter(rejects[REASON].to_pylist()), suppressed)


def keep_places(job: Job, staged: Staged, places: Sequence[tuple[pa.RecordBatch | None, int]], key: RunKey) -> None:
    """Put beside an attempt where its rows stood in the source: who finds one bad later has no source to ask."""
    if any(part is not None for part, _ in places):
        job.staging.put(staged, PLACES, to_bytes(together(places)), key)


def read_places(job: Job, staged: Staged, key: RunKey) -> pa.RecordBatch | None:
    """Where the attempt's rows stood; None if nobody knows."""
    return from_bytes(job.staging.get(staged, PLACES, key)) if job.staging.has(staged, PLACES) else None


def read_verdict(job: Job, staged: Staged, key: RunKey) -> Verdict:
    """Raises StagingError if the attempt wasn't validated."""
    return Verdict.from_bytes(job.staging.get(staged, VERDICT, key))


def read_kept(job: Job, staged: Staged, key: RunKey) -> Kept:
    """What validation put away of the attempt."""
    value = json.loads(job.staging.get(staged, QUARANTINED, key))
    return Kept(QuarantineFile(**value["file"]) if value["file"] else None, value["suppressed"])


def _encode(kept: Kept) -> bytes:
    return json.dumps(asdict(kept)).encode()
