"""What the ledger is told of a run's profile: JSON that may go anywhere."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date
from typing import Any

from importers.core.model import JSON
from importers.quality.profile import ColumnProfile, Profile, histogram
from importers.quality.spread import FEWEST, Spread


def told(
    profile: Profile, named: Collection[str], shown: Collection[str] | None = None, *, of_persons: bool = False
) -> dict[str, JSON]:
    """`rows`, and of each of the `named` columns `name`, `type`, `nulls`, `distinct`, `distinct_exact` and `among`.

    Of those that are `shown` (None: of all of which the profile has values), where there are enough values that a
    quantile isn't somebody's, `mean`, `deciles` (from the least to the greatest value), `histogram` (`[low, high,
    rows]`, of a sample) and `spread`, for drift. Where rows are `of_persons` nothing is told beyond the first and the
    ninth decile: an extreme is one person's.
    """
    columns: list[JSON] = []
    for one in (one for one in profile.told() if one.path in named):
        about = _about(one)
        if shown is None or one.path in shown:
            about |= _of_values(one, profile, of_persons=of_persons)
        columns.append(about)
    return {"rows": profile.rows, "columns": columns}


def _about(one: ColumnProfile) -> dict[str, JSON]:
    return {
        "name": one.path,
        "type": one.type,
        "nulls": one.nulls,
        "distinct": one.distinct,
        "distinct_exact": one.distinct_exact,
        "among": one.among,
    }


def _of_values(one: ColumnProfile, profile: Profile, *, of_persons: bool) -> dict[str, JSON]:
    values = profile.values(one.path)
    if values.len() < FEWEST:
        return {}
    spread, deciles, bars = Spread.of(values, of_persons=of_persons), one.deciles, one.histogram
    if of_persons and deciles:
        deciles = (None, *deciles[1:-1], None)
        bars = tuple(histogram(values.filter(values.is_between(deciles[1], deciles[9]))))
    return {
        "mean": _plain(one.mean),
        "deciles": [_plain(value) for value in deciles],
        "histogram": [[_plain(bar.low), _plain(bar.high), bar.rows] for bar in bars],
        "spread": spread.said() if spread else None,
    }


def _plain(value: Any) -> JSON:
    """A number or a moment as JSON has it, which knows no infinity."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if math.isfinite(value) else None
