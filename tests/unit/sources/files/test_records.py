import csv

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from importers.sources.files import _records
from importers.sources.files._records import Dialect


def ends(text):
    """Byte after each record, as Python's csv sees them: it asks for another line until a record is whole."""
    lines, at, found = text.splitlines(keepends=True), 0, []
    asked = 0

    def one_by_one():
        nonlocal at, asked
        for line in lines:
            at, asked = at + len(line), asked + 1
            yield line.decode("latin-1")

    for _ in csv.reader(one_by_one()):
        found.append(at)
    return found


@settings(max_examples=1000, deadline=None)
@given(
    st.text(alphabet='ab,,""\n\n', max_size=40).map(str.encode),
    st.integers(1, 9),
    st.integers(1, 12),
)
@example(b'a"\n"\nb\n', 2, 1)  # a stray quote at a seam
def test_a_split_is_a_record_boundary(text, pieces, scan):
    def fill(view, offset):
        chunk = text[offset : offset + len(view)]
        view[: len(chunk)] = chunk
        return len(chunk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_records, "SCAN", scan)
        splits, tidy, closed = Dialect().splits(fill, 0, len(text), pieces)
    cuts = [split.at for split in splits]
    assert [split.newlines for split in splits] == [text.count(b"\n", 0, cut) for cut in cuts]
    assert set(cuts) <= set(ends(text))
    assert cuts == sorted(set(cuts))
    assert tidy or not cuts
    if closed and text.count(b'"') % 2 == 0:  # of a quote that is never closed the parser says nothing else
        list(csv.reader(text.decode().splitlines(keepends=True), strict=True))
    elif tidy and not closed:
        with pytest.raises(csv.Error):
            list(csv.reader(text.decode().splitlines(keepends=True), strict=True))
    if '"' not in text.decode():
        assert tidy
        targets = [len(text) * piece // pieces for piece in range(1, pieces)] if text else []
        assert set(cuts) == {next(end for end in ends(text) if end > target) for target in targets} - {len(text)}


def whole(text):
    """How much of the text is whole records: the last counts if one more letter would begin another."""
    found = [end for end in ends(text) if end < len(text)]
    if text.endswith(b"\n") and len(ends(text + b"x")) > len(ends(text)):
        found.append(len(text))
    return found[-1] if found else 0


@settings(max_examples=1000, deadline=None)
@given(st.text(alphabet='ab,,""\n\n', min_size=1, max_size=40).map(str.encode))
def test_a_cut_takes_every_whole_record_and_no_more(text):
    assert Dialect().cut(bytearray(text), len(text), final=False) == whole(text)


def test_a_torn_end_is_left_over():
    text = b'1,"a\nb"\n2,"c\n'
    assert Dialect().cut(bytearray(text), len(text), final=True) == 8
    assert Dialect().cut(bytearray(text), len(text), final=True, tidy=True) == 8


def test_no_quotes_no_parity():
    text = b'1,"a\nb"\n2,c'
    assert Dialect(quote=b"").cut(bytearray(text), len(text), final=False) == 8
    assert Dialect().cut(bytearray(text), len(text), final=False) == 8
    assert Dialect(quote=b"").cut(bytearray(b'1,"a\nb'), 6, final=False) == 5


def test_a_million_quotes_take_one_walk():
    text = b'"' * 1_000_001
    assert Dialect().cut(bytearray(text), len(text), final=True) == 0
    assert Dialect().records(text, len(text)) == ([], 0)
