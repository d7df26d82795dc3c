import pytest
from tests.support.mutants import FORMATS, hunt


@pytest.mark.parametrize("name", FORMATS)
def test_no_mutant_of_a_real_file_crashes_a_reader_or_loses_a_record(tmp_path, name):
    hunt(name, tmp_path, 30, seed=1)
