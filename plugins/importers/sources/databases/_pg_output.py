"""pgoutput's messages, decoded a column at a time: Python loops over a table's columns, numpy over its rows.

The formats are protocol version 1's (postgresql.org/docs/18/protocol-logicalrep-message-formats.html). Numbers are
big-endian; positions are bytes of one buffer that holds the messages one behind the other.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importers.exceptions import ContractError

Bytes: TypeAlias = npt.NDArray[np.uint8]
Numbers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

BEGIN, RELATION, INSERT, UPDATE, DELETE, TRUNCATE = b"BRIUDT"
NULL, UNCHANGED, TEXT = b"nut"
_NEW = ord("N")
_EPOCH = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from when PostgreSQL counts."""
_SHORT = 64
"""Bytes of a value below which numpy gathers it faster than Python cuts it out."""


class Messages(NamedTuple):
    """Messages in the order of the log, each with its kind."""

    buffer: Bytes
    starts: Numbers
    kinds: Bytes

    @classmethod
    def of(cls, data: pa.BinaryArray) -> Messages:
        _, offsets, buffer = data.buffers()
        all_ = np.frombuffer(offsets, np.int32)[data.offset : data.offset + len(data) + 1].astype(np.int64)
        held = np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)
        return cls(held, all_[:-1], held[all_[:-1]])

    def message(self, number: int) -> memoryview:
        """One message, and whatever follows it."""
        return self.buffer[self.starts[number] :].data


class Transactions(NamedTuple):
    """Of each transaction: where its commit stands in the log, when it was (µs since 1970), its number modulo 2³²."""

    committed_at: Numbers
    moment: Numbers
    xid: Numbers

    @classmethod
    def begun(cls, messages: Messages) -> Transactions:
        at = messages.starts[messages.kinds == BEGIN] + 1
        moments = _number(messages.buffer, at + 8, 8) + _EPOCH
        return cls(_number(messages.buffer, at, 8), moments, _number(messages.buffer, at + 16, 4))

    def followed_by(self, others: Transactions) -> Transactions:
        """The last of these, then the others."""
        return Transactions(*(np.concatenate([mine[-1:], theirs]) for mine, theirs in zip(self, others, strict=True)))


class Described(NamedTuple):
    """What a relation message says: the table's oid and its published columns, in the order of tuples."""

    oid: int
    columns: tuple[str, ...]

    @classmethod
    def of(cls, message: memoryview) -> Described:
        (oid,) = struct.unpack_from(">I", message, 1)
        at = _after_text(message, _after_text(message, 5)) + 1
        (count,) = struct.unpack_from(">H", message, at)
        at, names = at + 2, []
        for _ in range(count):
            end = _after_text(message, at + 1)
            names.append(bytes(message[at + 1 : end - 1]).decode())
            at = end + 8
        return cls(oid, tuple(names))


def truncated(message: bytes) -> Sequence[int]:
    """The oids of the tables that a truncate message empties."""
    (count,) = struct.unpack_from(">I", message, 1)
    return struct.unpack_from(f">{count}I", message, 6)


class Tuples(NamedTuple):
    """Values by column and row: each its kind, where its bytes begin and how many they are."""

    kinds: Bytes
    starts: Numbers
    lengths: Numbers

    def rows(self, chosen: Mask | Numbers) -> Tuples:
        return Tuples(self.kinds[:, chosen], self.starts[:, chosen], self.lengths[:, chosen])

    def with_unchanged(self, before: Tuples) -> Tuples:
        """Where a value was left out because it hasn't changed, the one before, if the old image has it."""
        missing = (self.kinds == UNCHANGED) & (before.kinds == TEXT)
        return Tuples(
            np.where(missing, before.kinds, self.kinds),
            np.where(missing, before.starts, self.starts),
            np.where(missing, before.lengths, self.lengths),
        )

    def replace(self, chosen: Mask, others: Tuples) -> None:
        self.kinds[:, chosen], self.starts[:, chosen], self.lengths[:, chosen] = others

    def followed_by(self, others: Tuples) -> Tuples:
        return Tuples(
            np.concatenate([self.kinds, others.kinds], axis=1),
            np.concatenate([self.starts, others.starts], axis=1),
            np.concatenate([self.lengths, others.lengths], axis=1),
        )


