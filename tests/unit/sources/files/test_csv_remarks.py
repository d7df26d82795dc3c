"""Lines of a CSV file that are no data: comments anywhere, and a footer."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.sources.files.test_csv import Small, everything, source

from importers.core.model import Window
from importers.core.places import located
from importers.exceptions import ContractError
from importers.sources.files.csv import Csv, CsvConfig

cells = st.text(st.sampled_from('ab#,"\n\r '), max_size=8)
remarks = st.text(st.sampled_from('ab#,"'), max_size=60).map(lambda text: f"#{text}")
lines = st.lists(st.tuples(cells, cells) | remarks | st.just(""), max_size=12)


def written(line: Any) -> str:
    if isinstance(line, str):
        return line
    plain = [cell for cell in line if cell and not set(cell) & set('#,"\r\n')]
    return ",".join(cell if cell in plain else '"{}"'.format(cell.replace('"', '""')) for cell in line)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=lines,
    before=st.lists(remarks | st.just(""), max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_comments_are_left_out_and_nothing_else(
    tmp_path: Path, body: list[Any], before: list[str], end: str, last: bool
) -> None:
    parts = [*before, ("first", "second"), *body]
    text = end.join(map(written, parts)) + end * last
    (tmp_path / "x.csv").write_bytes(text.encode())
    types = {"first": "string", "second": "string"}
    of = Small(CsvConfig(path=str(tmp_path / "x.csv"), comment="#", delimiter=",", types=types), tenant="acme")
    (stream,) = of.streams()
    found, at = [], 1
    expected = []
    for part in parts:
        if isinstance(part, tuple):
            expected.append((part, at))
        at += written(part).count("\n") + 1
    for partition in of.plan(stream, Window(), {}).partitions:
        for batch in of.read(stream, partition):
            assert not batch.rejects
            places = located(batch.places, np.arange(batch.rows.num_rows)).to_pylist()
            numbers = [int(place.rpartition(":line ")[2]) for place in places]
            found += list(zip([tuple(row.values()) for row in batch.rows.to_pylist()], numbers, strict=True))
    assert found == expected[1:]


def read(tmp_path: Path, data: bytes, kind: type[Csv] = Csv, name: str = "x.csv", **said: Any) -> list[Any]:
    (tmp_path / name).write_bytes(data)
    rows, rejects, _ = everything(source(tmp_path / name, kind, **said))
    assert not rejects
    return rows


def test_comments_before_the_header_between_rows_and_at_the_end(tmp_path: Path) -> None:
    data = b'# it\'s 5" long\n#;;;;\nid;name\n1;a\n# 7" single\n2;"#b"\n3;c # d\n#'
    expected = [(1, "a"), (2, "#b"), (3, "c # d")]
    assert read(tmp_path, data, comment="#") == expected
    assert read(tmp_path, data, Small, comment="#") == expected
    assert read(tmp_path, b"\xef\xbb\xbf" + data, Small, comment="#") == expected
    assert read(tmp_path, data.replace(b"\n", b"\r"), Small, comment="#") == expected
    assert read(tmp_path, data.decode().encode("utf-16"), Small, comment="#") == expected
    assert read(tmp_path, gzip.compress(data), Small, "x.csv.gz", comment="#") == expected
    assert read(tmp_path, b"skipped\n" + data, comment="#", skip_lines=1) == expected


@pytest.mark.parametrize("remark", [b'x,"', b"x,y"])
def test_a_comment_longer_than_a_block(tmp_path: Path, remark: bytes) -> None:
    data = b"id,name\n1,a\n#" + remark * 50 + b"\n2,b\n"
    assert read(tmp_path, data, Small, comment="#") == [(1, "a"), (2, "b")]


def test_a_bad_record_among_comments_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'id,name\n#"\n1,a\n# more\n2,b,c\n3,d\n')
    rows, (reject,), _ = everything(source(tmp_path / "x.csv", Small, comment="#"))
    assert rows == [(1, "a"), (3, "d")]
    assert (reject.raw, reject.location) == (b"2,b,c", f"{tmp_path / 'x.csv'}:line 5")


def test_without_the_setting_a_number_sign_is_data(tmp_path: Path) -> None:
    assert read(tmp_path, b"tag,n\n#a,1\n") == [("#a", 1)]


def test_only_comments_are_as_good_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"# a\n# b\n")
    with pytest.raises(ContractError, match="is empty"):
        source(tmp_path / "x.csv", comment="#").streams()


FOOTED = b'id;total\n1;5\n2;6\n3;7\n\nSum;18;eur\n2026-11-29 "\n\r\n'


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, lambda data: data.decode().encode("utf-16")])
def test_a_footer_is_no_data(tmp_path: Path, pack: Any) -> None:
    assert read(tmp_path, pack(FOOTED), Small, skip_footer=2) == [(1, 5), (2, 6), (3, 7)]
    assert read(tmp_path, pack(FOOTED.rstrip()), skip_footer=2) == [(1, 5), (2, 6), (3, 7)]


def test_a_footer_longer_than_is_looked_at_first(tmp_path: Path) -> None:
    body = b"".join(b"%d,x\n" % number for number in range(300_000))
    rows = read(tmp_path, b"id,name\n" + body + b"total,300000\n", skip_footer=1, types={"id": "integer"})
    assert rows == [(number, "x") for number in range(300_000)]


def test_each_piece_of_a_file_ends_before_its_footer(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(FOOTED)
    rows, rejects, plan = everything(source(tmp_path / "x.csv", Small, skip_footer=2, max_partitions=3))
    assert (sorted(rows), rejects) == ([(1, 5), (2, 6), (3, 7)], [])
    assert len(plan.partitions) > 1


def test_a_footer_must_be_there(tmp_path: Path) -> None:
    assert read(tmp_path, b"id\nend\n", skip_footer=1) == []
    assert read(tmp_path, b"end\n", skip_footer=1, header=False, column_names=["id"]) == []
    (tmp_path / "x.csv").write_bytes(b"id\n")
    with pytest.raises(ContractError, match="would be its header"):
        source(tmp_path / "x.csv", skip_footer=1).streams()
    with pytest.raises(ContractError, match="has no 2 lines for `skip_footer`"):
        source(tmp_path / "x.csv", skip_footer=2).streams()
    (tmp_path / "x.csv").write_bytes(b"id\n1\n" + b"x" * (1 << 20) + b"\n")
    with pytest.raises(ContractError, match="longer than 1 MiB"):
        source(tmp_path / "x.csv", skip_footer=1).streams()


@pytest.mark.parametrize(
    "wrong", [{"comment": '"'}, {"comment": ","}, {"comment": "//"}, {"comment": ""}, {"skip_footer": -1}]
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvConfig.model_validate({"path": "x.csv", "delimiter": ","} | wrong)
