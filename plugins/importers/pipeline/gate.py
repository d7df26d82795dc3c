"""gate: what must hold for the whole run. Nothing is loaded from a run that fails here."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.model import JSON, LoadMode, QuarantineFile, Reads, Run, RunKind, RunState, Staged, Stream
from importers.core.names import few
from importers.core.places import located
from importers.exceptions import ConfigError, ContractError, QualityError
from importers.keys.keyring import RunKey
from importers.pipeline import profiles, replay
from importers.pipeline.extract import run_key
from importers.pipeline.job import Job
from importers.pipeline.table import own, prepare
from importers.pipeline.verdicts import VERDICT, Kept, put_away, quarantine, read_kept, read_places, read_verdict
from importers.quality import TOO_MANY, Duplicates, Judgement, Verdict, judge
from importers.quality.profile import Profile
from importers.staging.place import Made

NOTHING_NEW = "run it again once there is something; or change the rules, if a run may find nothing"
EXCLUDED, JUDGED_BY = "excluded", "judged_by"


@dataclass(frozen=True, slots=True)
class Passed:
    """What the gate saw: the run as it is pinned, the counts of rows and rules, the quarantine files."""

    run: Run
    counts: Mapping[str, JSON]
    quarantined: tuple[QuarantineFile, ...]


def gate(job: Job, run: Run) -> Passed:
    """Judge all partitions together, make the table fit, pin what may be loaded.

    Raises QualityError, PrivacyError or ContractError; then bad rows are in quarantine and no row is loaded.
    """
    with job.at():
        run = job.destination.find(run.id)
        if run.state is RunState.COMMITTED:
            return Passed(run, {}, ())
        _check_same_subject(job, run)
        key = job.keys.open_run_key(run_key(run))
        chosen = {number: _choose(job, run, number, key) for number in range(len(run.plan.partitions))}
        _check_all_was_read(job, run, chosen)
        verdicts = {number: read_verdict(job, staged, key) for number, staged in chosen.items()}
        profile = profiles.merged(job, chosen.values(), key)
        judgement = _judge(job, run, chosen, verdicts, profile, key)
        files, suppressed = _register(job, run, _quarantine(job, run, chosen, judgement, key))
        job.destination.judged(run, {**judgement.told(), "beyond": job.beyond, "profile": profiles.said(job, profile)})
        if run.kind is not RunKind.REPLAY:
            _check(job, run, judgement, files)
        _check_same_policy(job, run)
        pins: dict[str, JSON] = {
            str(number): {"attempt": staged.attempt, "digest": staged.digest, "suppressed": suppressed[number]}
            for number, staged in chosen.items()
        }
        pins[JUDGED_BY] = job.fingerprint
        pinned = prepare(job, run, (staged.schema for staged in chosen.values()), pins)
        return Passed(pinned, judgement.counts(), files)


def _choose(job: Job, run: Run, partition: int, key: RunKey) -> Staged:
    """The attempt that was loaded already, else the newest that was validated."""
    attempts = job.staging.attempts(job.place(run).partition(partition), key)
    receipt = run.receipts.get(partition)
    if receipt:
        attempts = [attempt for attempt in attempts if attempt.digest == receipt.digest]
    for staged in reversed(attempts):
        if job.staging.has(staged, VERDICT):
            return staged
    raise ContractError(
        "no complete attempt at this partition is staged",
        got=f"{len(attempts)} attempts, none validated",
        do="run extract and validate again",
        run=run.id,
        partition=partition,
    )


def _judge(
    job: Job,
    run: Run,
    chosen: Mapping[int, Staged],
    verdicts: Mapping[int, Verdict],
    profile: Profile,
    key: RunKey,
) -> Judgement:
    def read(partition: int) -> Iterator[pa.RecordBatch]:
        return map(job.fitted, job.staging.read(chosen[partition], key))

    drifts = job.rules.drifts(profile, profiles.earlier(job, run) if job.rules.drifting else ())
    deliveries = replay.deliveries(run) if run.kind is RunKind.REPLAY else None
    key_of = job.keys.uniqueness()
    return judge(job.rules, verdicts, job.spec.quarantine, read, key_of, drifts, deliveries, job.telling)


def _quarantine(
    job: Job, run: Run, chosen: Mapping[int, Staged], judgement: Judgement, key: RunKey
) -> dict[int, list[Kept]]:
    """The partitions' files, and one more for each partition in which only the whole run shows rows to be bad."""
    away = {}
    for partition, staged in chosen.items():
        away[partition] = [read_kept(job, staged, key)]
        extra = judgement.extra_bad.get(partition)
        rows = extra.rows if extra else np.empty(0, np.uint64)
        job.staging.put(staged, EXCLUDED, _to_bytes(rows), key)
        if extra:
            away[partition].append(_put_away(job, run, staged, extra, key))
    return away