def texts(buffer: Bytes, values: Tuples, column: int) -> pa.StringArray:
    """A column's values as text."""
    given = values.kinds[column] == TEXT
    starts, lengths = values.starts[column], np.where(given, values.lengths[column], 0)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    total = int(offsets[-1])
    if total >= 2**31:
        raise ContractError("more than 2 GiB of one column in a batch", do="set a smaller batch_rows")
    data: bytes | Bytes
    if total > _SHORT * len(lengths):
        whole = buffer.data
        data = b"".join(whole[start : start + length] for start, length in zip(starts, lengths, strict=True))
    else:
        data = buffer[np.arange(total) + np.repeat(starts - offsets[:-1], lengths)]
    valid = pa.py_buffer(np.packbits(given, bitorder="little"))
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data), valid)


class Rows(NamedTuple):
    """What changes leave: rows, and of those that are gone (`deleted`) what is known of them, in the log's order."""

    values: Tuples
    deleted: Mask
    message: Numbers
    """Which of the chosen messages each comes from."""


def rows_of(messages: Messages, chosen: Numbers, width: int, key: Sequence[int]) -> Rows:
    """The rows of inserts, updates and deletes of one table, whose tuples have `width` columns.

    An update that gives a row another `key` is a row that is gone and a new one.
    """
    buffer, kinds = messages.buffer, messages.kinds[chosen]
    at = messages.starts[chosen] + 5
    with_old, with_new = buffer[at] != _NEW, kinds != DELETE
    before, end = _tuples(buffer, at[with_old] + 1, width)
    begin = at + 1
    begin[with_old] = end + 1
    now, _ = _tuples(buffer, begin[with_new], width)
    both = with_old & with_new
    old = before.rows(both[with_old])
    new = now.rows(both[with_new]).with_unchanged(old)
    now.replace(both[with_new], new)
    gone = ~with_new[with_old]
    gone[both[with_old]] = _differ(buffer, old, new, key)
    order = np.concatenate([np.flatnonzero(with_old)[gone] * 2, np.flatnonzero(with_new) * 2 + 1])
    sorted_ = np.argsort(order)
    return Rows(before.rows(gone).followed_by(now).rows(sorted_), (order[sorted_] & 1) == 0, order[sorted_] >> 1)


def _differ(buffer: Bytes, old: Tuples, new: Tuples, key: Sequence[int]) -> Mask:
    found = np.zeros(old.kinds.shape[1], np.bool_)
    for column in key:
        mine, theirs = texts(buffer, old, column), texts(buffer, new, column)
        same = pc.fill_null(pc.equal(mine, theirs), False).to_numpy(zero_copy_only=False)
        neither = (old.kinds[column] == NULL) & (new.kinds[column] == NULL)
        found |= ~(same | neither)
    return found


def _tuples(buffer: Bytes, at: Numbers, width: int) -> tuple[Tuples, Numbers]:
    """Tuples that begin at these positions, and where each ends."""
    if (_number(buffer, at, 2) != width).any():
        raise ContractError("a row has more or fewer columns than its table", do="start a new run")
    kinds = np.empty((width, len(at)), np.uint8)
    starts, lengths = np.empty((width, len(at)), np.int64), np.empty((width, len(at)), np.int64)
    at = at + 2
    for column in range(width):
        kinds[column] = buffer[at]
        given = kinds[column] == TEXT
        lengths[column] = np.where(given, _number(buffer, np.where(given, at + 1, 0), 4), 0)
        starts[column] = at + 5
        at = at + 1 + np.where(given, 4 + lengths[column], 0)
    return Tuples(kinds, starts, lengths), at


def _number(buffer: Bytes, at: Numbers, size: int) -> Numbers:
    """Big-endian numbers of `size` bytes; those of 8 have their sign."""
    found = np.zeros(len(at), np.int64)
    for byte in range(size):
        found = found << 8 | buffer[at + byte]
    return found


def _after_text(message: memoryview, at: int) -> int:
    """Behind a text that ends with a zero."""
    while message[at]:
        at += 1
    return at + 1
