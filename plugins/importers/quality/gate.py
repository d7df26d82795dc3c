"""The gate: what the partitions' verdicts say together. A run that fails here loads nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from importers.core.model import JSON
from importers.core.tenant import Quarantine
from importers.exceptions import ConfigError, ContractError
from importers.quality.binding import Bound, Labelled, bind
from importers.quality.checker import labels_of
from importers.quality.counted import broken
from importers.quality.divergence import Divergence, KLDivergenceLess
from importers.quality.drift import Drift, DriftLess
from importers.quality.duplicates import Read, Survey, confirm, survey
from importers.quality.hashing import seed as hash_seed
from importers.quality.members import MostCommonInSet
from importers.quality.rules import Rules
from importers.quality.runwide import CountedRule, DistinctBetween, KeyRule, RunRule, State, UniqueRule
from importers.quality.typewise import ShapeRule
from importers.quality.verdict import Numbers, Tally, Verdict

TOO_MANY = "quarantine.max_fraction"
"""Stands for the rule in a failure that comes from no rule: the setting that was exceeded."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that the run fails, in counts."""

    label: str
    what: str
    got: str

    def __str__(self) -> str:
        return f"{self.label}: {self.what}; got {self.got}"


@dataclass(frozen=True, slots=True)
class Duplicates:
    """A partition's rows that share a key with another row; `broken` are the rules' labels (list<string>) for each."""

    rows: Numbers
    broken: pa.ListArray


@dataclass(frozen=True, slots=True)
class Judgement:
    """Why the run fails, if it does; which rows turned out bad beside those that the verdicts name; the counts."""

    failures: tuple[Failure, ...]
    extra_bad: Mapping[int, Duplicates]
    tally: Tally
    drifts: Mapping[str, Drift] = field(default_factory=dict)
    """By rule on drift what was found."""
    divergences: Mapping[str, Divergence] = field(default_factory=dict)
    """By rule on a divergence what was found."""

    def counts(self) -> dict[str, JSON]:
        """Over all partitions, duplicates included. Holds no values."""
        return self.tally.counts()

    def told(self) -> dict[str, JSON]:
        """The counts, what the run failed for, and how far columns have drifted or diverge. Holds no values."""
        failures: list[JSON] = [{"rule": f.label, "what": f.what, "got": f.got} for f in self.failures]
        drifts: dict[str, JSON] = {label: drift.said() for label, drift in self.drifts.items()}
        divergences: dict[str, JSON] = {label: found.said() for label, found in self.divergences.items()}
        return {**self.counts(), "failures": failures, "drifts": drifts, "divergences": divergences}


def judge(
    rules: Rules,
    verdicts: Mapping[int, Verdict],
    quarantine: Quarantine,
    read_partition: Read,
    key: bytes,
    drifts: Mapping[str, Drift] | None = None,
    deliveries: Mapping[int, int | None] | None = None,
    shown: Collection[str] = (),
) -> Judgement:
    """Judge a run by the verdicts of all its partitions, those loaded by an earlier attempt included.

    `read_partition` gives a partition's staged rows again, in the order in which they were checked: at least
    `rules.columns` and, where there is one, `_deleted`. It is asked only where a key seems to occur twice, or a value
    lies too far from the others. `key` is the one that the checkers had. `drifts` says by rule what was found of drift:
    without it such rules hold. `deliveries` says by partition within which keys are unique: without it, within the run.
    Of a column that is `shown` it may be told how its values are distributed.
    Raises ConfigError if a verdict was made under other rules, ContractError if a key's type changed in between.
    """
    for partition, verdict in verdicts.items():
        if verdict.rules != rules.fingerprint:
            raise ConfigError(
                "the rules changed since the partition was validated",
                do="clear the run, so that it is validated again",
                partition=partition,
            )
    none = Tally(evaluated={labelled.label: 0 for labelled in rules.rules})
    tally = sum((verdict.tally for verdict in verdicts.values()), none)
    surveyed = _survey(rules, verdicts, tally)
    unique = {r.label: surveyed[r.label].repeated for r in rules.rules if isinstance(r.rule, UniqueRule)}
    found = confirm(
        [r for r in rules.rules if r.label in unique],
        unique,
        verdicts,
        read_partition,
        {label: hash_seed(key, label) for label in unique},
        deliveries or {},
    )
    extra = {partition: _duplicates(by_rule) for partition, by_rule in sorted(found.items())}
    tally += _tally(found, extra) + Tally(unexpected=broken(rules.rules, verdicts, tally, read_partition))
    bound = bind(rules.rules, rules.schema, rules.schema)
    seen = _Seen(tally, surveyed, bound, key, _divergences(rules, tally, shown))
    failures = [failure for labelled in rules.rules for failure in _failures(labelled, seen)]
    drifted = [failure for labelled in rules.rules for failure in _drifted(labelled, drifts or {})]
    return Judgement((*failures, *drifted, *_too_many(tally, quarantine)), extra, tally, drifts or {}, seen.divergences)


