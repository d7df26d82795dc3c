"""What lies on the disk says nothing without the key, and a changed byte never passes for data."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from importers.core.model import Reject, Staged
from importers.exceptions import ContractError, ImporterError, PrivacyError, StagingError
from importers.keys.keyring import Keyring, RunKey, TenantKeys
from importers.staging import Place, Quarantine, Staging, frames

CANARY = "canary-7f3a-Zoë"


def stage(staging: Staging, place: Place, key: RunKey, value: str = CANARY) -> Staged:
    with staging.writer(place, key) as writer:
        for column in (f"column {CANARY}", f"wider {CANARY}"):
            writer.write(pa.record_batch({column: [value], "nested": [{CANARY: [value]}]}))
        writer.reject([Reject(value.encode(), f"{CANARY}:1", f"bad {CANARY}")])
        staged = writer.finish({CANARY: CANARY})
    staging.put(staged, "verdict", CANARY.encode(), key)
    return staged


def everything(staging: Staging, staged: Staged, key: RunKey) -> None:
    list(staging.read(staged, key))
    list(staging.rejects(staged, key))
    staging.get(staged, "verdict", key)


def shapes(text: str) -> dict[str, bytes]:
    """The ways in which a text may lie in a file; base64 at each of its three alignments."""
    raw = text.encode()
    found = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    found |= {"utf-16": text.encode("utf-16-le"), "utf-16-be": text.encode("utf-16-be"), "reversed": raw[::-1]}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw)
        found[f"base64+{shift}"] = encoded[4 if shift else 0 : -4]
    return found


def everything_under(root: Path) -> bytes:
    return b"\n".join(
        os.fsencode(path) + (path.read_bytes() if path.is_file() else b"") for path in sorted(root.rglob("*"))
    )


def test_no_value_name_or_position_is_readable(
    staging: Staging, place: Place, key: RunKey, keys: TenantKeys, root: Path
) -> None:
    staged = stage(staging, place, key)
    quarantine = Quarantine(str(root / "quarantine"))
    with quarantine.writer(place, staged.attempt, pa.schema([(f"q {CANARY}", pa.string())]), keys.quarantine()) as bad:
        bad.rows(
            pa.record_batch({f"q {CANARY}": [CANARY]}),
            rules=pa.array([[f"expect({CANARY})"]]),
            rows=pa.array([0], pa.int64()),
        )
        assert bad.finish()
    written = everything_under(root)
    assert len([*root.rglob("*.frames"), *root.rglob("*.parquet")]) == 4
    assert [name for name, shape in shapes(CANARY).items() if shape in written] == []
    for word in (b"column", b"nested", b"verdict\0", b"ARROW:schema", b"_reason"):
        assert word not in written


def test_the_search_would_find_it() -> None:
    hay = {
        "plain": CANARY.encode(),
        "base64+1": base64.b64encode(b"1" + CANARY.encode() + b"2"),
        "base64+2": base64.b64encode(b"12" + CANARY.encode() + b"2"),
        "utf-16": f"x{CANARY}".encode("utf-16"),
    }
    for name, text in hay.items():
        assert shapes(CANARY)[name] in text


def test_every_changed_byte_is_noticed(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    with staging.writer(place, key) as writer:
        writer.write(pa.record_batch({"n": [1, 2], "t": ["x", None]}))
        writer.reject([Reject(b"raw", "a:1", "bad")])
        staged = writer.finish()
    staging.put(staged, "verdict", b"fine", key)

    everything(staging, staged, key)
    unnoticed = []
    for path in (path for path in root.rglob("*") if path.is_file()):
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
            try:
                everything(staging, staged, key)
            except (ContractError, PrivacyError):
                continue
            unnoticed.append((path.name, at))
        path.write_bytes(good)
    everything(staging, staged, key)
    assert unnoticed == []


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_a_file_cut_short_or_grown_is_noticed(
    staging: Staging, place: Place, key: RunKey, root: Path, length: int
) -> None:
    staged = stage(staging, place, key)
    part = next(root.rglob("part-00000.frames"))
    good = part.read_bytes()
    for bad in (good[:length], good + b"\0", b""):
        part.write_bytes(bad)
        with pytest.raises(ContractError, match=r"acme\.listening/plays\[0\] run 7.*changed or cut short"):
            list(staging.read(staged, key))
    part.unlink()
    with pytest.raises(StagingError, match="gone"):
        list(staging.read(staged, key))


def test_only_the_pinned_manifest_and_all_of_its_rows_are_read(
    staging: Staging, place: Place, key: RunKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage(staging, place, key)
    with pytest.raises(ContractError, match="manifest was changed"):
        list(staging.read(replace(staged, digest="0" * 64), key))
    monkeypatch.setattr(frames, "read", lambda *_, **__: iter(()))
    with pytest.raises(ContractError, match=r"part-00000\.frames was changed"):
        list(staging.read(staged, key))


def test_another_runs_or_tenants_key_opens_nothing(
    staging: Staging, place: Place, key: RunKey, keys: TenantKeys
) -> None:
    staged = stage(staging, place, key)
    others = {
        "another run's": keys.new_run_key()[0],
        "another tenant's": Keyring([bytes(range(32))]).tenant("other").new_run_key()[0],
        "the quarantine's": keys.quarantine(),
    }
    for other in others.values():
        for act in (
            lambda other=other: list(staging.read(staged, other)),
            lambda other=other: list(staging.rejects(staged, other)),
            lambda other=other: staging.attempts(place, other),
            lambda other=other: staging.get(staged, "verdict", other),
        ):
            with pytest.raises(PrivacyError, match=r"acme\.listening/plays\[0\] run 7"):
                act()


def test_files_dont_open_where_they_werent_written(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    """Two attempts with the same rows and key: whoever swaps their files, or renames one, is found out."""
    one, two = stage(staging, place, key), stage(staging, place, key)
    directories = [root / place.path / staged.attempt for staged in (one, two)]
    for name in ("part-00000.frames", "manifest", "verdict.sealed", "rejects.frames"):
        a, b = ((directory / name).read_bytes() for directory in directories)
        (directories[0] / name).write_bytes(b)
        (directories[1] / name).write_bytes(a)
        for staged in (one, two):
            with pytest.raises((ContractError, PrivacyError)):
                everything(staging, staged, key)
        if name == "manifest":
            with pytest.raises(PrivacyError):
                staging.attempts(place, key)
        (directories[0] / name).write_bytes(a)
        (directories[1] / name).write_bytes(b)
    (directories[0] / "manifest").rename(directories[0] / "verdict.sealed")
    with pytest.raises(PrivacyError):
        staging.get(one, "verdict", key)


def test_no_frame_can_be_moved_left_out_or_cut_off(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    """Without the manifest's checks."""
    with staging.writer(place, key) as writer:
        for number in range(3):
            writer.write(pa.record_batch({"n": pa.array([number] * 20_000)}))
        staged = writer.finish()
    path = f"{place.path}/{staged.attempt}/part-00000.frames"
    good = (root / path).read_bytes()
    start, found = 60, []
    while start < len(good):
        end = start + 4 + int.from_bytes(good[start : start + 4], "little")
        found.append(good[start:end])
        start = end
    assert len(found) == 4
    a, b, c, last = found
    for bad in ([a, c, b, last], [a, b, last], [a, a, b, c, last], [a, b, c], [a, b, c, last, last], [b, c, last], []):
        (root / path).write_bytes(b"".join([good[:60], *bad]))
        with staging.store.open_input(path) as source, pytest.raises(frames.Damaged):
            list(frames.read(source, key, path, prefetch=False))


def test_a_swapped_file_fails_by_its_key_alone(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    """Without the manifest's checks: the file's own key is sealed for its path."""
    staged = stage(staging, place, key)
    path = f"{place.path}/{staged.attempt}/part-00000.frames"
    with staging.store.open_input(path) as source:
        assert list(frames.read(source, key, path, prefetch=False))
        with pytest.raises(PrivacyError):
            list(frames.read(source, key, path.replace("00000", "00001"), prefetch=False))


def test_only_the_owner_may_look(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    before = os.umask(0)
    try:
        stage(staging, place, key)
    finally:
        os.umask(before)
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (root, *root.rglob("*"))}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_no_error_says_a_value(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    staged = stage(staging, place, key)
    part = next(root.rglob("part-00000.frames"))
    part.write_bytes(part.read_bytes()[::-1])
    with pytest.raises(ImporterError) as caught:
        list(staging.read(staged, key))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert CANARY not in repr(caught.value) + str(caught.value) + repr(staging)
