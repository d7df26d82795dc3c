import pyarrow as pa
import pytest

from importers.sources.files._codes import PIECE, Codes
from importers.sources.files._records import Dialect

CODES = Codes(Dialect(), pa.schema([("i", pa.int64()), ("f", pa.float64()), ("s", pa.string())]))
ROWS = pa.RecordBatch.from_pydict({"i": [1], "f": [999_999_999_999_999.0], "s": ["x"]})


@pytest.mark.parametrize("code", [b"01", b"-01", b"+1", b" 01", b"0x1", b'"01"', b"1E5"])
@pytest.mark.parametrize("at", [0, 1, 2, 3, *range(PIECE - 6, PIECE + 4)])
def test_a_code_is_noticed_wherever_it_stands(code, at):
    before = (b"9" * (at - 1) + b"\n")[:at] if at else b""
    assert CODES.likely(ROWS, before + code + b"\n9\n")
    assert CODES.likely(ROWS, before + code + b"\n")


@pytest.mark.parametrize("plain", [b"\n1,-0.5,a01\n", b"0,0.5,e5\n", b"-1,-0,10\n", b',1.5,"x"\n', b"9,2.5e-3,1Ea\n"])
def test_what_is_no_code_costs_no_second_parse(plain):
    assert not CODES.likely(ROWS, plain)


def test_an_integer_that_a_double_may_not_hold_is_noticed_by_its_value():
    beyond = pa.RecordBatch.from_pydict({"i": [1], "f": [-1e15], "s": ["x"]})
    assert CODES.likely(beyond, b"1,-1000000000000000,x\n")


def test_columns_that_the_tenant_typed_are_not_looked_at():
    assert not Codes(Dialect(), pa.schema([])).likely(ROWS, b"01,+1,1E5\n")
    assert CODES.among("s", pa.array(["01"])) is None
    assert CODES.among("i", pa.array(["01", None, "10"])).to_pylist() == [True, False, False]
