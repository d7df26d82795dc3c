"""One partition, batch by batch, in its order: all compiled rules that are about the same rows in one polars pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from importers.core.coded import decoded, decoded_schema
from importers.core.destination import Mask
from importers.core.model import DELETED
from importers.exceptions import ConfigError, ContractError
from importers.quality.binding import Bound, Part, bind
from importers.quality.gx import Engine, GxRule
from importers.quality.hashing import keyed, kind, seed
from importers.quality.runwide import KeyRule, State, merged
from importers.quality.verdict import Numbers, Tally, Verdict

if TYPE_CHECKING:
    from importers.quality.rules import Rules


_FEW = 1_000  # rows


@dataclass(frozen=True, slots=True)
class Checked:
    """`bad` marks the batch's bad rows; `broken` is a list of rule labels (list<string>) for each of them, in order."""

    bad: Mask
    broken: pa.ListArray


class Checker:
    """Holds, of what it has seen, counts, states, row numbers and hashes of keys."""

    def __init__(self, rules: Rules, key: bytes) -> None:
        self._rules = rules
        self._seeds = {r.label: seed(key, r.label) for r in rules.rules if isinstance(r.rule, KeyRule)}
        self._good_only = {r.label: r.rule.good_rows_only for r in rules.rules if isinstance(r.rule, KeyRule)}
        self._slow: dict[str, dict[str, GxRule]] = defaultdict(dict)
        for labelled in rules.rules:
            if isinstance(labelled.rule, GxRule):
                self._slow[labelled.rows][labelled.label] = labelled.rule
        self._engines = {about: Engine(list(slow.values())) for about, slow in self._slow.items()}
        self._schema: pa.Schema | None = None
        self._bound: Bound | None = None
        self._hashes: list[pl.Expr] = []
        self._rows = 0
        self._bad: list[Numbers] = []
        self._evaluated: Counter[str] = Counter({r.label: 0 for r in rules.rules})
        self._unexpected: Counter[str] = Counter()
        self._states: dict[str, State] = {}
        self._keys: dict[str, bytearray] = defaultdict(bytearray)

    def check(self, rows: pa.RecordBatch, unfit: Mapping[str, Mask] | None = None) -> Checked:
        """Judge the partition's next batch; tombstones skip the rules. `unfit` rows are bad whatever the rules say.

        Raises ContractError where a rule can't judge the type that a column has in this batch.
        """
        start, self._rows = self._rows, self._rows + rows.num_rows
        alive = living(rows)
        unfit = unfit or {}
        living_unfit = {label: pl.Series(mask if alive is None else mask[alive]) for label, mask in unfit.items()}
        violated = self._judge(rows if alive is None else decoded(rows).filter(pa.array(alive)), living_unfit)
        if alive is not None:
            violated = {label: _spread(mask, alive) for label, mask in violated.items()}
        violated |= {label: pl.Series(mask) for label, mask in unfit.items()}
        bad = reduce(or_, violated.values()).to_numpy() if violated else np.zeros(rows.num_rows, dtype=np.bool_)
        places = np.flatnonzero(bad)
        self._bad.append((places + start).astype(np.uint64))
        return Checked(bad, labels_of({label: mask.gather(places).to_numpy() for label, mask in violated.items()}))

    def verdict(self, rejects: int) -> Verdict:
        """What the gate needs to know. `rejects`: how many of the partition's records couldn't become a row."""
        bad = np.concatenate([np.empty(0, np.uint64), *self._bad])
        tally = Tally(self._rows, rejects, len(bad), dict(self._evaluated), dict(self._unexpected), self._states)
        keys = {label: np.frombuffer(self._keys[label], np.uint64) for label in self._seeds}
        for hashes in keys.values():
            hashes.sort()
        return Verdict(self._rules.fingerprint, bad, tally, keys)

    def _judge(self, rows: pa.RecordBatch, unfit: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
        """The masks of the rules that something violates: bits, which cost an eighth of what bytes do."""
        bound = self._bind(decoded_schema(rows.schema))
        self._note_shape(bound, rows.num_rows)
        if rows.num_rows == 0:
            return {}
        frame = bound.frame(rows)
        violated: dict[str, pl.Series] = {}
        for about, part in bound.parts.items():
            chosen = None if part.chosen is None else frame.select(part.chosen.alias("chosen"))["chosen"].to_numpy()
            if chosen is None:
                violated |= self._judge_part(bound, about, frame, rows.num_rows)
            elif chosen.any():
                found = self._judge_part(bound, about, frame.filter(pl.Series(chosen)), int(chosen.sum()))
                violated |= {label: _spread(mask, chosen) for label, mask in found.items()}
        self._note_keys(bound, frame, violated | dict(unfit))
        return violated

    def _judge_part(self, bound: Bound, about: str, frame: pl.DataFrame, rows: int) -> dict[str, pl.Series]:
        """The rules on rows and on the run that are about the rows of `frame`, which may have no column."""
        part = bound.parts[about]
        seen = _answers(frame, part.questions)
        once = seen.head(1)  # a scalar becomes a column as long as the masks when it is asked for
        self._note_measures(part, once, rows)
        violated: dict[str, pl.Series] = {}
        for label in part.judged:
            mask = seen[f"violated {label}"]
            if self._count(label, once[f"evaluated {label}"][0], int(mask.sum())):
                violated[label] = mask
        if about in self._engines:
            judged = self._engines[about].judge(frame, bound.at)
            for label, (slow, evaluated) in zip(self._slow[about], judged, strict=True):
                if self._count(label, evaluated, int(slow.sum())):
                    violated[label] = pl.Series(slow)
        return violated

    def _bind(self, schema: pa.Schema) -> Bound:
        if self._bound is None or schema != self._schema:
            try:
                self._bound = bind(self._rules.rules, schema, self._rules.schema)
            except ConfigError as error:
                raise ContractError(error.what, got=error.got, do=error.do) from None
            self._hashes = [keyed(*key, self._seeds[label]).alias(label) for label, key in self._bound.keys.items()]
            self._schema = schema
        return self._bound

    def _count(self, label: str, evaluated: int, unexpected: int) -> int:
        self._evaluated[label] += evaluated
        self._unexpected[label] += unexpected
        return unexpected

    def _note_shape(self, bound: Bound, rows: int) -> None:
        for label, fits in bound.fits.items():
            self._count(label, rows, 0 if fits else rows)
            if rows and not fits:
                self._merge(label, {"found": [bound.found[label]]})
        for label, (operands, _) in bound.keys.items():
            kinds = [f"{place}:{kind(operand)}" for place, operand in enumerate(operands) if rows and kind(operand)]
            self._merge(label, {"kinds": kinds})

    def _note_measures(self, part: Part, seen: pl.DataFrame, rows: int) -> None:
        for label, measures in part.measures.items():
            measured = {name: _plain(seen[f"{name} {label}"][0]) for name in measures}
            self._count(label, measured.get("count", rows), 0)
            self._merge(label, {"rows": rows} | measured)

    def _note_keys(self, bound: Bound, frame: pl.DataFrame, violated: dict[str, pl.Series]) -> None:
        if not bound.keys:
            return
        good = ~reduce(or_, violated.values()) if violated else None
        seen = _answers(frame, self._hashes)
        for label in bound.keys:
            hashes = seen[label]
            if good is not None and self._good_only[label]:
                hashes = hashes.filter(good)
            found = hashes.drop_nulls().to_numpy()
            self._count(label, len(found), 0)
            self._keys[label] += found.data  # grows in place: all of them are never held twice

    def _merge(self, label: str, state: State) -> None:
        self._states[label] = merged([self._states.get(label, {}), state])


def _answers(frame: pl.DataFrame, questions: list[pl.Expr]) -> pl.DataFrame:
    """Of few rows one after the other: to hand them to other threads takes longer than to find them."""
    return frame.select_seq(questions) if frame.height < _FEW else frame.select(questions)


def _plain(measured: Any) -> Any:
    return measured.to_list() if isinstance(measured, pl.Series) else measured


def living(rows: pa.RecordBatch) -> Mask | None:
    """Which rows are no tombstones; None if all are alive."""
    if DELETED not in rows.schema.names:
        return None
    deleted: Mask = rows.column(DELETED).fill_null(False).to_numpy(zero_copy_only=False)
    return ~deleted if deleted.any() else None


def _spread(mask: pl.Series, alive: Mask) -> pl.Series:
    spread = np.zeros(len(alive), dtype=np.bool_)
    spread[alive] = mask.to_numpy()
    return pl.Series(spread)


def labels_of(violated: Mapping[str, Mask]) -> pa.ListArray:
    """For each of some rows, of which each violates a rule, the labels of those that it does."""
    if not violated:
        return pa.array([], pa.list_(pa.string()))
    matrix = np.array(list(violated.values())).T
    offsets = np.concatenate([[0], matrix.sum(axis=1).cumsum()])
    labels = pa.array(list(violated), pa.string()).take(pa.array(np.nonzero(matrix)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), labels)
