"""How far a run's values are from a distribution that the tenant's file says: the Kullback-Leibler divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from importers.core.model import JSON
from importers.quality.columns import PLAIN, Columns, Family
from importers.quality.runwide import RunRule, State
from importers.quality.spread import FEWEST

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Distribution(BaseModel):
    """Weights of `values`, or of the `bins` between edges that ascend; the weights, and those of the tails, make 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    weights: Annotated[list[Weight], Field(min_length=1)]
    """How much of the whole each has."""
    values: list[Any] | None = None
    """The categories."""
    bins: list[float] | None = None
    """One edge more than weights; the first and the last may be infinite (`-.inf`, `.inf`)."""
    tail_weights: Annotated[list[Weight], Field(min_length=2, max_length=2)] | None = None
    """How much lies below the first edge and above the last."""

    @model_validator(mode="after")
    def _is_one(self) -> Distribution:
        if (self.values is None) == (self.bins is None):
            raise ValueError("say `values` or `bins`, and their `weights`")
        if self.values is not None and len(self.values) != len(self.weights):
            raise ValueError("each of the `values` needs a weight")
        if self.bins is not None and len(self.bins) != len(self.weights) + 1:
            raise ValueError("`bins` are edges: one more than weights")
        if self.bins is not None and any(low >= high for low, high in pairwise(self.bins)):
            raise ValueError("`bins` must ascend")
        if self.tail_weights is not None and (self.bins is None or not all(map(math.isfinite, self._ends))):
            raise ValueError("`tail_weights` are for bins with two finite ends")
        if not np.allclose(sum(self.weights) + sum(self.tail_weights or ()), 1.0):
            raise ValueError("the weights don't make 1")
        return self

    @property
    def _ends(self) -> tuple[float, float]:
        return (self.bins[0], self.bins[-1]) if self.bins else (-math.inf, math.inf)

    @property
    def tails(self) -> tuple[bool, bool]:
        """Whether values may lie below the bins, and above."""
        below, above = map(math.isfinite, self._ends)
        return below, above


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a run was from the distribution, in nats, and the limit; `cells` are values or bins with their shares.

    A share is of 1: the run's, and the expected one with what is held out.
    """

    nats: float
    limit: float
    cells: tuple[tuple[str, float, float], ...] = ()

    def __str__(self) -> str:
        how_far = f"a divergence of {self.nats:.3f}" if math.isfinite(self.nats) else "an infinite divergence"
        if not self.cells:
            return how_far
        cell, share, expected = max(self.cells, key=lambda one: (one[1] > 0 and one[2] == 0, abs(one[1] - one[2])))
        return f"{how_far}; {cell}: {share:.1%} where {expected:.1%} was expected"

    def said(self) -> dict[str, JSON]:
        """As JSON, which knows no infinity: `divergence` is null then."""
        cells: list[JSON] = [
            {"cell": cell, "observed": round(share, 4), "expected": round(expected, 4)}
            for cell, share, expected in self.cells
        ]
        return {"divergence": self.nats if math.isfinite(self.nats) else None, "limit": self.limit, "cells": cells}


class KLDivergenceLess(RunRule):
    """The Kullback-Leibler divergence of the values from `partition_object`, in nats, is at most `threshold`.

    A value or a bin that is expected never, and occurs, makes it infinite: a holdout is a weight for those.
    """

    column: str
    partition_object: Distribution
    threshold: Annotated[float, Field(ge=0)]
    tail_weight_holdout: Share = 0.0
    """Of bins: the weight of what lies outside them."""
    internal_weight_holdout: Share = 0.0
    """Of bins: the weight that those without any share."""
    wrong = "the values are distributed otherwise than expected"

    @model_validator(mode="after")
    def _suits(self) -> KLDivergenceLess:
        expected = self.partition_object
        if expected.values is not None and (self.tail_weight_holdout or self.internal_weight_holdout):
            raise ValueError("of `values` nothing is held out here: name each that may occur, with its weight")
        if self.tail_weight_holdout and (expected.tail_weights is not None or not any(expected.tails)):
            raise ValueError("`tail_weight_holdout` is for bins with a finite end and without `tail_weights`")
        return self

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        x, expected = at(self.column), self.partition_object
        if expected.bins is not None:
            values, edges = x.within([Family.NUMBER]).expr, list(map(x.bound, expected.bins))
            last = len(edges) - 1
            left = {f"left:{n}": (values <= e if n == last else values < e).sum() for n, e in enumerate(edges)}
            return {"count": values.count(), **left}
        x = x.within(PLAIN - {Family.BINARY})
        members = [x.members([value]) for value in expected.values or ()]
        hits = [(x.expr == one.item()).sum() if len(one) else pl.lit(0) for one in members]
        return {"count": x.expr.count(), **{f"left:{n}": hit.cast(pl.Int64) for n, hit in enumerate(hits)}}

    def holds(self, state: State, _at: Columns) -> bool:
        if not state["rows"]:
            return True
        if not state["count"]:
            return False
        return divergence(self._observed(state), self._expected()) <= self.threshold

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str | None:
        found = self.found(state, shown=shown)
        return str(found) if found else None

    def found(self, state: State, *, shown: bool) -> Divergence | None:
        """None of so few values that a share is somebody's; without cells where the column isn't `shown`."""
        if state["count"] < FEWEST:
            return None
        observed, expected = self._observed(state), self._expected()
        nats = divergence(observed, expected)
        if not shown:
            return Divergence(nats, self.threshold)
        shares = zip(self._cells(), observed / observed.sum(), expected / expected.sum(), strict=True)
        return Divergence(nats, self.threshold, tuple((cell, float(p), float(q)) for cell, p, q in shares))

    def _cells(self) -> list[str]:
        expected = self.partition_object
        if expected.bins is None:
            return [*map(str, expected.values or ()), "anything else"]
        (below, above), edges = expected.tails, expected.bins
        cells = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
        return [*([f"below {edges[0]:g}"] if below else ()), *cells, *([f"above {edges[-1]:g}"] if above else ())]

    def _observed(self, state: State) -> npt.NDArray[np.float64]:
        expected, count = self.partition_object, state["count"]
        left = [state[f"left:{n}"] for n in range(len(expected.bins or expected.values or ()))]
        if expected.bins is None:
            return np.array([*left, count - sum(left)], float)
        cells = [left[0], *(high - low for low, high in pairwise(left)), count - left[-1]]
        below, above = expected.tails
        return np.array(cells[0 if below else 1 : None if above else -1], float)

    def _expected(self) -> npt.NDArray[np.float64]:
        expected, held = self.partition_object, self.tail_weight_holdout
        weights = np.array(expected.weights) * (1 - held - self.internal_weight_holdout)
        if expected.bins is None:
            return np.array([*weights, 0.0])
        nothing = weights == 0
        if self.internal_weight_holdout and nothing.any():
            weights[nothing] = self.internal_weight_holdout / nothing.sum()
        tails = expected.tail_weights or [held / sum(expected.tails)] * 2 if any(expected.tails) else [0.0, 0.0]
        below, above = expected.tails
        return np.array([*tails[: int(below)], *weights, *(tails[1:] if above else ())])


def divergence(observed: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    """Σ p · ln(p / q), both made to add up to 1; infinite where something is that was never expected."""
    p, q = observed / observed.sum(), expected / expected.sum()
    there = p > 0
    if (q[there] == 0).any():
        return math.inf
    return float(np.sum(p[there] * np.log(p[there] / q[there])))
