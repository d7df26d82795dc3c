"""pgoutput's messages as PostgreSQL's manual lays them out, put together here byte by byte."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from importers.exceptions import ContractError
from importers.sources.databases._pg_output import (
    UNCHANGED,
    Described,
    Messages,
    Transactions,
    rows_of,
    texts,
    truncated,
)

OID = 16_384
KEPT = object()
"""A long value that an update leaves out."""


def row(*values: Any) -> bytes:
    """TupleData: the number of columns, then each a kind and, of text, its length and bytes."""
    found = struct.pack(">H", len(values))
    for value in values:
        if value is None or value is KEPT:
            found += b"n" if value is None else b"u"
        else:
            found += b"t" + struct.pack(">I", len(value.encode())) + value.encode()
    return found


def insert(*new: Any) -> bytes:
    return b"I" + struct.pack(">I", OID) + b"N" + row(*new)


def update(new: tuple[Any, ...], old: tuple[Any, ...] = (), kind: bytes = b"O") -> bytes:
    return b"U" + struct.pack(">I", OID) + (kind + row(*old) if old else b"") + b"N" + row(*new)


def delete(*old: Any, kind: bytes = b"K") -> bytes:
    return b"D" + struct.pack(">I", OID) + kind + row(*old)


def begin(lsn: int, microseconds: int, xid: int) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, microseconds, xid)


def read(*messages: bytes, width: int = 3, key: tuple[int, ...] = (0,)) -> list[tuple[Any, ...]]:
    """Each row with whether it is gone, and the message that it came from."""
    found = Messages.of(pa.array(messages, pa.binary()))
    rows = rows_of(found, np.arange(len(messages)), width, key)
    columns = [texts(found.buffer, rows.values, column).to_pylist() for column in range(width)]
    return list(zip(*columns, rows.deleted.tolist(), rows.message.tolist(), strict=True))


def test_inserts_updates_and_deletes_in_their_order() -> None:
    assert read(
        insert("1", "ada", None),
        update(("1", "ünï", "x")),
        delete("1", None, None),
        insert("1", "", "again"),
    ) == [
        ("1", "ada", None, False, 0),
        ("1", "ünï", "x", False, 1),
        ("1", None, None, True, 2),
        ("1", "", "again", False, 3),
    ]


def test_a_row_that_gets_another_key_is_gone_under_the_old_one() -> None:
    assert read(
        update(("2", "ada", None), ("1", None, None), b"K"),
        update(("3", "ada", None), ("2", "ada", None)),
        update(("3", "eve", None), ("3", "ada", None)),
    ) == [
        ("1", None, None, True, 0),
        ("2", "ada", None, False, 0),
        ("2", "ada", None, True, 1),
        ("3", "ada", None, False, 1),
        ("3", "eve", None, False, 2),
    ]


def test_what_an_update_leaves_out_is_what_was_there() -> None:
    long = "z" * 10_000
    found = read(update(("1", KEPT, "b"), ("1", long, "a")), update(("1", KEPT, None), ("1", None, None)))
    assert found == [("1", long, "b", False, 0), ("1", None, None, False, 1)]  # of the second nobody knows


def test_what_nobody_knows_is_told_from_null() -> None:
    found = Messages.of(pa.array([update(("1", KEPT, None))], pa.binary()))
    rows = rows_of(found, np.arange(1), 3, (0,))
    assert (rows.values.kinds[:, 0] == UNCHANGED).tolist() == [False, True, False]


def test_two_nulls_in_a_key_are_the_same_key() -> None:
    assert len(read(update((None, "b", None), (None, "a", None)))) == 1
    assert len(read(update(("1", "b", None), (None, "a", None)))) == 2


def test_a_batch_that_is_cut_out_of_another() -> None:
    array = pa.array([insert("0", "x", "x"), insert("1", "ada", "y"), delete("1", None, None)], pa.binary())
    found = Messages.of(array.slice(1))
    rows = rows_of(found, np.arange(2), 3, (0,))
    assert texts(found.buffer, rows.values, 0).to_pylist() == ["1", "1"]
    assert len(Messages.of(array.slice(3)).kinds) == 0


def test_transactions_say_where_and_when_they_committed() -> None:
    """From postgresql.org's epoch, 2000-01-01; a log beyond 4 GiB."""
    found = Messages.of(pa.array([begin(5 << 32 | 7, 1_000_001, 2**32 - 1), insert("1", None, None)], pa.binary()))
    begun = Transactions.begun(found)
    assert (begun.committed_at[0], begun.moment[0], begun.xid[0]) == (21474836487, 946684801000001, 4294967295)


def test_a_table_is_described_by_its_columns() -> None:
    message = b"R" + struct.pack(">I", OID) + b"public\0plays\0f" + struct.pack(">H", 2)
    message += b"\1id\0" + struct.pack(">Ii", 20, -1) + b"\0n\xc3\xa4me\0" + struct.pack(">Ii", 25, -1)
    assert Described.of(memoryview(message + b"what follows")) == Described(OID, ("id", "näme"))


def test_a_truncation_names_its_tables() -> None:
    assert list(truncated(b"T" + struct.pack(">IBII", 2, 1, 7, OID))) == [7, OID]


def test_a_row_of_another_shape_is_an_error() -> None:
    with pytest.raises(ContractError, match="more or fewer columns"):
        read(insert("1", "ada"))
