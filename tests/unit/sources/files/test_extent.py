"""What says how far cells reach, held against plain counting."""

import re

import pytest
from openpyxl.utils import get_column_letter

from importers.sources.files._extent import Watch, _letters, _up_to


@pytest.mark.parametrize("last", [1, 9, 25, 26, 27, 32, 52, 53, 700, 702, 703, 16384])
def test_columns_up_to_the_last(last):
    assert _letters(last) == get_column_letter(last)
    pattern = re.compile(_up_to(_letters(last), "A", "Z"))
    found = [number for number in range(1, 18_279) if pattern.fullmatch(get_column_letter(number))]
    assert found == list(range(1, last + 1))


@pytest.mark.parametrize("last", [1, 9, 10, 19, 90, 2048, 6710, 10_000])
def test_numbers_up_to_the_last(last):
    pattern = re.compile(_up_to(str(last), "0", "9"))
    assert [number for number in range(100_001) if pattern.fullmatch(str(number))] == list(range(last + 1))


@pytest.mark.parametrize(
    ("dimension", "last", "beyond"),
    [
        (b"A1", b"AF1048576", [b"AG1", b"A1048577", b"a1", b"AAA9", b"A10485760"]),
        (b"A1:Z9", b"AF1048576", [b"AG1"]),
        (b"B2:AN400000", b"AN838860", [b"AO1", b"A838861"]),
        (b"A1:XFD2048", b"XFD2048", [b"XFE1", b"A2049"]),
        (b"A1:XFD2049", b"AF1048576", [b"AG1"]),
    ],
)
def test_cells_outside_of_a_dimension_are_far(dimension, last, beyond):
    def far(place):
        watch = Watch()
        text = b'<worksheet><dimension ref="%b"/><sheetData><c r="A1"/><c r="%b"/>' % (dimension, place)
        return [watch.far(text), watch.far(b"")]

    assert far(last) == [False, False]
    assert all(any(far(place)) for place in beyond)
