"""Great Expectations' words: which rule stands behind an expectation type."""

from __future__ import annotations

from pydantic import ValidationError

from importers.core.names import did_you_mean
from importers.core.tenant import Expectation
from importers.exceptions import ConfigError
from importers.quality import (
    counted,
    divergence,
    documents,
    drift,
    gx,
    members,
    patterns,
    ranks,
    rowwise,
    runwide,
    typewise,
)
from importers.quality.conditions import AnyCondition, conditional

OWN: dict[str, type[rowwise.Rule]] = {
    "expect_column_max_to_be_recent": runwide.MaxRecent,
    "expect_column_drift_to_be_less_than": drift.DriftLess,
}
"""Types that Great Expectations doesn't have."""

COMPILED: dict[str, type[rowwise.Rule]] = {
    **OWN,
    "expect_column_values_to_not_be_null": rowwise.NotBeNull,
    "expect_column_values_to_be_null": rowwise.BeNull,
    "expect_column_values_to_be_between": rowwise.Between,
    "expect_column_values_to_be_in_set": rowwise.BeInSet,
    "expect_column_values_to_not_be_in_set": rowwise.NotBeInSet,
    "expect_column_values_to_match_regex": patterns.MatchRegex,
    "expect_column_values_to_not_match_regex": patterns.NotMatchRegex,
    "expect_column_values_to_match_regex_list": patterns.MatchRegexList,
    "expect_column_values_to_not_match_regex_list": patterns.NotMatchRegexList,
    "expect_column_values_to_match_like_pattern": patterns.MatchLike,
    "expect_column_values_to_not_match_like_pattern": patterns.NotMatchLike,
    "expect_column_values_to_match_like_pattern_list": patterns.MatchLikeList,
    "expect_column_values_to_not_match_like_pattern_list": patterns.NotMatchLikeList,
    "expect_column_values_to_match_json_schema": documents.MatchJsonSchema,
    "expect_column_value_lengths_to_be_between": rowwise.LengthsBetween,
    "expect_column_value_lengths_to_equal": rowwise.LengthsEqual,
    "expect_column_pair_values_a_to_be_greater_than_b": rowwise.GreaterPair,
    "expect_column_pair_values_to_be_equal": rowwise.EqualPair,
    "expect_column_pair_values_to_be_in_set": rowwise.PairInSet,
    "expect_multicolumn_values_to_be_equal": rowwise.AllEqual,
    "expect_multicolumn_sum_to_equal": rowwise.SumEqual,
    "expect_select_column_values_to_be_unique_within_record": rowwise.UniqueWithinRecord,
    "expect_column_values_to_be_unique": runwide.Unique,
    "expect_compound_columns_to_be_unique": runwide.CompoundUnique,
    "expect_column_unique_value_count_to_be_between": runwide.DistinctBetween,
    "expect_column_proportion_of_unique_values_to_be_between": runwide.DistinctProportionBetween,
    "expect_column_distinct_values_to_be_in_set": members.DistinctInSet,
    "expect_column_distinct_values_to_contain_set": members.DistinctContainSet,
    "expect_column_distinct_values_to_equal_set": members.DistinctEqualSet,
    "expect_column_most_common_value_to_be_in_set": members.MostCommonInSet,
    "expect_column_min_to_be_between": runwide.MinBetween,
    "expect_column_max_to_be_between": runwide.MaxBetween,
    "expect_column_mean_to_be_between": runwide.MeanBetween,
    "expect_column_sum_to_be_between": runwide.SumBetween,
    "expect_column_stdev_to_be_between": runwide.StdevBetween,
    "expect_column_value_z_scores_to_be_less_than": counted.ZScoresLess,
    "expect_column_values_to_be_increasing": counted.Increasing,
    "expect_column_values_to_be_decreasing": counted.Decreasing,
    "expect_column_kl_divergence_to_be_less_than": divergence.KLDivergenceLess,
    "expect_column_median_to_be_between": ranks.MedianBetween,
    "expect_column_quantile_values_to_be_between": ranks.QuantilesBetween,
    "expect_column_proportion_of_non_null_values_to_be_between": runwide.NonNullProportionBetween,
    "expect_table_row_count_to_be_between": runwide.RowCountBetween,
    "expect_table_row_count_to_equal": runwide.RowCountEqual,
    "expect_table_column_count_to_be_between": typewise.ColumnCountBetween,
    "expect_table_column_count_to_equal": typewise.ColumnCountEqual,
    "expect_table_columns_to_match_ordered_list": typewise.ColumnsInOrder,
    "expect_table_columns_to_match_set": typewise.ColumnsInSet,
    "expect_column_to_exist": typewise.Exists,
    "expect_column_type_to_be": typewise.OfType,
    "expect_column_values_to_be_of_type": typewise.OfType,
    "expect_column_values_to_be_in_type_list": typewise.OfTypes,
}