def _register(job: Job, run: Run, away: Mapping[int, list[Kept]]) -> tuple[tuple[QuarantineFile, ...], dict[int, int]]:
    """Register the files, and count by partition the rows that are in none, as their subjects are erased.

    Who is erased from here on, the erasure finds by what is registered; who was erased before and is in a file that was
    written before that, is taken out now.
    """
    with job.destination.no_erasure(job.policy.subject_domain) as erased:
        away = {partition: [kept.without(job, erased) for kept in kepts] for partition, kepts in away.items()}
        files = tuple(kept.file for kepts in away.values() for kept in kepts if kept.file)
        if run.kind is RunKind.REPLAY:  # no retention begins anew, and rules on a whole delivery have nothing to judge
            files = tuple(replace(file, since=replay.since(run, file.partition)) for file in files)
        job.destination.quarantine().register(run, files)
    return files, {partition: sum(kept.suppressed for kept in kepts) for partition, kepts in away.items()}


def _put_away(job: Job, run: Run, staged: Staged, extra: Duplicates, key: RunKey) -> Kept:
    schema, erased = own(staged.schema), job.erased
    reasons, suppressed = Counter[str](), 0
    place = job.place(run).partition(staged.partition, Made.GATE)
    with job.quarantine.writer(place, staged.attempt, schema, job.keys.quarantine()) as writer:
        start, places = 0, read_places(job, staged, key)
        for batch in job.staging.read(staged, key):
            first, last = np.searchsorted(extra.rows, [start, start + batch.num_rows])
            here = extra.rows[first:last].astype(np.int64)
            if len(here):
                broken = extra.broken.slice(first, last - first)
                where = located(places, here)
                put = quarantine(job, writer, batch.take(pa.array(here - start)), broken, here, where, erased)
                reasons, suppressed = reasons + put.reasons, suppressed + put.suppressed
            start += batch.num_rows
        file = writer.finish()
    return Kept(put_away(file, staged.partition, reasons, erased), suppressed)


def _check(job: Job, run: Run, judgement: Judgement, files: tuple[QuarantineFile, ...]) -> None:
    if judgement.failures:
        kept = sum(file.rows for file in files)
        are = "row is" if kept == 1 else "rows are"
        show = f"`importers quarantine show {job.tenant.tenant}.{job.pipeline} --run {run.id}`"
        where = f"{kept:,} {are} in quarantine: {show}" if files else "no row is in quarantine"
        nothing = "" if run.plan.partitions else "there was nothing new to read, and "
        raise QualityError(
            f"{nothing}{'that' if nothing else 'the data'} breaks the rules: nothing was loaded",
            got="; ".join([*map(str, judgement.failures), *_worst(files)]),
            do=NOTHING_NEW if nothing else f"{_remedy(judgement)}; {where}",
        )
    good = judgement.tally.rows - judgement.tally.bad
    if not good and not job.settings.load.allow_empty and _empties(job.stream, run, files):
        raise QualityError(
            "the source has no good row, and loading that would empty the table",
            do="set load.allow_empty: true if that is right",
        )


