"""Archives are made by the standard library, and zstd by polars; what is read back is what went in."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

import polars as pl
import pyarrow as pa
import pytest

from importers.core.model import LoadMode, Stream, Window
from importers.exceptions import ContractError
from importers.sources.files.csv import Csv, CsvConfig
from importers.sources.files.json import Json
from importers.sources.files.jsonl import Jsonl, JsonlConfig
from importers.sources.files.parquet import Parquet, ParquetConfig
from importers.transport import packed

ROWS = b"n,who\n" + b"".join(b"%d,someone %d\n" % (n, n * 7919) for n in range(4000))


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def zipped(method=zipfile.ZIP_DEFLATED, **members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.csv", data)
    return out.getvalue()


PACK = {
    "gz": gzip.compress,
    "zst": zstd,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: zipped(plays=data),
}


def read(path, kind=Csv, config=CsvConfig, **settings):
    of = kind(config(path=str(path), **settings), tenant="acme")
    found = of.streams()[0]
    stream = Stream(found.name, found.columns, found.reads, load_mode=LoadMode.APPEND)
    plan = of.plan(stream, Window(), {})
    batches = [batch for part in plan.partitions for batch in of.read(stream, part)]
    return [row for batch in batches for row in batch.rows.to_pylist()], plan


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(Csv, "whole_below", 1)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("says_so", [True, False])
def test_a_compressed_file_is_read_as_its_bytes_say_in_one_slice(tmp_path, suffix, says_so):
    path = tmp_path / (f"plays.csv.{suffix}" if says_so else "plays.csv")
    path.write_bytes(PACK[suffix](ROWS))
    rows, plan = read(path)
    assert rows == [{"n": n, "who": f"someone {n * 7919}"} for n in range(4000)]
    assert len(plan.partitions) == 1
    members = {"members": ["plays.csv"]} if suffix == "zip" else {}
    assert plan.position == {path.name: {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns, **members}}


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_one_that_is_cut_off_is_a_clear_error(tmp_path, suffix, cut):
    path = tmp_path / f"plays.csv.{suffix}"
    whole = PACK[suffix](ROWS)
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(ContractError, match="damaged or cut off"):
        read(path)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip"])
def test_a_flipped_bit_is_found(tmp_path, suffix):
    path = tmp_path / f"plays.csv.{suffix}"
    whole = bytearray(PACK[suffix](ROWS))
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ContractError, match="damaged or cut off"):
        read(path)


@pytest.mark.parametrize(("at", "byte"), [(6, 99), (8, 0x20)])  # version needed, and the flag of patches: APPNOTE 4.4
def test_a_zip_that_the_standard_library_does_not_know(tmp_path, at, byte):
    data = bytearray(zipped(a=b"n\n1\n"))
    data[data.rindex(b"PK\x01\x02") + at] = byte
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ContractError, match="a way that isn't read"):
        read(tmp_path / "a.zip")


def test_several_members_of_a_stream_are_all_read(tmp_path):
    (tmp_path / "plays.csv.gz").write_bytes(gzip.compress(b"n\n1\n") + gzip.compress(b"2\n"))
    assert read(tmp_path / "plays.csv.gz")[0] == [{"n": 1}, {"n": 2}]


def test_streams_of_xz_follow_each_other_and_none_takes_all_memory(tmp_path, monkeypatch):
    path = tmp_path / "plays.csv.xz"
    path.write_bytes(lzma.compress(b"n\n1\n") + bytes(8) + lzma.compress(b"2\n", preset=9) + bytes(4))
    assert read(path)[0] == [{"n": 1}, {"n": 2}]
    monkeypatch.setattr(packed, "DICTIONARY", 32 << 20)
    with pytest.raises(ContractError, match="needs more than 32 MiB of memory"):
        read(path)
    path.write_bytes(lzma.compress(b"n\n1\n") + b"more")
    with pytest.raises(ContractError, match="damaged"):
        read(path)


STREAMED = [suffix for suffix in PACK if suffix != "zip"]
PADDED = ["gz", "bz2", "xz"]


@pytest.mark.parametrize("suffix", STREAMED)
def test_streams_follow_each_other(tmp_path, suffix):
    """As parallel compressors write them, pbzip2 one for each 900 kB."""
    path = tmp_path / f"plays.csv.{suffix}"
    pieces = [b"", *(ROWS[at : at + 700] for at in range(0, len(ROWS), 700)), b""]
    path.write_bytes(b"".join(map(PACK[suffix], pieces)))
    assert read(path)[0] == [{"n": n, "who": f"someone {n * 7919}"} for n in range(4000)]


@pytest.mark.parametrize("suffix", STREAMED)
def test_a_delimiter_is_seen_behind_a_small_stream(tmp_path, suffix):
    path = tmp_path / f"plays.csv.{suffix}"
    path.write_bytes(PACK[suffix](b"n") + PACK[suffix](b";who\n1;x\n"))
    assert read(path)[0] == [{"n": 1, "who": "x"}]


@pytest.mark.parametrize("suffix", STREAMED)
def test_what_follows_a_stream_and_is_none_ends_no_file_in_silence(tmp_path, suffix):
    path, pack = tmp_path / f"plays.csv.{suffix}", PACK[suffix]
    first, second = pack(b"n\n1\n"), pack(b"2\n")
    flipped = bytes([second[0] ^ 1]) + second[1:]
    for rest in (b"gg", b"gg" + second, flipped, second[:1], second[:3], bytes(512) + b"gg", b"\n2\n"):
        path.write_bytes(first + rest)
        with pytest.raises(ContractError, match="damaged or cut off"):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "padding"),
    [
        *((suffix, bytes(zeros)) for suffix in PADDED for zeros in (4, 512, packed.FED + 4)),
        *((suffix, padding) for suffix in ("bz2", "xz") for padding in (b"\n", b"\r\n", b"\x1a")),
    ],
)
def test_zeros_and_ends_of_lines_behind_a_stream_are_padding(tmp_path, suffix, padding):
    path, pack = tmp_path / f"plays.csv.{suffix}", PACK[suffix]
    path.write_bytes(pack(b"n\n1\n") + padding + pack(b"2\n") + padding)
    assert read(path)[0] == [{"n": 1}, {"n": 2}]


def test_a_zip_is_read_member_by_member_each_a_slice_of_its_own(tmp_path):
    data = zipped(b=b"n\n2\n", a=b"n\n1\n", empty=b"")
    (tmp_path / "plays.zip").write_bytes(data)
    rows, plan = read(tmp_path / "plays.zip")
    assert rows == [{"n": 1}, {"n": 2}]
    assert len(plan.partitions) == 2
    assert list(plan.position) == ["plays.zip"]


BESIDE = {"readme.txt": b"Plays of May.\nAsk us.\n", "2026/a.csv": b"n\n1\n", "b.csv": b"n\n2\n"}


def named(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("members", "numbers"),
    [("*.csv", [1, 2]), (["2026/*"], [1]), (["b.csv", "2026/a.*"], [1, 2]), ("[ab].csv", [2])],
)
def test_of_an_archive_only_the_members_that_are_meant_are_read(tmp_path, members, numbers):
    rows, _ = read(named(tmp_path / "x.zip", BESIDE), members=members)
    assert [row["n"] for row in rows] == numbers


@pytest.mark.parametrize(
    ("members", "numbers"),
    [
        ("*.csv", [1, 2, 3]),  # what Windows wrote in capitals isn't left out in silence
        ("*.CSV", [1, 2, 3]),
        ("[C-D]*", [2, 3]),
        ("data[1].csv", [2]),
        (["data[1].csv", "a*"], [1, 2]),
        ("A.CSV", [1]),
        ("a.csv", [1]),
        ("data[[]1].csv", [2]),
        ("[d]ata1.csv", [3]),
    ],
)
def test_a_pattern_of_members_ignores_case_and_a_name_is_itself(tmp_path, members, numbers):
    path = named(tmp_path / "x.zip", {"A.CSV": b"n\n1\n", "data[1].csv": b"n\n2\n", "data1.csv": b"n\n3\n"})
    assert sorted(row["n"] for row in read(path, members=members)[0]) == numbers


def test_of_two_members_that_differ_in_case_a_name_is_one(tmp_path):
    path = named(tmp_path / "x.zip", {"a.csv": b"n\n1\n", "A.CSV": b"n\n2\n"})
    assert read(path, members="A.CSV")[0] == [{"n": 2}]
    assert len(read(path, members="a.*")[0]) == 2


@pytest.mark.parametrize("called", ["READ.me", "bb", "readme.txt"])
def test_what_a_member_is_not_names_the_setting(tmp_path, called):
    data = ("b.csv", "c.csv") if called == "bb" else ("b.csv",)
    beside = {called: BESIDE["readme.txt"], **dict.fromkeys(data, BESIDE["b.csv"])}
    with pytest.raises(ContractError, match=r"say by `members` which are, such as '\*\.csv'"):
        read(named(tmp_path / "x.zip", beside))
    (tmp_path / "readme.csv").write_bytes(BESIDE["readme.txt"])
    (tmp_path / "b.csv").write_bytes(BESIDE["b.csv"])
    with pytest.raises(ContractError) as plain:
        read(tmp_path / "*.csv")
    assert "members" not in str(plain.value)


def test_what_stands_in_the_midst_of_an_archive_names_the_setting_too(tmp_path):
    documents = {"a.json": b'[{"n": 1}]', "b.txt": b"Plays", "c.json": b'[{"n": 2}]'}
    path = named(tmp_path / "x.zip", documents)
    with pytest.raises(ContractError, match="`members`"):
        read(path, Json, Json.config_model)
    assert [row["n"] for row in read(path, Json, Json.config_model, members="*.json")[0]] == [1, 2]


def test_an_archive_without_what_is_meant_is_an_error(tmp_path):
    """Else the rows of one whose members are called otherwise, by a new writer, would be missed in silence."""
    named(tmp_path / "a.zip", {"a.csv": b"n\n1\n"})
    named(tmp_path / "b.zip", {"a.CSV.txt": b"n\n1\n"})
    with pytest.raises(ContractError, match=r"b\.zip' has no member that `members` names; got 'a\.CSV\.txt'"):
        read(tmp_path / "*.zip", members="*.csv")
    named(tmp_path / "b.zip", {})
    assert read(tmp_path / "*.zip", members="*.csv")[0] == [{"n": 1}]


def test_what_is_not_meant_need_not_be_readable(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.csv", b"n\n1\n")
        archive.writestr("film.mp4", b"0" * 100, zipfile.ZIP_BZIP2)
    assert read(tmp_path / "x.zip", members="*.csv")[0] == [{"n": 1}]


def test_an_archive_without_members_and_one_with_a_password(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped())
    with pytest.raises(ContractError, match="has no files"):
        read(tmp_path / "a.zip")
    locked = bytearray(zipped(a=b"n\n1\n"))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption, APPNOTE 4.4.4
        locked[locked.index(sign) + at] |= 1
    (tmp_path / "a.zip").write_bytes(locked)
    with pytest.raises(ContractError, match="password"):
        read(tmp_path / "a.zip")


def test_what_is_only_called_compressed(tmp_path):
    (tmp_path / "plays.csv.gz").write_bytes(b"n\n1\n")
    with pytest.raises(ContractError, match="isn't compressed with gzip"):
        read(tmp_path / "plays.csv.gz")
    assert read(tmp_path / "plays.csv.gz", compression="none")[0] == [{"n": 1}]
    with pytest.raises(ContractError, match="isn't compressed with xz"):
        read(tmp_path / "plays.csv.gz", compression="xz")


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_is_stopped(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(packed, "GRACE", 1 << 20)
    (tmp_path / f"x.csv.{suffix}").write_bytes(PACK[suffix](b"n\n" + b"0\n" * (2 << 20)))
    with pytest.raises(ContractError, match="unpacks to more than") as stopped:
        read(tmp_path / f"x.csv.{suffix}", max_ratio=2)
    assert "max_ratio" in str(stopped.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_would_unpack_without_a_limit_is_not_begun(tmp_path, monkeypatch, method):
    data = zipped(method, a=b"n\n1\n")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(ContractError, match="compressed with deflate"):
        read(tmp_path / "x.zip")
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("opened"))
    with (
        pytest.raises(ContractError, match="compressed with deflate"),
        packed.unpacked(io.BytesIO(data), packed.Codec.ZIP, "x.zip", size=len(data), ratio=250, member="a.csv"),
    ):
        pass


def test_members_are_read_whether_they_are_stored_or_deflated(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        (tmp_path / "x.zip").write_bytes(zipped(method, a=ROWS))
        assert len(read(tmp_path / "x.zip")[0]) == 4000


def test_a_bomb_of_many_members_is_stopped_by_what_they_hold_together(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "GRACE", 64 << 10)
    member = b"n\n" + b"0\n" * (10 << 10)
    (tmp_path / "x.zip").write_bytes(zipped(**{f"m{n}": member for n in range(8)}))
    assert len(read(tmp_path / "x.zip", max_ratio=1000)[0]) == 8 * (10 << 10)
    with pytest.raises(ContractError, match="unpacks to more than 65,536 bytes"):
        read(tmp_path / "x.zip", max_ratio=2)
    monkeypatch.setattr(packed, "MEMBERS", 7)
    with pytest.raises(ContractError, match="more than 7 members"):
        read(tmp_path / "x.zip", max_ratio=1000)


def test_a_member_that_holds_more_than_its_header_says_is_damaged(tmp_path):
    """The size in the central directory, APPNOTE 4.3.12, is what the bound of an archive is reckoned from."""
    lying = bytearray(zipped(a=ROWS))
    at = lying.index(b"PK\x01\x02") + 24
    lying[at : at + 4] = (100).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(lying)
    with pytest.raises(ContractError, match="damaged or cut off"):
        read(tmp_path / "x.zip")


def lying(data, **says):
    """What the directory says of the archive's first member: the sum and the sizes, APPNOTE 4.3.12."""
    data = bytearray(data)
    for name, value in says.items():
        at = data.index(b"PK\x01\x02") + {"crc": 16, "packed": 20, "size": 24}[name]
        data[at : at + 4] = value.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_whose_sizes_disagree_is_damaged(tmp_path, method):
    half = ROWS.index(b"\n", len(ROWS) // 2) + 1
    whole = zipped(method, a=ROWS, b=ROWS)
    for says in (
        {"size": 0},  # was left out in silence
        {"size": half, "crc": zlib.crc32(ROWS[:half])},
        {"size": len(ROWS) + 1},
    ):
        (tmp_path / "x.zip").write_bytes(lying(whole, **says))
        with pytest.raises(ContractError, match="damaged or cut off"):
            read(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(whole)
    assert len(read(tmp_path / "x.zip")[0]) == 8000


@pytest.mark.parametrize("comment", [b"", b"of May"])
def test_what_stands_before_or_behind_an_archive_is_not_left_out_in_silence(tmp_path, comment):
    def archive(number):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            made.comment = comment
            made.writestr("a.csv", b"n\n%d\n" % number)
        return out.getvalue()

    path = tmp_path / "x.zip"
    first, second = archive(1), archive(2)
    for data, told in (
        (first + second, f"{len(first)} bytes before"),
        (first + zipped(), f"{len(first)} bytes before"),
        (first + second[:-30], f"{len(second) - 30} bytes behind"),
        (first + b"x", "1 bytes behind"),
    ):
        path.write_bytes(data)
        with pytest.raises(ContractError, match=rf"x\.zip' holds more than one archive, or is damaged; got {told}"):
            read(path)
    for data in (first, first + bytes(512), first + b"\r\n"):
        path.write_bytes(data)
        assert read(path)[0] == [{"n": 1}]


def test_an_archive_of_which_a_member_is_gone_from_its_directory(tmp_path):
    """As `zip -A` leaves two archives in one file: offsets are counted from the file's begin."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.csv", b"n\n1\n")
        archive.writestr("b.csv", b"n\n2\n")
        archive.filelist = archive.filelist[1:]
    with pytest.raises(ContractError, match=r"got \d\d bytes before what its directory lists"):
        read(tmp_path / "x.zip")


def test_a_format_that_is_read_at_random_is_unpacked_in_memory_up_to_a_limit(tmp_path, monkeypatch):
    path = tmp_path / "plays.parquet.gz"
    out = io.BytesIO()
    pl.DataFrame({"n": [1, 2, 3]}).write_parquet(out)
    path.write_bytes(gzip.compress(out.getvalue()))
    assert read(path, Parquet, ParquetConfig)[0] == [{"n": 1}, {"n": 2}, {"n": 3}]
    monkeypatch.setattr(packed, "HELD", 10)
    with pytest.raises(ContractError, match="read at random"):
        read(path, Parquet, ParquetConfig)


def test_lines_too(tmp_path):
    (tmp_path / "plays.jsonl.zst").write_bytes(zstd(b'{"n": 1}\n' * 5000))
    assert len(read(tmp_path / "plays.jsonl.zst", Jsonl, JsonlConfig)[0]) == 5000
