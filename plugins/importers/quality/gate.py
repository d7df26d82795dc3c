"""The gate: what the partitions' verdicts say together. A run that fails here loads nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from importers.core.model import JSON
from importers.core.names import few
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
from importers.quality.observed import UNTOLD, Telling, wanted
from importers.quality.rules import Rules
from importers.quality.runwide import CountedRule, DistinctBetween, KeyRule, RunRule, State, Tells, UniqueRule
from importers.quality.typewise import ShapeRule
from importers.quality.verdict import Numbers, Tally, Verdict

TOO_MANY = "quarantine.max_fraction"
"""Stands for the rule in a failure that comes from no rule: the setting that was exceeded."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that the run fails: in counts, and what else may be told of what it saw."""

    label: str
    what: str
    got: str
    wanted: str = ""
    """The rule's arguments."""

    def __str__(self) -> str:
        wanted = f"; wanted {self.wanted}" if self.wanted else ""
        return f"{self.label}: {self.what}{wanted}; got {self.got}"


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
    wanted: Mapping[str, str] = field(default_factory=dict)
    """By rule its arguments."""
    observed: Mapping[str, str] = field(default_factory=dict)
    """By rule on the whole what was held against them, or that it is withheld."""
    of_values: Collection[str] = ()
    """The rules of which that is more than counts."""

    def counts(self) -> dict[str, JSON]:
        """Over all partitions, duplicates included. Holds no values."""
        return self.tally.counts()

    def told(self) -> dict[str, JSON]:
        """The counts, what rules wanted and what those on the whole saw, what the run failed for, and how far columns
        have drifted or diverge. Of values what `Telling` lets it hold.
        """
        rules: dict[str, JSON] = {
            label: {**counts, "wanted": self.wanted.get(label, ""), "observed": self.observed.get(label)}
            | {"of_values": label in self.of_values}
            for label, counts in self.tally.by_rule().items()
        }
        failures: list[JSON] = [
            {"rule": f.label, "what": f.what, "wanted": f.wanted, "got": f.got, "of_values": f.label in self.of_values}
            for f in self.failures
        ]
        drifts: dict[str, JSON] = {label: drift.said() for label, drift in self.drifts.items()}
        divergences: dict[str, JSON] = {label: found.said() for label, found in self.divergences.items()}
        return {**self.counts(), "rules": rules, "failures": failures, "drifts": drifts, "divergences": divergences}