def judge_loaded(rules: Rules, verdict: Verdict, quarantine: Quarantine, key: bytes) -> Judgement:
    """What rules on the whole say of rows that are loaded already: nothing is kept out any more, and read again.

    So a key whose 64-bit hash occurs twice counts as repeated. Raises ContractError as `judge` does.
    """
    tally = Tally(evaluated={labelled.label: 0 for labelled in rules.rules}) + verdict.tally
    tally += Tally(unexpected=broken(rules.rules, {0: verdict}, tally, None))
    surveyed = _survey(rules, {0: verdict}, tally)
    seen = _Seen(tally, surveyed, bind(rules.rules, rules.schema, rules.schema), key)
    failures = [failure for labelled in rules.rules for failure in _failures(labelled, seen)]
    for labelled in rules.rules:
        repeated = len(surveyed[labelled.label].repeated) if isinstance(labelled.rule, UniqueRule) else 0
        if repeated:
            failures.append(Failure(labelled.label, "keys occur again, and are loaded", f"{repeated:,} such keys"))
    return Judgement((*failures, *_too_many(tally, quarantine)), {}, tally)


def _survey(rules: Rules, verdicts: Mapping[int, Verdict], tally: Tally) -> dict[str, Survey]:
    """By label what is known of the hashes of rules on keys."""
    surveyed = {}
    for labelled in rules.rules:
        if isinstance(labelled.rule, KeyRule):
            _same_kind(labelled, tally)
            keys = [verdict.keys[labelled.label] for verdict in verdicts.values()]
            surveyed[labelled.label] = survey(keys, modes=isinstance(labelled.rule, MostCommonInSet))
    return surveyed


def _state(tally: Tally, label: str) -> State:
    return {"rows": 0, "count": 0} | tally.states.get(label, {})


def _divergences(rules: Rules, tally: Tally, shown: Collection[str]) -> dict[str, Divergence]:
    found = {}
    for label, rule in ((labelled.label, labelled.rule) for labelled in rules.rules):
        if isinstance(rule, KLDivergenceLess):
            found[label] = rule.found(_state(tally, label), shown=rule.column in shown)
    return {label: one for label, one in found.items() if one is not None}


def _same_kind(labelled: Labelled, tally: Tally) -> None:
    """Text `1` and number 1 hash differently, and may well become the same value in the table: that fails closed."""
    kinds: dict[str, str] = {}
    for place, kind in (k.split(":", 1) for k in tally.states.get(labelled.label, {}).get("kinds", [])):
        if kinds.setdefault(place, kind) != kind:
            raise ContractError(
                f"{labelled.label}: '{labelled.paths[int(place)]}' changes its type within the run",
                got=f"{kinds[place]} and {kind}",
                do="give the column one type at the source",
            )


