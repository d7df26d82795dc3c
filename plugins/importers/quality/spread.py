"""How a column's values are spread over bins that stay the same, so that later values can be held against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from importers.core.model import JSON
from importers.quality.profile import deciles

FEWEST = 20
"""Of fewer values a run's profile tells none, and no value that fewer sampled rows have."""
_OFTEN = 0.01  # the least share that makes a text a category
_ALONE = 0.05  # the least share that gives a number a bin of its own: chance moves the index with each bin
_LEAST_SHARE = 0.0001
_FARTHEST = 1e308  # beyond it all counts as that, infinity too, which JSON lacks


@dataclass(frozen=True, slots=True)
class Spread:
    """The shares of values up to each of the `edges` and of those beyond the last; or of each of the `categories`, and
    of all others.

    A number that many values are is an edge, and so is the number just below it: so these are in a bin of their own.
    """

    edges: Sequence[float]
    categories: Sequence[str | bool]
    shares: Sequence[float]
    least: float = 1.0
    """The share from which on a value is a category; 1 where that isn't known."""

    @classmethod
    def of(cls, values: pl.Series, *, of_persons: bool = False) -> Self | None:
        """Bins by deciles and by the values that one in twenty is, or by the categories that one value in a hundred
        has. None for a type that has neither. Where rows are `of_persons` no edge is beyond the outer deciles.
        """
        if values.dtype.is_numeric():
            edges = _edges(_numbers(values), of_persons=of_persons)
            return cls(edges, (), _between(values, edges))
        if values.dtype in (pl.String, pl.Boolean):
            least = max(FEWEST / max(values.len(), 1), _OFTEN)
            often = tuple(value for value, _ in _common(values, least))
            return cls((), often, _among(values, often), least)
        return None

    def beside(self, values: pl.Series) -> tuple[Sequence[float], Sequence[float]] | None:
        """The shares of the earlier values and of these, by bins; None if they are of another kind.

        Without a value there is nothing to be spread otherwise.
        """
        if not values.len():
            return self.shares, self.shares
        if values.dtype.is_numeric() and not self.categories:
            return self.shares, _between(values, self.edges)
        if values.dtype in (pl.String, pl.Boolean) and not self.edges:
            return self._with_new_ones(values)
        return None

    def _with_new_ones(self, values: pl.Series) -> tuple[Sequence[float], Sequence[float]]:
        """With a bin for categories that weren't any. How often those values were isn't known: so often that it tells
        least, but not as often as a category.
        """
        shares = _among(values, self.categories)
        before, now = self.shares[-1], shares[-1]
        new = [share for value, share in _common(values, _OFTEN) if value not in self.categories]
        if not new:
            return self.shares, shares
        often = min(sum(new), now)
        rare = min(before * often / now, len(new) * self.least)
        return (*self.shares[:-1], rare, before - rare), (*shares[:-1], often, now - often)

    def said(self) -> dict[str, JSON]:
        return {
            "edges": list(self.edges),
            "categories": list(self.categories),
            "shares": list(self.shares),
            "least": self.least,
        }

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """Also what was told before `least` was, and before numbers had bins of their own."""
        edges = tuple(map(float, said["edges"]))  # of 1e300 the ledger makes an integer
        return cls(edges, said["categories"], said["shares"], said.get("least", 1.0))


UNSEEN = Spread((), (), (1.0,))
"""Of a column with too few values to tell any: all are in one bin."""


def stability(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The population stability index: Σ (actual - expected) · ln(actual / expected), natural logarithm.

    A share below 0.0001 counts as that, or a bin that is empty on one side would make the index infinite.
    """
    a, e = (np.maximum(np.asarray(shares, float), _LEAST_SHARE) for shares in (actual, expected))
    return float(np.sum((a - e) * np.log(a / e)))


def _numbers(values: pl.Series) -> npt.NDArray[np.float64]:
    return values.cast(pl.Float64).to_numpy().clip(-_FARTHEST, _FARTHEST)


def _edges(numbers: npt.NDArray[np.float64], *, of_persons: bool) -> tuple[float, ...]:
    tenths = np.array(deciles(pl.Series(numbers)))
    found, counts = np.unique(numbers, return_counts=True)
    alone = found[counts >= max(FEWEST, _ALONE * len(numbers))]
    if of_persons:
        alone = alone[(alone >= tenths[0]) & (alone <= tenths[-1])]
    return tuple(np.unique(np.concatenate([tenths, alone, np.nextafter(alone, -np.inf)])).tolist())


def _between(values: pl.Series, edges: Sequence[float]) -> tuple[float, ...]:
    places = np.searchsorted(edges, _numbers(values), side="left")
    return tuple((np.bincount(places, minlength=len(edges) + 1) / max(len(places), 1)).tolist())


def _common(values: pl.Series, least: float) -> Iterator[tuple[str | bool, float]]:
    """The values that this share of all is, and FEWEST sampled ones, with their shares; the most common first."""
    counted = values.value_counts(sort=True).sort("count", values.name, descending=[True, False])
    for value, count in counted.iter_rows():
        if count < max(FEWEST, least * values.len()):
            return
        yield value, count / values.len()


def _among(values: pl.Series, categories: Sequence[str | bool]) -> tuple[float, ...]:
    counted = dict(values.value_counts().iter_rows())
    shares = [counted.get(category, 0) / max(values.len(), 1) for category in categories]
    return *shares, max(0.0, 1 - sum(shares))
