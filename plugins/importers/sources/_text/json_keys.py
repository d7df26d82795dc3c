"""The keys of JSON objects, one a line, beside those that are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa

from importers.core import untold
from importers.transport.text import BOM


class Keys:
    """Looks for keys that an object doesn't have, where Arrow can't: it takes either all that it doesn't know, or none.

    Costs half of what Arrow's parser does, and builds nothing of a value.
    """

    def __init__(self, known: pa.StructType) -> None:
        self._decoder: msgspec.json.Decoder[Any] | None = None
        with suppress(ValueError):  # for a key with a quote, a backslash or a control character in it
            self._decoder = msgspec.json.Decoder(_model(known))

    def has_all_of(self, lines: memoryview) -> bool:
        """Whether no line has another key. False also where that can't be told but line by line."""
        if self._decoder is None:
            return False
        try:
            self._decoder.decode_lines(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        return True


def _model(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return list[_nullable(kind.value_type)] if _has_keys(kind) else msgspec.Raw  # type: ignore[misc]
    if not pa.types.is_struct(kind):
        return msgspec.Raw
    there = [field for field in kind if not untold.is_rest(field)]
    members = [(f"f{number}", _nullable(field.type), None) for number, field in enumerate(there)]
    called = {f"f{number}": field.name for number, field in enumerate(there)}
    closed = len(there) == kind.num_fields
    return msgspec.defstruct("Object", members, rename=called, forbid_unknown_fields=closed, gc=False)


def _nullable(kind: pa.DataType) -> Any:
    model = _model(kind)
    return model if model is msgspec.Raw else model | None


def _has_keys(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind)) or (pa.types.is_list(kind) and _has_keys(kind.value_type))


def parsed(text: bytes) -> dict[str, Any] | None:
    """The object that the text is; None if it is none, or not in UTF-8: halves of characters are no more that."""
    return _object_of(text, None)


class Twice(dict[str, Any]):
    """An object in which some key is there twice."""


def sampled(text: bytes) -> dict[str, Any] | None:
    """As `parsed`, with what is there `Twice`."""
    return _object_of(text, _of_pairs)


def _of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Twice(found)


def _object_of(text: bytes, hook: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None) -> dict[str, Any] | None:
    try:
        value = json.loads(str(text.removeprefix(BOM), "utf-8"), object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def unseen_keys(value: Any, kind: pa.DataType, path: str = "") -> Iterator[str]:
    """Paths of the keys that the type doesn't have: `payload.user.email`, `items[].id`."""
    if isinstance(value, dict) and pa.types.is_struct(kind):
        fields = {field.name: field for field in kind}
        open_ = untold.NAME in fields and untold.is_rest(fields[untold.NAME])
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            if key in fields:
                yield from unseen_keys(inner, fields[key].type, here)
            elif not open_:
                yield here
    elif isinstance(value, list) and pa.types.is_list(kind):
        for inner in value:
            yield from unseen_keys(inner, kind.value_type, f"{path}[]")
