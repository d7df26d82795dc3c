"""What judging and profiling cost: beside Great Expectations on pandas, and beside polars' own describe.

Both get the same rows, in memory and in the form that they work on. Interleaved; of several rounds the least counts.
CPU seconds of all threads: polars uses several, pandas one, so that the comparison favours pandas. Ours and the peers
have a process each, as a run's processes have: of what one leaves of the memory the other's seconds depend.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, judge
from importers.quality.profiler import Profiler

BATCH = 262_144
KEY = bytes(32)
WITH_ROWS = {"result_format": "COMPLETE", "exclude_unexpected_values": True, "return_unexpected_index_query": False}
"""Which rows are bad, as a quarantine has to know; not their values."""


def _expect(type_: str, **kwargs: Any) -> Expectation:
    return Expectation(type=f"expect_{type_}", kwargs=kwargs)


RULES = [
    _expect("column_values_to_not_be_null", column="id"),
    _expect("column_values_to_be_unique", column="id"),
    _expect("column_values_to_be_between", column="amount", min_value=0, max_value=100_000),
    _expect("column_values_to_be_in_set", column="country", value_set=["DE", "FR", "ES", "IT"]),
    _expect("column_values_to_match_regex", column="email", regex=r"^[^@\s]+@[^@\s]+\.[a-z]+$"),
    _expect("column_value_lengths_to_be_between", column="email", min_value=6, max_value=60),
    _expect("column_mean_to_be_between", column="amount", min_value=10, max_value=100),
    _expect("column_pair_values_a_to_be_greater_than_b", column_A="changed", column_B="created", or_equal=True),
]


@cache
def table(rows: int) -> pa.Table:
    """Orders, of which some break a rule."""
    random = np.random.default_rng(11)
    made = random.integers(1_700_000_000, 1_760_000_000, rows)
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "amount": random.lognormal(3, 1, rows).round(2),
            "country": random.choice(["DE", "FR", "ES", "IT", "??"], rows, p=[0.4, 0.3, 0.2, 0.0999, 0.0001]),
            "email": pl.select(pl.format("user{}@example.org", pl.int_range(rows) % 500_000)).to_series(),
            "created": pl.Series(made * 1_000_000).cast(pl.Datetime("us")),
            "changed": pl.Series((made + random.integers(-1, 10_000, rows)) * 1_000_000).cast(pl.Datetime("us")),
        }
    ).to_arrow()


def ours(rows: pa.Table) -> int:
    """Bad rows, by the gate's count."""
    rules = Rules.compile(RULES, rows.schema)
    checker = rules.checker(KEY)
    for batch in rows.to_batches(max_chunksize=BATCH):
        checker.check(batch)
    verdicts = {0: checker.verdict(0)}
    judged = judge(rules, verdicts, Quarantine(max_fraction=1.0), lambda _: iter(rows.to_batches()), KEY)
    return sum(judged.tally.unexpected.values())


def theirs(frame: pd.DataFrame) -> int:
    """The same by Great Expectations."""
    import great_expectations as gx
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("bench").add_dataframe_asset("bench")
    batch = asset.add_batch_definition_whole_dataframe("bench").get_batch(batch_parameters={"dataframe": frame})
    suite = gx.ExpectationSuite(name="bench")
    for rule in RULES:
        suite.add_expectation(get_expectation_impl(rule.type)(**rule.kwargs))
    results = batch.validate(suite, result_format=WITH_ROWS).results
    return sum(int(result.result.get("unexpected_count") or 0) for result in results)


def profiled(rows: pa.Table) -> int:
    profiler = Profiler()
    for batch in rows.to_batches(max_chunksize=BATCH):
        profiler.add(batch)
    return len(profiler.finish())


def described(frame: pl.DataFrame) -> int:
    return frame.describe().width


_SPAWN = get_context("spawn")


@cache
def _frame(rows: int) -> pd.DataFrame:
    return table(rows).to_pandas()


@cache
def _polars(rows: int) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table(rows)))


def _timed(work: Callable[[Any], int], given: Callable[[int], Any], rows: int) -> tuple[int, float]:
    """In a process: what the work finds, and the CPU seconds that it takes, without those to make the rows."""
    made = given(rows)
    started = time.process_time()
    return work(made), time.process_time() - started


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """CPU seconds, the least of the rounds, and the two ratios that the project promises something of."""
    seconds: dict[str, float] = {}
    found: dict[str, int] = {}
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as us, ProcessPoolExecutor(1, mp_context=_SPAWN) as them:
        for _ in range(rounds):
            for name, (process, work, given) in {
                "8 rules": (us, ours, table),
                "Great Expectations on pandas": (them, theirs, _frame),
                "profile": (us, profiled, table),
                "polars describe": (them, described, _polars),
            }.items():
                found[name], took = process.submit(_timed, work, given, rows).result()
                seconds[name] = min(seconds.get(name, float("inf")), took)
    if found["8 rules"] != found["Great Expectations on pandas"]:
        raise AssertionError(f"the engines disagree: {found}")
    return {
        "rows": rows,
        "cpu_seconds": {name: round(least, 3) for name, least in seconds.items()},
        "bad_values": found["8 rules"],
        "rules_of_great_expectations": round(seconds["8 rules"] / seconds["Great Expectations on pandas"], 4),
        "profile_of_describe": round(seconds["profile"] / seconds["polars describe"], 3),
    }


def show(measured: dict[str, Any]) -> str:
    lines = [
        f"{measured['rows']:,} rows, {measured['bad_values']:,} values that break a rule; CPU seconds, least of rounds"
    ]
    lines += [f"{name:30} {least:8.2f}" for name, least in measured["cpu_seconds"].items()]
    lines += [
        f"8 rules: {measured['rules_of_great_expectations']:.3f} of Great Expectations (promised: 0.1)",
        f"profile: {measured['profile_of_describe']:.2f} of polars' describe (promised: 2)",
    ]
    return "\n".join(lines)
