"""Lines that are no rows are those that Arrow's own parser refuses when each stands alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from importers.sources._text import json_lines
from importers.sources._text.blocks import Block
from importers.sources._text.json_lines import Lines, UnknownKeys

SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("f", pa.float64()),
        ("d", pa.decimal128(19, 1)),
        ("at", pa.timestamp("us", "UTC")),
        ("o", pa.struct([("x", pa.list_(pa.bool_()))])),
    ]
)
KINDS = {
    "n": ("1", "-0", "null", "1.0", '"1"', "9223372036854775807", "9223372036854775808", "true"),
    "f": ("1", "0.1", "1e-400", "1e400", "NaN", '"1"', "9007199254740992", "9007199254740993"),
    "d": ("1.5", '"1.5"', "999999999999999999.9", "0.25", '"x"', "1e3", "false", "9999999999999999999"),
    "at": ('"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00.000001+01:00"', '"soon"', "1", '"\\ud83d"'),
    "o": ('{"x": [true, null]}', '{"x": true}', "[]", '{"x": [1]}', '{"x": [], "x": []}', '"x"'),
}
LINES = [f'{{"{name}": {value}}}'.encode() for name, values in KINDS.items() for value in values] * 3


def read(lines: list[bytes]) -> tuple[list[dict[str, object]], list[bytes]]:
    data = bytearray(b"\n".join(lines))
    found = Lines(SCHEMA, UnknownKeys.STOP).read(Block(0, data, len(data)), str)
    return [{name: value for name, value in row.items() if value is not None} for row in found.table.to_pylist()], [
        reject.raw for reject in found.rejects
    ]


@pytest.mark.parametrize("few", [1, 8, 1024])
def test_a_line_is_refused_among_others_if_it_is_alone(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    alone = [read([line]) for line in LINES]
    monkeypatch.setattr(json_lines, "FEW", few)
    rows, refused = read(LINES)
    assert str(rows) == str([row for found, _ in alone for row in found])  # NaN is no NaN
    assert refused == [raw for _, rejects in alone for raw in rejects]
    assert 3 * 2 < len(refused) < len(LINES)


@pytest.mark.parametrize("bad", ['"x"', "9223372036854775808", "1.5", "{}", "true"])
def test_many_lines_that_do_not_fit_are_not_parsed_again_and_again(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    parsed: list[int] = []
    parse = json_lines._read
    monkeypatch.setattr(json_lines, "_read", lambda data, *more: parsed.append(len(data)) or parse(data, *more))
    lines = [f'{{"n": {bad if n % 2 else n}}}'.encode() for n in range(8192)]
    rows, refused = read(lines)
    assert (len(rows), len(refused)) == (4096, 4096)
    assert len(parsed) < 40
    assert sum(parsed) < 8 * sum(map(len, lines))
