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


@pytest.mark.parametrize("few", [1, 8, 256])
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
    assert len(parsed) < 200
    assert sum(parsed) < 10 * sum(map(len, lines))


def test_few_lines_that_do_not_fit_are_looked_for_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at each of a thousand lines takes as long as to parse ten thousand."""
    asked: list[bytes] = []
    is_unfit = json_lines.is_unfit
    monkeypatch.setattr(json_lines, "is_unfit", lambda text, kind: asked.append(text) or is_unfit(text, kind))
    rows, refused = read([b'{"n": %s}' % (b'"x"' if n % 1000 == 500 else b"1") for n in range(8000)])
    assert (len(rows), len(refused)) == (7992, 8)
    assert len(asked) <= 8 * 32


BLANKS = ("\n", " \t\r\n", "\r\n")


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("where", ["before", "amid", "behind", "at the end"])
def test_two_objects_on_a_line_are_no_rows_where_there_is_an_empty_line_too(blank: str, where: str) -> None:
    one, two = '{"n": 1}', '{"n": 2} {"n": 3}'
    text = {
        "before": f"{blank}{one}\n{two}\n",
        "amid": f"{one}\n{blank}{two}\n",
        "behind": f"{two}\n{blank}{one}",
        "at the end": f"{one}\n{two}\n" + blank.rstrip("\n"),
    }[where]
    rows, refused = read([text.encode()])
    assert (rows, refused) == ([{"n": 1}], [two.encode()])


@pytest.mark.parametrize(
    "lines", [b'{"n": 1}\n{"n": 2}\n', b'\xef\xbb\xbf{"n": 1}\r\n {"n": 2}', b'{"n": 1} \n\t{"n": 2}\r\n']
)
def test_lines_that_have_an_object_each_are_parsed_at_once(monkeypatch: pytest.MonkeyPatch, lines: bytes) -> None:
    monkeypatch.setattr(Lines, "_one_by_one", None)
    data = bytearray(lines + b"}{ from the block before")
    assert Lines(SCHEMA, UnknownKeys.STOP).read(Block(0, data, len(lines)), str).table["n"].to_pylist() == [1, 2]
