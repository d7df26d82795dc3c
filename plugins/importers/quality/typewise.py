"""Rules on a stream's shape. They break no row: a batch fits or it doesn't, and one that doesn't fails the run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from importers.core.exact import is_text
from importers.core.names import did_you_mean, few, shown, shown_type
from importers.exceptions import ConfigError
from importers.quality.columns import leaf_type
from importers.quality.rowwise import Bounds, Rule, number

_NAMES: list[tuple[Callable[[pa.DataType], bool], tuple[str, ...]]] = [
    (pa.types.is_integer, ("int", "integer")),
    (pa.types.is_floating, ("float",)),
    (pa.types.is_float64, ("float64",)),
    (pa.types.is_decimal, ("decimal",)),
    (pa.types.is_boolean, ("bool", "boolean")),
    (is_text, ("str", "string", "large_string")),
    (lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t), ("bytes", "binary")),
    (pa.types.is_date, ("date",)),
    (pa.types.is_timestamp, ("datetime", "timestamp")),
    (pa.types.is_time, ("time",)),
    (pa.types.is_nested, ("nested",)),
    (lambda t: pa.types.is_list(t) or pa.types.is_large_list(t), ("list",)),
    (pa.types.is_struct, ("dict", "struct")),
]
"""Python's and Arrow's names of types. Great Expectations' own names depend on the engine that it runs on."""

_ARROW = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)) | {
    *("double", "large_binary", "date32[day]", "date64[ms]")
}
_PARAMETERISED = ("timestamp[", "time32[", "time64[", "decimal128(", "decimal256(", "list<", "struct<", "duration[")


class ShapeRule(Rule):
    """A rule on a schema."""

    wrong: ClassVar[str]
    reads_values = False
    named: ClassVar[bool] = True
    """Whether the column must be there for the rule to make sense."""

    @abstractmethod
    def fits(self, schema: pa.Schema) -> bool:
        """Raises ConfigError for type names that don't exist."""

    @abstractmethod
    def found(self, schema: pa.Schema) -> str:
        """What is held against the rule, in words."""


class Exists(ShapeRule):
    """The stream has the column, at `column_index` if that is given."""

    column: str
    column_index: int | None = None
    wrong = "the column isn't there"
    named = False

    def fits(self, schema: pa.Schema) -> bool:
        if self.column not in schema.names:
            return False
        return self.column_index is None or schema.names[self.column_index : self.column_index + 1] == [self.column]

    def found(self, schema: pa.Schema) -> str:
        return f"index {schema.names.index(self.column)}" if self.column in schema.names else "no such column"


class OfType(ShapeRule):
    """The column has the type."""

    column: str
    type_: str
    wrong = "the column has another type"

    def check_arguments(self) -> None:
        _is_one_of([self.type_], pa.null())

    def fits(self, schema: pa.Schema) -> bool:
        return _is_one_of([self.type_], leaf_type(schema, self.column))

    def found(self, schema: pa.Schema) -> str:
        return shown_type(leaf_type(schema, self.column))


class OfTypes(ShapeRule):
    """The column has one of the types."""

    column: str
    type_list: Annotated[list[str], Field(min_length=1)]
    wrong = "the column has another type"

    def check_arguments(self) -> None:
        _is_one_of(self.type_list, pa.null())

    def fits(self, schema: pa.Schema) -> bool:
        return _is_one_of(self.type_list, leaf_type(schema, self.column))

    def found(self, schema: pa.Schema) -> str:
        return shown_type(leaf_type(schema, self.column))


class ColumnCountEqual(ShapeRule):
    """The stream has that many columns."""

    value: int
    wrong = "the number of columns is another one"
    named = False

    def fits(self, schema: pa.Schema) -> bool:
        return len(schema) == self.value

    def found(self, schema: pa.Schema) -> str:
        return f"{len(schema):,} columns"


class ColumnCountBetween(Bounds, ShapeRule):
    """The number of the stream's columns."""

    wrong = "the number of columns is outside the range"
    named = False

    def fits(self, schema: pa.Schema) -> bool:
        return bool(self.inside(len(schema), number))

    def found(self, schema: pa.Schema) -> str:
        return f"{len(schema):,} columns"


class ColumnsInOrder(ShapeRule):
    """The stream has these columns, in this order, and no others."""

    column_list: list[str]
    wrong = "the columns are others, or in another order"
    named = False

    def fits(self, schema: pa.Schema) -> bool:
        return bool(schema.names == self.column_list)

    def found(self, schema: pa.Schema) -> str:
        return _differing(self.column_list, schema) or f"the order {few(schema.names)}"


class ColumnsInSet(ShapeRule):
    """The stream has these columns in any order; with `exact_match: false` it may have others too."""

    column_set: list[str]
    exact_match: bool | None = None
    wrong = "the columns are others"
    named = False

    def fits(self, schema: pa.Schema) -> bool:
        wanted, found = set(self.column_set), set(schema.names)
        return wanted <= found if self.exact_match is False else wanted == found

    def found(self, schema: pa.Schema) -> str:
        return _differing(self.column_set, schema) or "these columns"


def _differing(wanted: list[str], schema: pa.Schema) -> str:
    missing, beyond = sorted({*wanted} - {*schema.names}), sorted({*schema.names} - {*wanted})
    said = [f"{few(missing)} missing"] if missing else []
    return " and ".join([*said, *([f"{shown(beyond)} beyond them"] if beyond else [])])


def _is_one_of(names: list[str], found: pa.DataType) -> bool:
    allowed = {name for _, aliases in _NAMES for name in aliases} | _ARROW
    for name in names:
        if name not in allowed and not name.startswith(_PARAMETERISED):
            raise ConfigError(f"there is no type '{name}'", do=did_you_mean(name, allowed))
    if pa.types.is_null(found):
        return True  # nothing but nulls: it says nothing of the type
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool({str(found)}.union(*(aliases for test, aliases in _NAMES if test(found))) & set(names))
