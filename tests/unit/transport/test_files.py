import os

import pytest

from importers.exceptions import FatalSourceError, TransientSourceError
from importers.transport import files, text
from importers.transport.files import File, Files


def test_what_an_os_error_means_for_its_reader(tmp_path):
    with pytest.raises(FatalSourceError, match="is gone"):
        files.look(str(tmp_path / "nothing"))
    with pytest.raises(FatalSourceError, match="may not be read"), files.reaching("x"):
        raise PermissionError
    with pytest.raises(TransientSourceError, match="can't be read now") as caught, files.reaching("x"):
        raise OSError(5, "row 17: secret")
    assert "secret" not in str(caught.value)


def test_a_message_says_when_a_file_changed_as_people_write_it():
    at = 1795906999 * 10**9 + 952_086_448  # date -u -d @1795906999
    assert File("a.csv", 12_324, at).state == "12,324 bytes, changed at 2026-11-28T23:03:19.952086Z"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "x"
    path.touch(0o000)
    with pytest.raises(FatalSourceError, match="may not be read"), Files().opened(files.look(str(path))):
        pass


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_other_encodings_arrive_as_utf8_at_the_offset_asked_for(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text.FrontToBack, "chunk", chunk)
    said = "Björk – \U0001f3b5 über alles\n" * 3
    (tmp_path / "x").write_bytes(said.encode("utf-16"))
    got, view = b"", bytearray(7)
    with Files().as_utf8(files.look(str(tmp_path / "x")), "utf-16") as fill:
        while count := fill(memoryview(view), len(got)):
            got += view[:count]
    assert got.decode() == said
    with Files().as_utf8(files.look(str(tmp_path / "x")), "utf-16") as fill:
        assert fill(memoryview(view), 10) == 7
        assert view == said.encode()[10:17]


def test_a_file_is_itself_until_it_changes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"1")
    (file,) = Files().find([str(path), str(tmp_path / "*")])
    Files().unchanged(file)
    assert file.identity == {"size": 1, "mtime_ns": path.stat().st_mtime_ns}


@pytest.mark.parametrize(
    ("pattern", "directory"),
    [
        ("/data/plays.csv", "/data"),
        ("/data/*.csv", "/data"),
        ("/data/**/*.csv", "/data"),
        ("/data/20??/plays.csv", "/data"),
        ("/data/2024/[ab]/*/x.csv", "/data/2024"),
        ("s3://plays/2024/[ab]/*/x.csv", "s3://plays/2024"),
        ("s3://plays/*.csv", "s3://plays"),
        ("s3://plays/2024/x.csv", "s3://plays/2024"),
    ],
)
def test_where_a_pattern_s_wildcards_begin(pattern, directory):
    assert files.fixed_directory(pattern) == directory


def test_a_directory_with_brackets_in_its_name_is_a_directory(tmp_path):
    (tmp_path / "jan [1]").mkdir()
    (tmp_path / "jan [1]" / "x.csv").touch()
    assert [file.lane for file in Files().find([str(tmp_path / "jan [1]" / "x.csv")])] == ["x.csv"]


def test_a_pattern_leaves_out_what_is_hidden_and_the_lock_of_an_open_workbook(tmp_path):
    for name in ("a.xlsx", "~$a.xlsx", ".b.xlsx", "~c.xlsx"):
        (tmp_path / name).touch()
    assert [file.lane for file in Files().find([str(tmp_path / "*.xlsx")])] == ["a.xlsx", "~c.xlsx"]
    assert [file.lane for file in Files().find([str(tmp_path / "~$a.xlsx")])] == ["~$a.xlsx"]
