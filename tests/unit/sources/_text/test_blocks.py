import numpy as np
import pytest

from importers.core.places import located
from importers.exceptions import ContractError
from importers.sources._text.blocks import LineNumbers, blocks, newlines


def fill_from(text):
    def fill(view, offset):
        chunk = text[offset : offset + len(view)]
        view[: len(chunk)] = chunk
        return len(chunk)

    return fill


def lines(data, length, *, final):
    return length if final else data.rfind(b"\n", 0, length) + 1


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("end", [14, None])
def test_blocks_are_whole_records_and_together_everything(size, end):
    text = b"a\nbbbbbbbb\nc\nd"[:14]
    got = [(block.offset, bytes(block.view)) for block in blocks(fill_from(text), 0, end, lines, size=size)]
    assert b"".join(data for _, data in got) == text
    assert all(text[offset : offset + len(data)] == data for offset, data in got)
    assert all(data.endswith(b"\n") for _, data in got[:-1])


def test_a_slice_ends_where_it_ends():
    assert [bytes(b.view) for b in blocks(fill_from(b"a\nb\nc\n"), 2, 4, lines)] == [b"b\n"]


def test_what_no_cut_completes_is_torn_at_the_end_and_an_error_before(monkeypatch):
    def never(data, length, *, final):
        return 0

    (torn,) = blocks(fill_from(b"abc"), 0, None, never, size=2)
    assert (bytes(torn.view), torn.torn) == (b"abc", True)
    monkeypatch.setattr("importers.sources._text.blocks.LONGEST", 4)
    with pytest.raises(ContractError, match="more than 0 MiB at byte 0"):
        list(blocks(fill_from(b"abcdefgh"), 0, None, never, size=2, path="x"))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_bytes_and_rows_of_blocks_stand_in_the_lines_of_their_file(size):
    text = b"a\n\nbb\r\n\nc\nd"
    numbers, bytes_alone = LineNumbers("x", 0, 1), LineNumbers("x", 2)
    for block in blocks(fill_from(text), 0, None, lines, size=size):
        for offset in range(block.offset, block.offset + block.length):
            line = text[:offset].count(b"\n") + 1
            assert numbers.place(block, offset) == f"x:line {line}"
            assert bytes_alone.place(block, offset) == f"x@byte {offset}"
        first = text[: block.offset].count(b"\n") + 1
        for of, place in ((numbers, f"x:line {first}"), (bytes_alone, f"x@byte 2, line {first}")):
            many = len(bytes(block.view).removesuffix(b"\n").split(b"\n"))
            assert located(of.of(block, many, list), np.array([0])).to_pylist() == [place]


def test_newlines_of_a_stretch_are_counted():
    assert newlines(fill_from(b"a\nb\n\nc\n"), 1, 5) == 3