def judge(
    rules: Rules,
    verdicts: Mapping[int, Verdict],
    quarantine: Quarantine,
    read_partition: Read,
    key: bytes,
    drifts: Mapping[str, Drift] | None = None,
    deliveries: Mapping[int, int | None] | None = None,
    telling: Telling = UNTOLD,
) -> Judgement:
    """Judge a run by the verdicts of all its partitions, those loaded by an earlier attempt included.

    `read_partition` gives a partition's staged rows again, in the order in which they were checked: at least
    `rules.columns` and, where there is one, `_deleted`. It is asked only where a key seems to occur twice, or a value
    lies too far from the others. `key` is the one that the checkers had. `drifts` says by rule what was found of drift:
    without it such rules hold. `deliveries` says by partition within which keys are unique: without it, within the run.
    `telling` says of which columns' values something may be told: without it, of none.
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
    return _judgement(rules, _Seen(tally, surveyed, bound, key, telling, drifts or {}), quarantine, extra)


def judge_loaded(
    rules: Rules,
    verdict: Verdict,
    quarantine: Quarantine,
    key: bytes,
    telling: Telling = UNTOLD,
) -> Judgement:
    """What rules on the whole say of rows that are loaded already: nothing is kept out any more, and read again.

    So a key whose 64-bit hash occurs twice counts as repeated. Raises ContractError as `judge` does.
    """
    tally = Tally(evaluated={labelled.label: 0 for labelled in rules.rules}) + verdict.tally
    tally += Tally(unexpected=broken(rules.rules, {0: verdict}, tally, None))
    surveyed = _survey(rules, {0: verdict}, tally)
    seen = _Seen(tally, surveyed, bind(rules.rules, rules.schema, rules.schema), key, telling)
    repeated = {r.label: len(surveyed[r.label].repeated) for r in rules.rules if isinstance(r.rule, UniqueRule)}
    loaded = [
        Failure(r, "keys occur again, and are loaded", f"{many:,} such keys") for r, many in repeated.items() if many
    ]
    return _judgement(rules, seen, quarantine, {}, loaded)


def _judgement(
    rules: Rules,
    seen: _Seen,
    quarantine: Quarantine,
    extra: Mapping[int, Duplicates],
    besides: Iterable[Failure] = (),
) -> Judgement:
    asked = {labelled.label: wanted(labelled, seen.telling) for labelled in rules.rules}
    observed = {labelled.label: found for labelled in rules.rules if (found := seen.observed(labelled))}
    failures = [
        Failure(label, what, observed.get(label) or seen.breaking(label), asked[label])
        for label, what in ((labelled.label, _broken(labelled, seen)) for labelled in rules.rules)
        if what
    ]
    return Judgement(
        (*failures, *besides, *_too_many(seen.tally, quarantine)),
        extra,
        seen.tally,
        seen.drifts,
        _divergences(rules, seen.tally, seen.telling.shown),
        asked,
        observed,
        frozenset(r.label for r in rules.rules if isinstance(r.rule, RunRule) and r.rule.tells is not Tells.COUNTS),
    )


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
    return Duplicates(rows, labels_of(masks))


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
    telling: Telling
    drifts: Mapping[str, Drift] = field(default_factory=dict)

    def counted(self, label: str) -> tuple[int, int]:
        """How many values or rows the rule had a say in, and how many of them break it."""
        return self.tally.evaluated.get(label, 0), self.tally.unexpected.get(label, 0)

    def breaking(self, label: str) -> str:
        """As `counted`, in words."""
        evaluated, unexpected = self.counted(label)
        return f"{unexpected:,} of {evaluated:,} break it"

    def observed(self, labelled: Labelled) -> str | None:
        """What a rule on the whole holds against its arguments; None where there were no rows, and of rules on rows."""
        label, rule = labelled.label, labelled.rule
        evaluated, unexpected = self.counted(label)
        if isinstance(rule, ShapeRule):
            found = few(self.tally.states.get(label, {}).get("found") or [self.bound.found[label]])
            return f"{found}: {unexpected:,} of {evaluated:,} rows" if unexpected else found
        if isinstance(rule, RunRule):
            return self._of_run(rule, _state(self.tally, label))
        if isinstance(rule, DistinctBetween):
            return rule.observation(self.surveyed[label].distinct, evaluated)
        if isinstance(rule, MostCommonInSet):
            return f"{len(self.surveyed[label].most_common):,} most frequent ones of {evaluated:,}"
        return str(self.drifts[label]) if label in self.drifts else None

    def _of_run(self, rule: RunRule, state: State) -> str | None:
        rows = f"{state['rows']:,} rows"
        if "column" not in type(rule).model_fields:
            return rows
        if not state["rows"]:
            return None
        counts = f"{state['count']:,} values in {rows}"
        found, withheld = self.telling.observed(rule, state, self.bound.at)
        return f"{counts}; {withheld}" if withheld else f"{found}, of {counts}" if found else counts


def _broken(labelled: Labelled, seen: _Seen) -> str | None:
    """What a rule that the run fails says of it."""
    label, rule = labelled.label, labelled.rule
    evaluated, unexpected = seen.counted(label)
    if isinstance(rule, ShapeRule):
        holds = not unexpected and (evaluated > 0 or seen.bound.fits[label])
    elif isinstance(rule, RunRule):
        holds = rule.holds(_state(seen.tally, label), seen.bound.at)
    elif isinstance(rule, DistinctBetween):
        holds = rule.holds(seen.surveyed[label].distinct, evaluated)
    elif isinstance(rule, MostCommonInSet):
        most_common = seen.surveyed[label].most_common
        spoken = evaluated if labelled.where else seen.tally.rows  # of no rows it says nothing
        holds = not spoken or rule.holds(most_common, seen.bound.at, hash_seed(seen.key, label))
    elif isinstance(rule, DriftLess):
        found = seen.drifts.get(label)
        holds = found is None or found.index is None or found.index < rule.threshold
    else:
        return _too_few(labelled, evaluated, unexpected)
    return None if holds else rule.wrong


def _too_few(labelled: Labelled, evaluated: int, unexpected: int) -> str | None:
    rule, least = labelled.rule, labelled.mostly
    what = f"fewer than mostly: {least} of the values hold"
    if isinstance(rule, CountedRule) and least is None:
        least, what = 1.0, rule.wrong
    return what if least is not None and evaluated and (evaluated - unexpected) / evaluated < least else None


def _too_many(tally: Tally, quarantine: Quarantine) -> Iterator[Failure]:
    delivered, refused = tally.rows + tally.rejects, tally.bad + tally.rejects
    if delivered and refused / delivered > quarantine.max_fraction:
        got = f"{tally.bad:,} bad and {tally.rejects:,} unreadable of {delivered:,}"
        yield Failure(TOO_MANY, f"more than {quarantine.max_fraction} of the records are bad or unreadable", got)