_MOSTLY = rowwise.RowRule | runwide.UniqueRule | runwide.CountedRule | gx.GxRule
UNSAID = {
    "expect_column_values_to_not_be_outliers": "say `expect_column_value_z_scores_to_be_less_than`",
    "expect_query_results_to_match_comparison": "rules see the rows of a run before they are in any database",
    "expect_table_row_count_to_equal_other_table": "rules see the rows of a run before they are in any database",
    "unexpected_rows_expectation": "rules see the rows of a run before they are in any database",
}
"""Great Expectations' types that nothing here can judge, and why not or what to say instead."""


def rule_of(expectation: Expectation) -> tuple[rowwise.Rule, AnyCondition | None]:
    """The rule behind an expectation, and which rows it is about.

    Raises ConfigError for an unknown type, kwarg or value.
    """
    if expectation.type in UNSAID:
        raise ConfigError(f"no run can be judged by '{expectation.type}'", do=UNSAID[expectation.type])
    expectation, where = conditional(expectation)
    kind = COMPILED.get(expectation.type)
    if kind is None and expectation.type not in gx.ROW_LEVEL:
        raise ConfigError(
            f"there is no rule '{expectation.type}'",
            do=did_you_mean(expectation.type, [*COMPILED, *gx.ROW_LEVEL]),
        )
    rule = gx.GxRule.of(expectation) if kind is None else _validated(kind, expectation)
    rule.check_arguments()
    if isinstance(rule, patterns.PatternRule) and not rule.compiles:
        rule = gx.GxRule.of(expectation)
    if expectation.mostly is not None and not isinstance(rule, _MOSTLY):
        raise ConfigError("`mostly` is for rules that judge rows or values", got=expectation.type, do="leave it out")
    if where is not None and not conditionable(type(rule)):
        raise ConfigError("`row_condition` is for rules that look at rows", got=expectation.type, do="leave it out")
    return rule, where


def check_order(rule: rowwise.Rule, source: str, *, ordered: bool) -> None:
    """Raises ConfigError where a rule hangs on what comes after what, and the rows of the source have no order."""
    if isinstance(rule, runwide.CountedRule) and rule.needs_order and not ordered:
        raise ConfigError(
            f"rows of '{source}' have no order: its partitions are read side by side",
            do="leave it out, or say `expect_column_values_to_be_between`; rows of files have one",
        )


def conditionable(kind: type[rowwise.Rule]) -> bool:
    """Whether a rule looks at rows, which a `row_condition` may choose."""
    return not issubclass(kind, typewise.ShapeRule | drift.DriftLess)


def _validated(kind: type[rowwise.Rule], expectation: Expectation) -> rowwise.Rule:
    settings = [field.alias or name for name, field in kind.model_fields.items()]
    unknown = sorted(set(expectation.kwargs) - set(settings))
    if unknown:
        judging = ["mostly"] if issubclass(kind, _MOSTLY) else []
        choosing = ["row_condition"] if conditionable(kind) else []
        allowed = [*settings, *judging, *choosing]
        raise ConfigError(f"there is no setting '{unknown[0]}'", do=did_you_mean(unknown[0], allowed))
    try:
        return kind.model_validate(expectation.kwargs)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"'{place}' is wrong: {first['msg']}", do=f"settings: {', '.join(settings)}") from None
