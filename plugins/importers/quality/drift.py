"""Whether a column's values are spread as in an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from importers.core.model import JSON
from importers.quality.columns import Columns, Family
from importers.quality.profile import Profile
from importers.quality.rowwise import Rule
from importers.quality.spread import UNSEEN, Spread, stability

COMPARABLE = 500
"""Rows that both runs need: chance alone moves the index of ten bins by about 9 · (1/n + 1/m)."""


class DriftLess(Rule):
    """The population stability index against the last committed run is less than `threshold`.

    By custom 0.1 is little and 0.25 much. The bins are the earlier run's deciles and the numbers that one value in
    twenty was, or the categories that one in a hundred had; missing values are a bin too.
    """

    column: str
    threshold: Annotated[float, Field(gt=0)]
    """The index from which on the run fails."""
    wrong: ClassVar[str] = "the column's values are spread otherwise than in an earlier run"

    def check(self, at: Columns) -> None:
        """Raises ConfigError for a column whose values have no spread that stays the same."""
        at(self.column).within([Family.NUMBER, Family.TEXT, Family.BOOLEAN])


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the ledger was told of an earlier run's profile."""

    run: int
    profile: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drift:
    """The index, and against which run; or why there is none."""

    index: float | None = None
    run: int | None = None
    why: str | None = None

    def __str__(self) -> str:
        if self.index is None:
            return f"not compared: {self.why}"
        return f"an index of {self.index:.3f} against run {self.run}"

    def said(self) -> dict[str, JSON]:
        return {"index": self.index, "run": self.run, "why": self.why}


def drift(column: str, profile: Profile, earlier: Sequence[Earlier]) -> Drift:
    """Against the first of the `earlier` runs that had enough rows, and told of the column's values if it had many."""
    missing = _missing(profile, column)
    if missing is None or profile.rows < COMPARABLE:
        return Drift(why=f"fewer than {COMPARABLE} rows in this run")
    for run, spread, missed in _comparable(column, earlier):
        shares = spread.beside(profile.values(column))
        if shares is None:
            return Drift(run=run, why="the column had values of another kind")
        return Drift(stability(_with(missed, shares[0]), _with(missing, shares[1])), run)
    return Drift(why=f"no earlier run has {COMPARABLE} rows")


def _missing(profile: Profile, column: str) -> float | None:
    """The share of missing values; None where nothing is known of the column."""
    found = next((one for one in profile.told() if one.path == column), None)
    return found.nulls / found.rows if found and found.rows else None


def _comparable(column: str, earlier: Sequence[Earlier]) -> Iterator[tuple[int, Spread, float]]:
    """What told nothing of its values though it had many was a column that isn't shown."""
    for one in earlier:
        rows = one.profile["rows"]
        for said in one.profile["columns"] if rows >= COMPARABLE else ():
            spread = Spread.read(said["spread"]) if said.get("spread") else UNSEEN
            if said["name"] == column and (spread is not UNSEEN or rows - said["nulls"] < COMPARABLE):
                yield one.run, spread, said["nulls"] / rows


def _with(missing: float, shares: Sequence[float]) -> list[float]:
    return [missing, *(share * (1 - missing) for share in shares)]
