"""How a column's values are spread over bins that stay the same, so that later values can be held against them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from importers.core.model import JSON
from importers.quality.profile import deciles

FEWEST = 20
"""Of fewer values a run's profile tells none, and no value that fewer sampled rows have."""
_OFTEN = 0.01  # the least share that makes a text a category
_LEAST_SHARE = 0.0001


@dataclass(frozen=True, slots=True)
class Spread:
    """The shares of values up to each of the `edges` and of those beyond the last; or of each of the `categories`, and
    of all others.
    """

    edges: Sequence[float]
    categories: Sequence[str | bool]
    shares: Sequence[float]

    @classmethod
    def of(cls, values: pl.Series) -> Self | None:
        """Bins by deciles, or by the categories that one value in a hundred has. None for a type that has neither."""
        if values.dtype.is_numeric():
            edges = tuple(np.unique([float(x) for x in deciles(values) if math.isfinite(x)]).tolist())
            return cls(edges, (), _between(values, edges))
        if values.dtype in (pl.String, pl.Boolean):
            counted = values.value_counts(sort=True).sort("count", values.name, descending=[True, False])
            least = max(FEWEST, _OFTEN * values.len())
            often = tuple(value for value, count in counted.iter_rows() if count >= least)
            return cls((), often, _among(values, often))
        return None

    def shares_of(self, values: pl.Series) -> Sequence[float] | None:
        """The shares that other values have in the same bins; None if they are of another kind."""
        if values.dtype.is_numeric() and not self.categories:
            return _between(values, self.edges)
        if values.dtype in (pl.String, pl.Boolean) and not self.edges:
            return _among(values, self.categories)
        return None

    def said(self) -> dict[str, JSON]:
        return {"edges": list(self.edges), "categories": list(self.categories), "shares": list(self.shares)}

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        return cls(said["edges"], said["categories"], said["shares"])


def stability(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The population stability index: Σ (actual - expected) · ln(actual / expected), natural logarithm.

    A share below 0.0001 counts as that, or a bin that is empty on one side would make the index infinite.
    """
    a, e = (np.maximum(np.asarray(shares, float), _LEAST_SHARE) for shares in (actual, expected))
    return float(np.sum((a - e) * np.log(a / e)))


def _between(values: pl.Series, edges: Sequence[float]) -> tuple[float, ...]:
    places = np.searchsorted(edges, values.cast(pl.Float64).to_numpy(), side="left")
    return tuple((np.bincount(places, minlength=len(edges) + 1) / max(len(places), 1)).tolist())


def _among(values: pl.Series, categories: Sequence[str | bool]) -> tuple[float, ...]:
    counted = dict(values.value_counts().iter_rows())
    shares = [counted.get(category, 0) / max(values.len(), 1) for category in categories]
    return *shares, max(0.0, 1 - sum(shares))
