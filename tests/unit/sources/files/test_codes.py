from unittest.mock import patch

import pyarrow as pa
import pytest

from importers.sources.files import _codes
from importers.sources.files._codes import Codes

SCHEMA = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("s", pa.string())])
CODES = Codes(SCHEMA)


@pytest.mark.parametrize("code", ["01", "-01", "+1", " 01", "\t+1", "0x1", "-0X1"])
@pytest.mark.parametrize("beside", [[], ["1", None, "-10"], ["0", "", "-0"]])
def test_a_code_is_noticed_wherever_it_stands(code, beside):
    for texts in ([code, *beside], [*beside, code]):
        for text in (pa.array(texts, pa.string()), pa.array(["x", *texts, "y"], pa.string())[1:-1]):
            assert CODES.has("i", text)
            assert CODES.has("f", text)


@pytest.mark.parametrize("code", ["1E5", "22e7", "1234567890123456", "-1234567890123456"])
def test_a_number_whose_text_a_double_loses_is_a_code(code):
    assert CODES.has("f", pa.array(["0.5", code]))
    assert not CODES.has("i", pa.array(["5", code]))


@pytest.mark.parametrize("name", ["i", "f"])
@pytest.mark.parametrize("plain", [[], [None, ""], ["0", "-0", "10", "-10"], ["0", "9", "-0", "7"], ["-5", "1"]])
def test_what_is_plainly_no_code_is_found_without_a_pattern(name, plain):
    with patch.object(_codes, "pc", None):
        assert not CODES.has(name, pa.array(plain, pa.string()))


@pytest.mark.parametrize("plain", ["0.5", "-0.5", "1.5e-7", "999999999999999", "0.1234567890123456789", "NaN", "-0.0"])
def test_floats_are_no_codes(plain):
    assert not CODES.has("f", pa.array([plain]))


def test_columns_that_the_tenant_typed_are_not_looked_at():
    typed = Codes(pa.schema([]))
    assert typed.as_read(SCHEMA) == SCHEMA
    assert not typed.has("i", pa.array(["01"]))
    assert CODES.as_read(SCHEMA) == pa.schema([(name, pa.string()) for name in "ifs"])
