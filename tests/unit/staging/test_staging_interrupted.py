"""A crash, a full disk, a forbidden place: nothing half-written counts, and the error says what to do."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pytest

from importers.exceptions import ConfigError, StagingError
from importers.keys.keyring import RunKey
from importers.staging import Place, Staging
from importers.staging.store import LocalStore

SETUP = """
import os, sys
import numpy as np, pyarrow as pa
from importers.exceptions import StagingError
from importers.keys.keyring import RunKey
from importers.staging import RunPlace, Staging
staging, key = Staging(sys.argv[1]), RunKey(bytes(32))
place = RunPlace("acme", "listening", "plays", 7).partition(0)
batch = pa.record_batch({"n": np.arange(131_072)})
"""


Run: TypeAlias = Callable[[str, Path], subprocess.CompletedProcess[str]]


def started(python: str, code: str, root: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, python, "-c", SETUP + textwrap.dedent(code), str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture
def run(warm: Path) -> Run:
    return partial(started, str(warm / "warm-python"))


@pytest.mark.parametrize("moment", ["open", "first group", "settle", "publish", "renamed"])
def test_a_kill_at_any_moment_leaves_a_whole_attempt_or_none(run: Run, root: Path, place: Place, moment: str) -> None:
    code = f"""
        from importers.staging.store import LocalStore
        def die(*_): os.kill(os.getpid(), 9)
        class Dying(LocalStore):
            def settle(self, path):
                if {moment!r} == "settle": die()
                super().settle(path)
            def publish(self, temporary, path):
                if {moment!r} == "publish": die()
                super().publish(temporary, path)
                if {moment!r} == "renamed": die()
        staging.store.__class__ = Dying
        with staging.writer(place, key) as writer:
            writer.write(batch.slice(0, 10))
            if {moment!r} == "open": die()
            writer.write(batch)
            if {moment!r} == "first group": die()
            writer.finish()
    """
    killed = run(code, root)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path for path in root.rglob("*") if path.is_file()], "it died before it wrote anything"
    staging = Staging(str(root))
    found = staging.attempts(place, RunKey(bytes(32)))
    assert [staged.rows for staged in found] == ([131_082] if moment == "renamed" else [])
    assert sum(batch.num_rows for staged in found for batch in staging.read(staged, RunKey(bytes(32)))) == sum(
        staged.rows for staged in found
    )
    assert len(list(root.rglob("manifest"))) == len(found)


def test_an_error_takes_back_what_was_written(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    def interrupted() -> None:
        with staging.writer(place, key) as writer:
            writer.write(pa.record_batch({"n": range(200_000)}))
            writer.write(pa.record_batch({"n": ["wider"]}))
            assert list(root.rglob("part-*"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert staging.attempts(place, key) == []
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert not (root / place.path).exists() or not list((root / place.path).iterdir())


def test_a_writer_that_nobody_finished_counts_for_nothing(staging: Staging, place: Place, key: RunKey) -> None:
    with staging.writer(place, key) as writer:
        writer.write(pa.record_batch({"n": [1]}))
    assert staging.attempts(place, key) == []


def test_files_swept_under_a_writer_are_no_attempt(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    with staging.writer(place, key) as writer:
        writer.write(pa.record_batch({"n": [1]}))
        writer.write(pa.record_batch({"n": ["rolls"]}))
        next(root.rglob("part-00000.frames")).unlink()
        with pytest.raises(StagingError, match="deleted while"):
            writer.finish()
    assert staging.attempts(place, key) == []


def test_a_name_appears_only_with_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`put` writes beside, then renames: the final name is never open for writing."""
    store = Staging(str(tmp_path)).store
    store.put("a/manifest", b"old")
    seen = []
    publish = LocalStore.publish

    def watched(self: LocalStore, temporary: str, path: str) -> None:
        seen.append((store.get(path), store.get(temporary)))
        publish(self, temporary, path)

    monkeypatch.setattr(LocalStore, "publish", watched)
    store.put("a/manifest", b"new")
    assert seen == [(b"old", b"new")]
    assert store.get("a/manifest") == b"new"
    monkeypatch.setattr(LocalStore, "publish", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        store.put("a/manifest", b"newer")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["manifest"]


FILL = """
    try:
        with staging.writer(place, key) as writer:
            for _ in range(64):
                writer.write(batch)
            writer.finish()
        print("it fitted")
    except StagingError as error:
        print(error, error.__suppress_context__)
    print(staging.attempts(place, key), [names for _, _, names in os.walk(sys.argv[1]) if names])
"""


def check_full(ended: subprocess.CompletedProcess[str], code: str) -> None:
    assert ended.returncode == 0, ended.stderr
    message, after = ended.stdout.strip().splitlines()
    assert message.startswith("acme.listening/plays[0] run 7: staging in file://")
    assert f"the place is full; got {code}, " in message
    assert "bytes free. Free space or set IMPORTERS_STAGING" in message
    assert message.endswith("True")
    assert after == "[] []"
    assert ended.stderr == ""


def test_a_full_disk_is_said_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    """A disk of 4 MB in a mount namespace of its own; where none is allowed, a limit of file size stands in."""
    mount = tmp_path / "small"
    mount.mkdir()
    unshare = shutil.which("unshare")
    script = f'mount -t tmpfs -o size=4m none "{mount}" && exec "$@"'
    for flags in (["-m"], ["-rm"]):
        inside = [unshare or "unshare", *flags, "sh", "-c", script, "sh"]
        if unshare and subprocess.run([*inside, "true"], capture_output=True).returncode == 0:
            return check_full(started(sys.executable, FILL, mount / "staging", *inside), "ENOSPC")
    return check_full(run(LIMITED + FILL, mount / "staging"), "EFBIG")


LIMITED = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
"""


def test_a_file_size_limit_is_said_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    check_full(run(LIMITED + FILL, tmp_path / "staging"), "EFBIG")


@pytest.mark.parametrize("limit", [100, 1_000, 1_500, 2_000])
def test_a_disk_that_fills_at_the_footer_or_the_manifest(run: Run, tmp_path: Path, limit: int) -> None:
    batch = 'batch = pa.record_batch({"n": [1], **{f"c{i}": [None] for i in range(20)}})'
    code = LIMITED.replace("3_000_000", str(limit)) + f"    {batch}\n"
    check_full(run(code + FILL, tmp_path / "staging"), "EFBIG")


def test_a_root_that_is_a_file_is_said(tmp_path: Path, place: Place, key: RunKey) -> None:
    (tmp_path / "file").write_text("")
    writer = Staging(str(tmp_path / "file")).writer(place, key)
    with pytest.raises(StagingError, match=r"can't be reached; got (ENOTDIR|EEXIST)"):
        writer.write(pa.record_batch({"n": [1]}))


def test_a_forbidden_place_is_said(run: Run, tmp_path: Path) -> None:
    """As a user without rights: root may write everywhere."""
    root = tmp_path / "locked" / "staging"
    code = """
        os.chmod(os.path.dirname(sys.argv[1]), 0o500)
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            with staging.writer(place, key) as writer:
                writer.write(batch)
                writer.finish()
        except StagingError as error:
            print(error)
    """
    root.parent.mkdir()
    ended = run(code, root)
    assert "may not be used; got EACCES" in ended.stdout, ended.stderr
    assert "let this user write there" in ended.stdout.lower()


@pytest.mark.parametrize("root", ["", "nosuch://bucket/x", "s3://"])
def test_what_is_no_place_is_a_config_error(root: str) -> None:
    with pytest.raises(ConfigError):
        Staging(root)


def test_paths_with_spaces_and_uris_are_the_same_place(tmp_path: Path, place: Place, key: RunKey) -> None:
    directory = tmp_path / "a b ü"
    by_path, by_uri = Staging(str(directory)), Staging(directory.as_uri())
    with by_path.writer(place, key) as writer:
        writer.write(pa.record_batch({"n": [1]}))
        staged = writer.finish()
    assert by_uri.attempts(place, key) == [staged]
    assert [b.num_rows for b in by_uri.read(staged, key)] == [1]
    assert by_path.local
