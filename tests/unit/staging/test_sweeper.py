"""The sweeper ends what no run needs, and touches nothing else."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from importers.core.model import Staged
from importers.keys.keyring import RunKey, TenantKeys
from importers.staging import Quarantine, RunPlace, Staging, SweepReport, sweep, sweep_quarantine

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIVE, DEAD = RunPlace("acme", "listening", "plays", 1), RunPlace("acme", "listening", "plays", 2)
ATTEMPT = "ab" * 16


def stage(staging: Staging, run: RunPlace, key: RunKey, age: timedelta = timedelta()) -> Staged:
    with staging.writer(run.partition(0), key) as writer:
        writer.write(pa.record_batch({"n": [1]}))
        staged = writer.finish()
    set_age(Path(staged.uri.removeprefix("file://")), age)
    return staged


def set_age(directory: Path, age: timedelta) -> None:
    then = (NOW - age).timestamp()
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (then, then), follow_symlinks=False)


def half_written(root: Path, run: RunPlace, age: timedelta, attempt: str = "cd" * 16) -> Path:
    directory = root / run.partition(0).attempt(attempt)
    directory.mkdir(parents=True)
    (directory / "part-00000.frames").write_bytes(b"frame")
    (directory / f".manifest.{'0' * 16}.tmp").write_bytes(b"")
    set_age(directory, age)
    return directory


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def swept(staging: Staging, live: set[RunPlace], ttl: timedelta = 24 * HOUR) -> SweepReport:
    return sweep(staging, live.__contains__, lambda _: ttl, NOW)


def test_a_run_that_is_over_goes_and_a_live_one_stays(staging: Staging, key: RunKey, root: Path) -> None:
    kept, gone = stage(staging, LIVE, key), stage(staging, DEAD, key)
    size = sum(path.stat().st_size for path in (root / DEAD.path).rglob("*") if path.is_file())
    report = swept(staging, {LIVE})
    assert (report.deleted, report.bytes, report.kept, report.failed) == (2, size, 2, [])
    assert staging.attempts(LIVE.partition(0), key) == [kept]
    assert staging.attempts(DEAD.partition(0), key) == []
    assert not (root / DEAD.path).exists()
    assert gone.rows == 1


def test_a_live_run_goes_when_it_was_silent_for_its_ttl(staging: Staging, key: RunKey, root: Path) -> None:
    stage(staging, LIVE, key, age=25 * HOUR)
    stage(staging, DEAD, key, age=23 * HOUR)
    assert swept(staging, {LIVE, DEAD}).deleted == 2
    assert not (root / LIVE.path).exists()
    assert (root / DEAD.path).exists()
    recent = stage(staging, LIVE, key, age=1 * HOUR)
    old = stage(staging, LIVE, key, age=25 * HOUR)
    swept(staging, {LIVE, DEAD})
    assert {s.attempt for s in staging.attempts(LIVE.partition(0), key)} == {recent.attempt, old.attempt}


def test_each_run_has_its_own_ttl(staging: Staging, key: RunKey, root: Path) -> None:
    for run in (LIVE, DEAD):
        stage(staging, run, key, age=2 * HOUR)
    sweep(staging, lambda _: True, lambda run: HOUR if run == DEAD else 3 * HOUR, NOW)
    assert ((root / LIVE.path).exists(), (root / DEAD.path).exists()) == (True, False)


def test_a_half_written_attempt_goes_after_its_time(staging: Staging, key: RunKey, root: Path) -> None:
    whole = stage(staging, LIVE, key, age=20 * HOUR)
    old = half_written(root, LIVE, 7 * HOUR)
    young = half_written(root, LIVE, 5 * HOUR, "ef" * 16)
    report = swept(staging, {LIVE})
    assert (report.deleted, report.kept) == (2, 4)
    assert (old.exists(), young.exists()) == (False, True)
    assert staging.attempts(LIVE.partition(0), key) == [whole]
    assert swept(staging, set()).deleted == 4
    assert files(root) == set()


def test_what_isnt_ours_stays(staging: Staging, key: RunKey, root: Path) -> None:
    stage(staging, DEAD, key)
    strangers = ["notes.txt", "acme/notes", "acme/listening/plays/2/readme", "Acme/a/b/1/0/x", "lost+found/a/b/1/0/c/d",
                 f"acme/listening/plays/02/0/{ATTEMPT}/manifest", f"acme/listening/plays/2/0/{ATTEMPT[1:]}/manifest",
                 f"acme/listening/plays/2/0/{ATTEMPT}/deeper/manifest"]  # fmt: skip
    for stranger in strangers:
        (root / stranger).parent.mkdir(parents=True, exist_ok=True)
        (root / stranger).write_text("mine")
    report = swept(staging, set())
    assert files(root) == set(strangers)
    assert (report.deleted, report.kept) == (2, len(strangers))


def test_a_symlink_is_never_followed(staging: Staging, key: RunKey, root: Path, tmp_path: Path) -> None:
    staged = stage(staging, DEAD, key)
    outside = tmp_path / "outside"
    victim = outside / "2" / "0" / ATTEMPT / "manifest"
    victim.parent.mkdir(parents=True)
    victim.write_text("precious")
    attempt = root / DEAD.partition(0).attempt(staged.attempt)
    (attempt / "part-00009.frames").symlink_to(victim)
    (attempt.parent / ATTEMPT).symlink_to(victim.parent)
    (root / "acme" / "listening" / "linked").symlink_to(outside)
    linked = RunPlace("acme", "listening", "linked", 2)
    swept(staging, set())
    assert staging.delete_run(linked) == 0
    staging.store.remove(f"{linked.path}/0/{ATTEMPT}/manifest")
    staging.store.prune(linked.path)
    assert victim.read_text() == "precious"
    assert not (attempt / "part-00009.frames").is_symlink()


def test_old_empty_directories_go(staging: Staging, key: RunKey, root: Path) -> None:
    stage(staging, LIVE, key)
    for name, age in (("old", 7 * HOUR), ("young", HOUR)):
        (root / "acme" / name / "plays").mkdir(parents=True)
        set_age(root / "acme" / name, age)
    swept(staging, {LIVE})
    assert sorted(path.name for path in (root / "acme").iterdir()) == ["listening", "young"]
    assert root.exists()


def test_sweepers_may_meet(staging: Staging, key: RunKey, root: Path) -> None:
    for number in range(20):
        stage(staging, RunPlace("acme", "listening", "plays", number), key)
    reports: list[SweepReport] = []
    start = threading.Barrier(4)

    def one() -> None:
        start.wait()
        reports.append(swept(Staging(str(root)), set()))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 4
    assert all(not report.failed for report in reports)
    assert files(root) == set()


def test_a_question_that_cant_be_answered_deletes_nothing(staging: Staging, key: RunKey, root: Path) -> None:
    stage(staging, DEAD, key)
    before = files(root)

    def unknown(_: RunPlace) -> bool:
        raise ConnectionError("the warehouse is down")

    with pytest.raises(ConnectionError):
        sweep(staging, unknown, lambda _: HOUR, NOW)
    assert files(root) == before


def test_a_run_that_cant_be_deleted_doesnt_stop_the_sweep(
    staging: Staging, key: RunKey, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RunPlace("other", "listening", "plays", 1)
    for run in (DEAD, other):
        stage(staging, run, key)
    remove = type(staging.store).remove

    def stubborn(self: object, path: str) -> None:
        if path.startswith("acme/"):
            raise PermissionError(13, "Permission denied")
        remove(self, path)

    monkeypatch.setattr(type(staging.store), "remove", stubborn)
    report = swept(staging, set())
    assert (report.failed, report.deleted) == ([DEAD], 2)
    assert not (root / other.path).exists()


def test_an_empty_place_is_fine(staging: Staging) -> None:
    assert swept(staging, set()) == SweepReport()


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(str(tmp_path / "quarantine"))


def put_away(quarantine: Quarantine, run: RunPlace, keys: TenantKeys) -> str:
    with quarantine.writer(run.partition(0), ATTEMPT, pa.schema([("n", pa.int64())]), keys.quarantine()) as writer:
        writer.rows(
            pa.record_batch({"n": [1]}),
            rules=pa.array([["rule"]], pa.list_(pa.string())),
            rows=pa.array([0], pa.int64()),
        )
        written = writer.finish()
    assert written
    return written.uri


def test_quarantine_stays_for_its_retention_and_no_longer(
    quarantine: Quarantine, keys: TenantKeys, tmp_path: Path
) -> None:
    young, old = put_away(quarantine, LIVE, keys), put_away(quarantine, DEAD, keys)
    asked = []

    def is_kept(run: RunPlace, uri: str) -> bool:
        asked.append((run, uri))
        assert quarantine.has(uri)  # it is told that it goes before it does
        return uri == young

    report = sweep_quarantine(quarantine, is_kept, lambda _: False, NOW)
    assert (report.deleted, report.kept) == (1, 1)
    assert sorted(asked) == [(LIVE, young), (DEAD, old)]
    assert quarantine.read(young, keys.quarantine()).num_rows == 1
    assert not (tmp_path / "quarantine" / DEAD.path).exists()


def test_quarantine_without_a_row_goes_once_its_run_is_over(
    quarantine: Quarantine, keys: TenantKeys, tmp_path: Path
) -> None:
    for run in (LIVE, DEAD):
        put_away(quarantine, run, keys)
    for run, age in ((LIVE, 5 * HOUR), (RunPlace("acme", "listening", "plays", 3), 7 * HOUR)):
        temporary = tmp_path / "quarantine" / run.path / f".0-{ATTEMPT}.parquet.{'0' * 16}.tmp"
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(b"frame")
        os.utime(temporary, ((NOW - age).timestamp(),) * 2)
    report = sweep_quarantine(quarantine, lambda *_: None, lambda run: run != DEAD, NOW)
    assert (report.deleted, report.kept) == (2, 2)
    assert files(tmp_path / "quarantine") == {
        f"{LIVE.path}/0-{ATTEMPT}.parquet",
        f"{LIVE.path}/.0-{ATTEMPT}.parquet.{'0' * 16}.tmp",
    }


def test_quarantine_whose_run_registers_it_and_ends_while_it_is_looked_for_stays(
    quarantine: Quarantine, keys: TenantKeys
) -> None:
    uri, over = put_away(quarantine, LIVE, keys), threading.Event()

    def is_kept(*_: object) -> None:
        over.set()  # the answer was on its way when the run committed

    report = sweep_quarantine(quarantine, is_kept, lambda _: not over.is_set(), NOW)
    assert (report.deleted, report.kept) == (0, 1)
    assert quarantine.read(uri, keys.quarantine()).num_rows == 1
