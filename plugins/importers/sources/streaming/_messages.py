"""What messages hold, as columns: a decoder for each format of values, and what the broker says of each message."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.model import Column, PersonalData, Reject
from importers.sources._text.blocks import Block, one_batch
from importers.sources._text.json_keys import parsed, sampled
from importers.sources._text.json_lines import SAMPLE, Lines, UnknownKeys
from importers.sources._text.json_sample import told
from importers.transport.messages import Headers, Messages, Part

VALUE = "message_value"
NO_VALUE = "it has no value (a tombstone)"


class Metadata(StrEnum):
    """What a broker knows of a message beside its value."""

    KEY = "key"
    HEADERS = "headers"
    TIMESTAMP = "timestamp"
    PARTITION = "partition"
    OFFSET = "offset"

    @property
    def column(self) -> str:
        return f"message_{self.value}"


class KeyType(StrEnum):
    TEXT = "text"
    BYTES = "bytes"


HEADERS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
_CLASSES = {
    Metadata.KEY: PersonalData.IDENTIFIER,
    Metadata.HEADERS: PersonalData.FREE_TEXT,
}
_TYPES = {
    Metadata.HEADERS: HEADERS,
    Metadata.TIMESTAMP: pa.timestamp("ms", "UTC"),
    Metadata.PARTITION: pa.int32(),
    Metadata.OFFSET: pa.int64(),
}


def described(which: Metadata, key: KeyType) -> Column:
    """The column. Keys mostly say whose message it is, and headers may say anything."""
    kind = pa.string() if key is KeyType.TEXT else pa.binary()
    return Column(which.column, _TYPES.get(which, kind), _CLASSES.get(which, PersonalData.NONE))


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of those values that are one, which values these are (None: all), and the others."""

    rows: pa.RecordBatch
    kept: Sequence[int] | None
    rejects: Sequence[Reject]


Place = Callable[[int], str]
"""Where a message stands, for people, by its number in the list of values."""


class Decoder(Protocol):
    def read(self, values: pa.Array, place: Place) -> Decoded: ...


class Json:
    """JSON objects: all at once by Arrow's parser, and one by one only where some are none."""

    def __init__(self, asked: pa.Schema, unknown_keys: UnknownKeys, known: pa.Schema | None = None) -> None:
        """Of what is `known` beside what is asked for the values may be anything."""
        shown_by = f"name it in the source's `columns` if those are said, else {SAMPLE}"
        self._lines = Lines(asked, unknown_keys, known=known, shown_by=shown_by)

    def read(self, values: pa.Array, place: Place) -> Decoded:
        if len(values) and not values.null_count:
            joined = _joined(values)
            if joined.count(b"\n") == len(values) - 1:
                decoded = self._together(joined, values, range(len(values)), place)
                if decoded.rows.num_rows + len(decoded.rejects) == len(values):
                    return decoded
        return self._carefully(values.to_pylist(), place)

    def _together(self, joined: bytearray, texts: pa.Array, numbers: Sequence[int], place: Place) -> Decoded:
        """One text a line. `numbers` are those of the values that the texts come from."""
        starts: list[int] = []
        bad: list[int] = []

        def told(start: int) -> str:
            if not starts:  # where each line begins is asked where one is bad
                starts.extend(accumulate((length + 1 for length in pc.binary_length(texts).to_pylist()), initial=0))
            bad.append(bisect_right(starts, start) - 1)
            return place(numbers[bad[-1]])

        table, rejects, _ = self._lines.read(Block(0, joined, len(joined)), told)
        wrong = set(bad)
        kept = [number for at, number in enumerate(numbers) if at not in wrong] if rejects else None
        return Decoded(one_batch(table), kept, rejects)

    def _carefully(self, values: Sequence[bytes | None], place: Place) -> Decoded:
        """Values with newlines in them, none at all, or nothing but blanks."""
        texts, numbers, rejects = [], [], []
        for number, value in enumerate(values):
            text = one_line(value) if value is not None else None
            if text:
                texts.append(text)
                numbers.append(number)
            else:
                why = NO_VALUE if value is None else "not a JSON object"
                rejects.append(Reject(value or b"", place(number), why))
        lines = pa.array(texts, pa.binary())
        decoded = self._together(_joined(lines), lines, numbers, place)
        kept = numbers if decoded.kept is None else decoded.kept
        return Decoded(decoded.rows, kept, [*rejects, *decoded.rejects])


def _joined(lines: pa.Array) -> bytearray:
    """None of which is null, with newlines between them."""
    one = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    return bytearray(pc.binary_join(one, b"\n")[0].as_buffer())


def one_line(value: bytes) -> bytes:
    """The JSON object without newlines, which JSON allows between tokens only; empty if it is none."""
    if b"\n" not in value:
        return value.strip()
    return value.replace(b"\n", b" ").strip() if parsed(value) is not None else b""


def infer_json(values: Sequence[bytes]) -> pa.Schema | None:
    """What the objects among the values hold; None if there is no object."""
    rows = [row for value in values if (row := sampled(value)) is not None]
    return told(rows).schema if rows else None


class Raw:
    """The value as it is: bytes, or text in UTF-8. A message without one is a row without one."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind

    def read(self, values: pa.Array, place: Place) -> Decoded:
        array, kept, rejects = as_text(values, place) if self._kind == pa.string() else (values, None, [])
        return Decoded(pa.RecordBatch.from_arrays([array], [VALUE]), kept, rejects)


def as_text(values: pa.Array, place: Place) -> tuple[pa.Array, Sequence[int] | None, list[Reject]]:
    try:
        return values.cast(pa.string()), None, []
    except pa.ArrowInvalid:
        bad = {number: value for number, value in enumerate(values.to_pylist()) if not _decodes(value)}
    kept = [number for number in range(len(values)) if number not in bad]
    rejects = [Reject(value or b"", place(number), "not UTF-8") for number, value in bad.items()]
    return values.take(pa.array(kept, pa.int64())).cast(pa.string()), kept, rejects


def _decodes(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


PARTS = {Metadata.KEY: Part.KEY, Metadata.HEADERS: Part.HEADERS, Metadata.TIMESTAMP: Part.TIMESTAMP}
"""What is asked of messages for it; where they stand is known of all."""


def metadata(messages: Messages, which: Metadata, key: KeyType) -> pa.Array:
    """A column of what the broker says of messages."""
    match which:
        case Metadata.OFFSET:
            return pa.array(messages.offsets)
        case Metadata.PARTITION:
            return pa.array(messages.partitions).cast(pa.int32())
        case Metadata.TIMESTAMP:
            return messages.times.cast(pa.timestamp("ms", "UTC"))
        case Metadata.HEADERS:
            return pa.array(list(map(_headers, messages.headers)), HEADERS)
        case _:
            return messages.keys if key is KeyType.BYTES else _keys(messages.keys)


def _keys(keys: pa.Array) -> pa.Array:
    """As text. What isn't UTF-8 is escaped, so that two keys that differ stay different."""
    try:
        return keys.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if key is None else key.decode(errors="backslashreplace") for key in keys.to_pylist()])


def _headers(pairs: Headers) -> list[dict[str, str | None]] | None:
    if not pairs:
        return None
    return [
        {"name": name, "value": None if value is None else bytes(value).decode(errors="backslashreplace")}
        for name, value in pairs
    ]