def _duplicates(by_rule: Mapping[str, Numbers]) -> Duplicates:
    rows = np.unique(np.concatenate(list(by_rule.values())))
    masks = {label: np.isin(rows, numbers) for label, numbers in by_rule.items()}
    return Duplicates(rows, labels_of(masks, np.arange(len(rows))))


def _tally(found: Mapping[int, Mapping[str, Numbers]], extra: Mapping[int, Duplicates]) -> Tally:
    unexpected: dict[str, int] = {}
    for by_rule in found.values():
        for label, numbers in by_rule.items():
            unexpected[label] = unexpected.get(label, 0) + len(numbers)
    return Tally(bad=sum(len(duplicates.rows) for duplicates in extra.values()), unexpected=unexpected)


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that is known of a run when its rules are judged."""

    tally: Tally
    surveyed: Mapping[str, Survey]
    bound: Bound
    key: bytes
    divergences: Mapping[str, Divergence] = field(default_factory=dict)


def _failures(labelled: Labelled, seen: _Seen) -> Iterator[Failure]:
    label, rule, tally = labelled.label, labelled.rule, seen.tally
    evaluated, unexpected = tally.evaluated.get(label, 0), tally.unexpected.get(label, 0)
    if isinstance(rule, ShapeRule):
        if unexpected or (not evaluated and not seen.bound.fits[label]):
            yield Failure(label, rule.wrong, f"{unexpected:,} of {evaluated:,} rows")
    elif isinstance(rule, RunRule):
        state, diverges = _state(tally, label), seen.divergences.get(label)
        if not rule.holds(state, seen.bound.at):
            values = f"{state['count']:,} values in " if labelled.paths else ""
            counts = f"{values}{state['rows']:,} rows"
            yield Failure(label, rule.wrong, f"{diverges}, of {counts}" if diverges else counts)
    elif isinstance(rule, DistinctBetween):
        distinct = seen.surveyed[label].distinct
        if not rule.holds(distinct, evaluated):
            yield Failure(label, rule.wrong, f"{distinct:,} distinct ones of {evaluated:,}")
    elif isinstance(rule, MostCommonInSet):
        most_common = seen.surveyed[label].most_common
        spoken = evaluated if labelled.where else tally.rows  # of no rows it says nothing
        if spoken and not rule.holds(most_common, seen.bound.at, hash_seed(seen.key, label)):
            yield Failure(label, rule.wrong, f"{len(most_common):,} most frequent ones of {evaluated:,}")
    else:
        yield from _too_few(labelled, evaluated, unexpected)


def _too_few(labelled: Labelled, evaluated: int, unexpected: int) -> Iterator[Failure]:
    rule, least = labelled.rule, labelled.mostly
    what = f"fewer than mostly: {least} of the values hold"
    if isinstance(rule, CountedRule) and least is None:
        least, what = 1.0, rule.wrong
    if least is not None and evaluated and (evaluated - unexpected) / evaluated < least:
        yield Failure(labelled.label, what, f"{unexpected:,} of {evaluated:,} break it")


def _drifted(labelled: Labelled, drifts: Mapping[str, Drift]) -> Iterator[Failure]:
    label, rule, found = labelled.label, labelled.rule, drifts.get(labelled.label)
    if isinstance(rule, DriftLess) and found and found.index is not None and found.index >= rule.threshold:
        got = f"an index of {found.index:.3f} against run {found.run}, the limit is {rule.threshold:g}"
        yield Failure(label, rule.wrong, got)


def _too_many(tally: Tally, quarantine: Quarantine) -> Iterator[Failure]:
    delivered, refused = tally.rows + tally.rejects, tally.bad + tally.rejects
    if delivered and refused / delivered > quarantine.max_fraction:
        got = f"{tally.bad:,} bad and {tally.rejects:,} unreadable of {delivered:,}"
        yield Failure(TOO_MANY, f"more than {quarantine.max_fraction} of the records are bad or unreadable", got)
