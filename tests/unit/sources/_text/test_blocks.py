import pytest

from importers.exceptions import ContractError
from importers.sources._text.blocks import Places, blocks


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


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_lines_are_counted_onwards(chunk):
    text = b"a\n\nbb\r\n\nc\nd"
    places = Places("x", fill_from(text), _data=bytearray(chunk))
    for offset in (0, 1, 3, 9, 11, 11):
        assert places(offset) == f"x:line {text[:offset].count(bytes([10])) + 1}"
    assert Places("x", fill_from(text), line=None)(9) == "x@byte 9"
