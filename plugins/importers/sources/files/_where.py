"""Which rows of a file are wanted, by comparing columns: row groups that its statistics rule out aren't read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import types as t
from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from importers.core.names import did_you_mean, shown_type
from importers.exceptions import ConfigError
from importers.sources._types import loadable

Value: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr


class Operator(StrEnum):
    """As SQL has them: none holds for a null."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    NOT_IN = "not_in"

    @property
    def takes_list(self) -> bool:
        return self in (Operator.IN, Operator.NOT_IN)


def _fitting(said: dict[Operator, Value | list[Value]]) -> dict[Operator, Value | list[Value]]:
    for operator, value in said.items():
        if operator.takes_list != isinstance(value, list):
            raise ValueError(f"`{operator}` takes {'a list of values' if operator.takes_list else 'one value'}")
    return said


Comparisons: TypeAlias = Annotated[
    dict[Operator, Value | Annotated[list[Value], Field(min_length=1, max_length=1000)]],
    Field(min_length=1),
    AfterValidator(_fitting),
]

_KERNELS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQ: pc.equal,
    Operator.NE: pc.not_equal,
    Operator.LT: pc.less,
    Operator.LE: pc.less_equal,
    Operator.GT: pc.greater,
    Operator.GE: pc.greater_equal,
}


class Where:
    """A tenant's conditions on the columns of one file."""

    def __init__(self, said: Mapping[str, Mapping[Operator, Any]], schema: pa.Schema) -> None:
        """Raises ConfigError for a column that the schema lacks, and for a value that isn't of its column's type."""
        self._schema = pa.schema([(field.name, loadable(field.type)) for field in schema])
        self._tests: list[tuple[str, Operator, pa.Array]] = []
        for name, comparisons in said.items():
            if name not in schema.names:
                do = did_you_mean(name, schema.names)
                raise ConfigError(f"`where` names a column '{name}' that the files lack", do=do)
            kind = self._schema.field(name).type
            for operator, value in comparisons.items():
                values = value if operator.takes_list else [value]
                with _told(name, operator, kind):
                    has_none = t.is_null(schema.field(name).type)  # and other files say what it is compared with
                    literals = pa.nulls(len(values)) if has_none else _literals(values, kind)
                    self._tests.append((name, operator, literals))
        self.columns = tuple(said)

    def groups(self, raw: pa.NativeFile) -> frozenset[int]:
        """The row groups of a Parquet file in which a row may be that is wanted."""
        fragment = ds.ParquetFileFormat().make_fragment(raw)
        read_as = fragment.physical_schema
        # Arrow compares no views with what statistics say, and has none for dictionaries; null is text in the schema
        tests = [test for test in self._tests if read_as.field(test[0]).type == self._schema.field(test[0]).type]
        told = [test for each in tests if (test := _possible(*each)) is not None]
        if told:
            fragment = fragment.subset(reduce(lambda one, other: one & other, told))
        return frozenset(group.id for group in fragment.row_groups)

    def rows(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """The numbers of the rows for which all holds."""
        masks = [_holds(batch.column(name), operator, literals) for name, operator, literals in self._tests]
        return np.flatnonzero(reduce(pc.and_, masks).fill_null(False))


def _holds(column: pa.Array, operator: Operator, literals: pa.Array) -> pa.Array:
    if t.is_null(literals.type):
        return pa.nulls(len(column), pa.bool_())
    values = column.cast(literals.type)
    if not operator.takes_list:
        return _KERNELS[operator](values, literals[0])
    if t.is_floating(values.type):  # -0.0 + 0.0 is 0.0, which `is_in` tells from -0.0
        nothing = pa.scalar(0.0, values.type)
        values, literals = pc.add(values, nothing), pc.add(literals, nothing)
    found = pc.is_in(values, value_set=literals)
    return found if operator is Operator.IN else pc.and_(pc.invert(found), values.is_valid())


def _possible(name: str, operator: Operator, literals: pa.Array) -> pc.Expression | None:
    """What must hold somewhere between the least and the greatest; None if they don't tell.

    That a value is none of some isn't told by them: a NaN lies outside.
    """
    if operator in (Operator.NE, Operator.NOT_IN):
        return None
    kernel = pc.equal if operator is Operator.IN else _KERNELS[operator]
    return reduce(lambda one, other: one | other, [kernel(pc.field(name), value) for value in literals])


def _literals(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as the column's type; any whole number for a column of integers, which other files may have wider.

    Raises ValueError, ArithmeticError or ArrowException for one that isn't such a value.
    """
    if t.is_boolean(kind):
        return pa.array(_all(values, bool), kind)
    if t.is_integer(kind):
        return pa.array(_all(values, int), pa.uint64() if kind == pa.uint64() else pa.int64())
    if t.is_float32(kind) or t.is_float64(kind):
        return pa.array(map(float, _all(values, int, float))).cast(kind)
    if t.is_decimal(kind):
        return pa.array([Decimal(str(value)) for value in _all(values, int, float)]).cast(kind)
    if t.is_string(kind) or t.is_large_string(kind):
        return pa.array(_all(values, str), kind)
    if t.is_date(kind) or t.is_timestamp(kind):
        return pa.array(_all(values, str)).cast(kind)
    raise ValueError("such columns aren't compared")


def _all(values: Sequence[Any], *kinds: type) -> list[Any]:
    if any(type(value) not in kinds for value in values):  # to Python a boolean is an integer, too
        raise ValueError("another type")
    return list(values)


@contextmanager
def _told(name: str, operator: Operator, kind: pa.DataType) -> Iterator[None]:
    try:
        yield
    except (ValueError, ArithmeticError, pa.ArrowException):
        raise ConfigError(
            f"`where` can't compare the column '{name}' with what `{operator}` says",
            got=f"a column of type {shown_type(kind)}",
            do=f"{_EXPECTED.get(_family(kind), 'leave it out: only texts, numbers, booleans and times are compared')}",
        ) from None


_EXPECTED = {
    "text": "write a text, in quotes if it looks like a number",
    "boolean": "write true or false",
    "day": "write 2026-12-31",
    "clock": "write 2026-12-31 or 2026-12-31 23:59:59, without a zone",
    "moment": "write 2026-12-31T23:59:59Z",
    "number": "write a number without quotes that the column's type can hold",
}


def _family(kind: pa.DataType) -> str:
    if t.is_timestamp(kind):
        return "moment" if kind.tz else "clock"
    if t.is_string(kind) or t.is_large_string(kind):
        return "text"
    if t.is_boolean(kind):
        return "boolean"
    if t.is_date(kind):
        return "day"
    return "number" if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind) else ""
