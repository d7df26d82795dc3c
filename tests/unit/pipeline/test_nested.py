"""Objects and lists of a frozen table. What each pair is to come to is written down by hand."""

import pyarrow as pa
import pytest

from importers.core.model import Column, Reads, Stream
from importers.exceptions import ContractError
from importers.pipeline.nested import as_before, refuse_more
from importers.privacy.leaves import leaves

INT, DOUBLE, TEXT = pa.int64(), pa.float64(), pa.string()


def of(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


def stream(**columns: pa.DataType) -> Stream:
    return Stream("plays", tuple(Column(name, kind, None) for name, kind in columns.items()), Reads.POSITION)


@pytest.mark.parametrize(
    ("known", "came", "refused"),
    [
        (of(a=INT), of(a=INT), None),
        (of(a=INT, b=TEXT), of(a=INT), None),
        (of(a=INT), of(a=pa.int32()), None),
        (of(a=DOUBLE), of(a=INT), None),
        (of(a=INT), of(a=pa.null()), None),
        (of(a=TEXT), of(a=pa.large_string()), None),
        (of(a=INT), of(a=INT, mail=TEXT), r"delivered: o\.mail string; agreed: nothing"),
        (of(a=INT), of(a=DOUBLE), r"delivered: o\.a double; agreed: o\.a int64"),
        (of(a=TEXT), of(a=INT), r"delivered: o\.a int64; agreed: o\.a string"),
        (of(a=of(b=INT)), of(a=of(b=INT, c=INT)), r"o\.a\.c"),
        (pa.list_(of(a=INT)), pa.list_(of(a=INT, b=INT)), r"o\[\]\.b"),
        (of(a=INT), pa.list_(of(a=INT)), r"o\[\]\.a"),
        (pa.list_(INT), pa.list_(DOUBLE), r"o\[\] double"),
        (of(a=INT), of(**{"a": INT, "ada@x.org": INT}), "o.…"),
        (INT, of(a=INT), None),  # the table's own columns are compared with the table
    ],
)
def test_what_is_new_within_a_frozen_column_is_refused(known, came, refused):
    loaded = leaves(pa.schema([("o", came), ("new", of(x=INT))]))
    if refused is None:
        refuse_more(stream(o=known), loaded)
        return
    with pytest.raises(ContractError, match=refused) as raised:
        refuse_more(stream(o=known), loaded)
    assert "within o;" in str(raised.value)
    assert "ada" not in str(raised.value)


def test_what_the_policy_drops_is_no_change():
    loaded = [leaf for leaf in leaves([pa.field("o", of(a=INT, mail=TEXT))]) if leaf.path != "o.mail"]
    refuse_more(stream(o=of(a=INT)), loaded)


@pytest.mark.parametrize(
    ("known", "came", "sampled", "kind"),
    [
        (of(a=INT, b=INT), of(b=INT, c=INT), True, of(a=INT, b=INT, c=INT)),
        (of(a=INT, b=INT), of(b=INT, c=INT), False, of(a=INT, b=INT, c=INT)),
        (of(a=DOUBLE), of(a=INT), True, of(a=DOUBLE)),
        (of(a=INT), of(a=DOUBLE), True, of(a=DOUBLE)),
        (of(a=INT), of(a=TEXT), True, of(a=INT)),  # nothing but nulls, or odd: such a row is in quarantine
        (of(a=INT), of(a=TEXT), False, of(a=TEXT)),
        (of(a=INT), TEXT, True, of(a=INT)),
        (pa.list_(of(a=INT)), pa.list_(of(b=INT)), True, pa.list_(of(a=INT, b=INT))),
    ],
)
def test_what_no_record_shows_today_stays_agreed(known, came, sampled, kind):
    readable = frozenset({INT}) if sampled else frozenset()
    column = as_before(Column("o", came, None, readable_as=readable), known)
    assert (column.type, column.readable_as) == (kind, readable | {kind} if sampled else readable)