def _remedy(judgement: Judgement) -> str:
    beyond = any(failure.label == TOO_MANY for failure in judgement.failures)
    return f"mend the source or the rules{f', or raise {TOO_MANY} if so many may be left out' if beyond else ''}"


def _empties(stream: Stream, run: Run, files: tuple[QuarantineFile, ...]) -> bool:
    """Whether a run without a good row takes away what is there. Beside quarantine nothing is absent."""
    if stream.load_mode is LoadMode.REPLACE:
        return True
    snapshot = run.plan.complete or (stream.load_mode is LoadMode.HISTORY and stream.reads is Reads.SNAPSHOT)
    return snapshot and not files


def _check_same_subject(job: Job, run: Run) -> None:
    """Who is erased is looked up, and found again, by what the plan says of the subject."""
    planned, now = job.stream, job.asked
    if (planned.subject, planned.subject_domain) != (now.subject, now.subject_domain):
        raise ConfigError(
            "the tenant's file names another subject than it did when this run was planned",
            do="start a new run",
            run=run.id,
        )


def _check_all_was_read(job: Job, run: Run, chosen: Mapping[int, Staged]) -> None:
    """A column that the file of today keeps, and that of then didn't ask the source for, would be null."""
    for number, staged in chosen.items():
        unread = [name for name in job.asked.schema.names if name not in staged.schema.names]
        if unread and number not in run.receipts:
            raise ConfigError(
                "the tenant's file asks for columns that it left out when this partition was read",
                got=few(unread),
                do="run extract and validate again, or start a new run",
                run=run.id,
                partition=number,
            )


def _check_same_policy(job: Job, run: Run) -> None:
    """What is loaded already was treated as the file said then; the rest must be treated alike."""
    if run.receipts and run.pins.get(JUDGED_BY) != job.fingerprint:
        raise ConfigError(
            "the tenant's file has changed, or importers has, and a part of this run is loaded under what held before",
            got=f"{len(run.receipts)} of {len(run.plan.partitions)} partitions",
            do="start a new run, or take the change back to finish this one",
            run=run.id,
        )


def _worst(files: tuple[QuarantineFile, ...]) -> list[str]:
    """The rules and reasons that put the most rows into quarantine."""
    counts = sum((Counter(file.reasons) for file in files), Counter[str]())
    told = [f"{rows:,} × {reason}" for reason, rows in counts.most_common(5)]
    untold = len(counts) - len(told)
    return [*told, f"and {untold:,} more"] if untold else told


def excluded(job: Job, staged: Staged, key: RunKey) -> npt.NDArray[np.uint64]:
    """The numbers of all rows of a pinned attempt that aren't loaded, ascending."""
    bad = read_verdict(job, staged, key).bad_rows
    return np.union1d(bad, _from_bytes(job.staging.get(staged, EXCLUDED, key)))


def pinned(job: Job, run: Run, partition: int) -> Staged:
    """The attempt that the gate let through. Raises ConfigError if the tenant's file has changed since."""
    pin = run.pins.get(str(partition))
    if not isinstance(pin, Mapping):
        raise ContractError("the gate hasn't let this partition through", do="run the gate first", run=run.id)
    if run.pins.get(JUDGED_BY) != job.fingerprint:
        raise ConfigError(
            "the tenant's file, or importers, has changed since the gate", do="run the gate again", run=run.id
        )
    key = job.keys.open_run_key(run_key(run))
    staged = job.staging.attempt(job.place(run).partition(partition), str(pin["attempt"]), key)
    return replace(staged, digest=str(pin["digest"]), suppressed=int(str(pin.get("suppressed", 0))))


def _to_bytes(numbers: npt.NDArray[np.uint64]) -> bytes:
    sink = io.BytesIO()
    np.save(sink, numbers, allow_pickle=False)
    return sink.getvalue()


def _from_bytes(data: bytes) -> npt.NDArray[np.uint64]:
    numbers: npt.NDArray[np.uint64] = np.load(io.BytesIO(data), allow_pickle=False)
    return numbers
