"""The slow path: row-level expectation types that only Great Expectations itself can judge.

The only module that imports it: `pip install 'airflow-provider-importers[great-expectations]'`. Some 5 µs a
row and rule, where a compiled one takes 0.02 to 0.1. Results carry row numbers, never values.
"""

from __future__ import annotations

import builtins
import logging
import re
import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from importers.core.registry import optional
from importers.core.tenant import Expectation
from importers.exceptions import ConfigError, ContractError
from importers.quality.columns import Columns
from importers.quality.rowwise import Rule

Mask = npt.NDArray[np.bool_]

ROW_LEVEL = (
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_be_json_parseable",
    "expect_column_values_to_match_strftime_format",
)
"""Types whose verdict on a row depends on that row alone, and that Great Expectations has for pandas."""

_RESULT = {"result_format": "COMPLETE", "exclude_unexpected_values": True, "return_unexpected_index_query": False}


class GxRule(Rule):
    """An expectation as Great Expectations understands it."""

    type: str
    kwargs: dict[str, Any]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, expectation: Expectation) -> Self:
        """Raises ConfigError where Great Expectations refuses the kwargs, MissingExtraError without it."""
        rule = cls(type=expectation.type, kwargs=expectation.kwargs, paths=expectation.columns)
        for pattern in _patterns(rule.kwargs):
            _valid(pattern)
        rule.expectation(0)
        return rule

    def expectation(self, number: int) -> Any:
        """Great Expectations' own object, marked with the rule's number."""
        registry = _library("great_expectations.expectations.registry")
        kind = registry.get_expectation_impl(self.type)
        try:
            return kind(**self.kwargs, meta={"rule": number})
        except ValueError as error:
            raise ConfigError(
                "Great Expectations refuses the rule's settings", got=type(error).__name__, do="see its documentation"
            ) from None


def _library(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports modules that Python is about to drop
        return optional(module, "great-expectations")


def _patterns(kwargs: dict[str, Any]) -> list[str]:
    found = [kwargs.get("regex"), *(kwargs.get("regex_list") or [])]
    return [pattern for pattern in found if isinstance(pattern, str)]


def _valid(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ConfigError("the regular expression isn't valid", got=str(error), do="mend the pattern") from None


class Engine:
    """Great Expectations over a fixed list of rules, fed one frame after another."""

    def __init__(self, rules: Sequence[GxRule]) -> None:
        gx = _library("great_expectations")
        types = _library("great_expectations.data_context.types.base")
        self._paths = sorted({path for rule in rules for path in rule.paths})
        with _silence:
            context = gx.get_context(
                mode="ephemeral",
                project_config=types.DataContextConfig(
                    store_backend_defaults=types.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                    analytics_enabled=False,
                    progress_bars=types.ProgressBarsConfig(globally=False),
                ),
            )
            asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
            self._rows = asset.add_batch_definition_whole_dataframe("rows")
            expectations = [rule.expectation(number) for number, rule in enumerate(rules)]
            self._suite = gx.ExpectationSuite(name="rules", expectations=expectations)

    def judge(self, frame: pl.DataFrame, at: Columns) -> list[tuple[Mask, int]]:
        """Rule by rule: which rows violate it and how many it had a say in. Raises ContractError if it can't tell."""
        leaves = frame.select(at(path).expr.alias(path) for path in self._paths)
        pandas = leaves.to_arrow().to_pandas(integer_object_nulls=True)
        with _silence:
            batch = self._rows.get_batch(batch_parameters={"dataframe": pandas})
            results = batch.validate(self._suite, result_format=_RESULT).results
        found = {result.expectation_config.meta["rule"]: _outcome(result, len(pandas)) for result in results}
        return [found[number] for number in range(len(found))]


def _outcome(result: Any, rows: int) -> tuple[Mask, int]:
    details = result.result
    if "unexpected_index_list" not in details and details.get("unexpected_count") != 0:
        raise ContractError(
            f"Great Expectations couldn't judge '{result.expectation_config.type}'",
            got=", ".join(sorted(_errors(result.exception_info))) or "no result",
            do="look at the rule's settings and the column's type",
        )
    violated = np.zeros(rows, dtype=np.bool_)
    violated[details.get("unexpected_index_list") or []] = True
    return violated, details["element_count"] - details["missing_count"]


def _errors(info: dict[str, Any]) -> set[str]:
    """The exceptions' classes, as far as they are Python's own: messages may quote a value."""
    traces = [info] if "exception_traceback" in info else list(info.values())
    named = re.findall(r"^(\w+)(?=:|$)", "\n".join(str(trace.get("exception_traceback")) for trace in traces), re.M)
    return {name for name in named if isinstance(getattr(builtins, name, None), type)}


class _Silence:
    """Great Expectations logs what it stumbles over, and that may be a value. Held by several threads at once."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("great_expectations")
        self._lock, self._holders, self._before = Lock(), 0, logging.NOTSET

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._before = self._logger.level
                self._logger.setLevel(logging.CRITICAL + 1)  # unlike `disabled` it reaches the loggers below
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._logger.setLevel(self._before)


_silence = _Silence()
