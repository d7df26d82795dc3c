"""Rules on which values a column has: all of a set, nothing else, or which is the most frequent."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from importers.core.names import few
from importers.exceptions import ConfigError
from importers.quality.columns import PLAIN, Columns, Family, Operand
from importers.quality.hashing import keyed
from importers.quality.runwide import KeyRule, RunRule, State
from importers.quality.verdict import Numbers

_COUNTABLE = PLAIN - {Family.BINARY}


class DistinctInSet(RunRule):
    """Every value is one of the set. No row is bad: the run fails."""

    column: str
    value_set: list[Any]
    wrong: ClassVar[str] = "there are values outside the set"

    def members(self, at: Columns) -> tuple[Operand, pl.Series]:
        x = at(self.column).within(_COUNTABLE)
        return x, x.members(self.value_set).unique(maintain_order=True)  # a member's number is the same in all batches

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        x, members = self.members(at)
        known = x.expr.is_not_null()
        place = x.expr.replace_strict(members, range(len(members)), default=None, return_dtype=pl.Int64)
        found = place if len(members) else pl.lit(None, pl.Int64)
        return {
            "count": known.sum(),
            "outside": (known & found.is_null()).sum(),
            "members": found.drop_nulls().unique().implode(),
        }

    def holds(self, state: State, _at: Columns) -> bool:
        return not state.get("outside", 0)

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str:  # noqa: ARG002 - what lies outside is not kept
        return f"{state.get('outside', 0):,} outside the set"


class DistinctContainSet(DistinctInSet):
    """Every member of the set occurs."""

    wrong = "members of the set don't occur"

    def check_arguments(self) -> None:
        super().check_arguments()
        if None in self.value_set:
            raise ConfigError("a missing value can't be found among values", do="take null out of the set")

    def holds(self, state: State, at: Columns) -> bool:
        if not state["rows"]:
            return True
        return len(state.get("members", [])) == len(set(self.value_set)) == len(self.members(at)[1])

    def observation(self, state: State, at: Columns, *, shown: bool) -> str:
        members, found = self.members(at)[1].to_list(), {*state.get("members", [])}
        missing = [str(member) for number, member in enumerate(members) if number not in found]
        missing += ["a value that the column's type can't hold"] * (len(set(self.value_set)) - len(members))
        said = f"{len(found):,} of {len(set(self.value_set)):,} members"
        return f"{said}, not {few(missing)}" if missing and shown else said


class DistinctEqualSet(DistinctContainSet):
    """Every member of the set occurs, and nothing else."""

    wrong = "the values aren't those of the set"

    def holds(self, state: State, at: Columns) -> bool:
        return not state.get("outside", 0) and super().holds(state, at)

    def observation(self, state: State, at: Columns, *, shown: bool) -> str:
        return f"{state.get('outside', 0):,} outside the set, and {super().observation(state, at, shown=shown)}"


class MostCommonInSet(KeyRule):
    """The most frequent value is one of the set. Frequencies are counted by 64-bit hashes."""

    column: str
    value_set: Annotated[list[Any], Field(min_length=1)]
    ties_okay: bool | None = None
    """Whether one of several most frequent values is enough."""
    wrong: ClassVar[str] = "the most frequent value isn't one of the set"
    good_rows_only = False

    def key(self, at: Columns) -> tuple[list[Operand], pl.Expr | None]:
        x = at(self.column).within(_COUNTABLE)
        x.members(self.value_set)  # a member of another type is told before anything is read
        return [x], None

    def holds(self, most_common: Numbers, at: Columns, seed: int) -> bool:
        """`most_common`: the hashes of the most frequent values; none if there are no values."""
        x = at(self.column)
        member = Operand(x.name, x.dtype, x.family, pl.col("member"))
        frame = x.members(self.value_set).unique().rename("member").to_frame()
        hashes = set(frame.select(keyed([member], pl.lit(value=True), seed).alias("hash"))["hash"].to_list())
        hits = hashes & set(most_common.tolist())
        return bool(hits) and (bool(self.ties_okay) or len(most_common) == 1)
