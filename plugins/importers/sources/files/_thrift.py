"""Thrift's compact protocol, as far as a page's header and a footer of Parquet need it. A struct is its values by their
numbers.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any, TypeAlias

Struct: TypeAlias = dict[int, Any]
Bytes: TypeAlias = bytes | memoryview

_TRUE, _FALSE, _I8, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST = range(1, 10)
_STRUCT = 12
_SIZES = {_I8: 1, _DOUBLE: 8}


class I64(int):
    """An integer that is written as one of 64 bits; others are of 32."""


def read(data: Bytes, at: int = 0) -> tuple[Struct, int]:
    """The bools, the integers of 32 bits and the structs of a struct, and where it ends; it has nothing of any length.

    Raises ValueError for a list, a set or a map: a damaged one may have 2^60 nothings, each to be read. Raises
    IndexError where the data ends before the struct does, and RecursionError.
    """
    found: Struct = {}
    number = 0
    while head := data[at]:
        kind, at = head & 15, at + 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        if kind in (_TRUE, _FALSE):
            found[number] = kind == _TRUE
        elif kind == _I32:
            found[number], at = _signed(data, at)
        elif kind == _STRUCT:
            found[number], at = read(data, at)
        else:
            at = _after(data, at, kind)
    return found, at + 1


def _after(data: Bytes, at: int, kind: int) -> int:
    """Where what nobody asks for ends."""
    if kind in (_I16, _I64):
        return _unsigned(data, at)[1]
    if kind == _BINARY:
        length, at = _unsigned(data, at)
        return at + length
    if kind not in _SIZES:
        raise ValueError(f"type {kind}")
    return at + _SIZES[kind]


def _unsigned(data: Bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := data[at]) & 0x80:
        number |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return number | byte << shift, at + 1


def _signed(data: Bytes, at: int) -> tuple[int, int]:
    number, at = _unsigned(data, at)
    return number >> 1 ^ -(number & 1), at


def written(struct: Struct) -> bytes:
    """Values are bools, ints, `I64`, bytes, structs, and lists of one kind that have some; None isn't written. Numbers
    ascend by 15 at most.
    """
    out = bytearray()
    before = 0
    for number, value in struct.items():
        if value is not None:
            kind, body = _encoded(value)
            out.append(number - before << 4 | kind)
            out += body
            before = number
    return bytes(out) + b"\0"


def _encoded(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return (_TRUE if value else _FALSE), b""
    if isinstance(value, int):
        return (_I64 if isinstance(value, I64) else _I32), _varint(value << 1 ^ value >> 63)
    if isinstance(value, bytes):
        return _BINARY, _varint(len(value)) + value
    if isinstance(value, dict):
        return _STRUCT, written(value)
    of = [_encoded(one) for one in value]
    size = bytes([len(of) << 4 | of[0][0]]) if len(of) < 15 else bytes([0xF0 | of[0][0]]) + _varint(len(of))
    return _LIST, size + b"".join(body for _, body in of)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
