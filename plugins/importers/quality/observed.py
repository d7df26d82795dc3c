"""What a rule asks for and what it saw, as far as an error, the ledger and a report may tell it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from importers.core.names import few
from importers.quality.binding import Labelled
from importers.quality.columns import Columns
from importers.quality.gx import GxRule
from importers.quality.runwide import RunRule, State, Tells
from importers.quality.spread import FEWEST


@dataclass(frozen=True, slots=True)
class Telling:
    """The columns of whose values something may be told, and whether the rows are somebody's."""

    shown: Collection[str] = ()
    of_persons: bool = True

    def observed(self, rule: RunRule, state: State, at: Columns) -> tuple[str | None, str | None]:
        """What a rule on the run saw, or why that is withheld; neither where there is nothing beyond counts.

        A mean is told of no fewer than 20 values, and an extreme only where no row is somebody's: it is one row's.
        """
        column = getattr(rule, "column", None)
        shown = column in self.shown
        if rule.tells is Tells.COUNTS:
            return rule.observation(state, at, shown=shown), None
        if not state["count"]:
            return None, None
        if not shown:
            return None, f"what `{column}` had is withheld: it is personal, a key, or may tell of a person"
        if state["count"] < FEWEST:
            return None, f"what it had is withheld: of fewer than {FEWEST} values one would be somebody's"
        if self.of_persons and rule.tells is Tells.EXTREME:
            return None, "what it had is withheld: each row is somebody's, and the value one row's"
        return rule.observation(state, at, shown=True), None


UNTOLD = Telling()
"""Of no column's values anything."""

_NAMED = frozenset(("column", "column_A", "column_B", "column_list"))  # the label names them
_LONG = frozenset(("partition_object",))  # the report has its cells beside what they were
_OF_VALUES = frozenset(("value_set", "value_pairs_set"))  # may list persons, as of accounts that are tests


def wanted(labelled: Labelled, telling: Telling) -> str:
    """The rule's arguments as the tenant's file has them: `min_value: 10, max_value: 20`. Empty without any."""
    rule = labelled.rule
    said = rule.kwargs if isinstance(rule, GxRule) else rule.model_dump(by_alias=True, exclude_unset=True)
    asked = {name: value for name, value in said.items() if name not in _NAMED | _LONG}
    shown = all(path in telling.shown for path in labelled.paths)
    if not shown:
        asked |= {name: f"{len(asked[name]):,} members" for name in _OF_VALUES & asked.keys()}
    if labelled.mostly is not None:
        asked["mostly"] = labelled.mostly
    return ", ".join(f"{name}: {_flow(value)}" for name, value in asked.items())


def _flow(value: Any) -> str:
    """A value in a line, as YAML has it; of long lists the beginning."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(of)}' for key, of in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{few(map(_flow, value))}]"
    if isinstance(value, str):
        return value if len(value) <= 60 else f"{value[:59]}…"
    return value.isoformat() if isinstance(value, date | time) else json.dumps(value, default=str)
