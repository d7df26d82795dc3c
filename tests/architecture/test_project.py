"""What holds for the project as a whole."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from importers.core.registry import sources
from importers.pipeline.lint import lint

ROOT = Path(__file__).parents[2]
TENANTS = ROOT / "include/tenants"
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
COUNTRIES = ["AT", "BR", "CA", "DE", "ES", "FR", "GB", "IN", "IT", "JP", "KE", "MX", "NL", "PL", "SE", "US"]


def tracked() -> list[Path]:
    """The files that git has, or would take; all of them in an unpacked archive."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    names = listed.stdout.splitlines()
    return [ROOT / name for name in names] if names else [path for path in ROOT.rglob("*") if ".venv" not in path.parts]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except (UnicodeDecodeError, OSError):
            continue  # data in another encoding, or deleted
    return found


def test_nothing_names_this_machine() -> None:
    here = {str(ROOT), str(Path.home())} - {"/"}
    assert not [str(path) for path, text in texts() if any(f"{place}/" in text for place in here)]


def test_no_registry_is_named_where_packages_are_listed() -> None:
    listing = re.compile(r"(requirements.*|.*\.(lock|toml|in|txt|cfg)|run|Makefile|.*\.sh)$")
    host = re.compile(
        r"https?://(?!github\.com/|keepachangelog\.com/|semver\.org/)[\w.-]+|--(extra-)?index-url|find-links"
    )
    assert [str(path) for path, text in texts() if listing.match(path.name) and host.search(text)] == []


def test_locks_are_hashed() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "scripts/uv.txt"):
        pinned = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
        assert len(pinned) > 0
        assert not [line.splitlines()[0] for line in pinned if "==" in line and "--hash=sha256:" not in line], name


@pytest.mark.parametrize("source", sorted(sources()))
def test_every_source_is_in_the_docs_and_in_the_contract_suite(source: str) -> None:
    assert (ROOT / "docs/reference/sources" / f"{source}.md").is_file()
    assert re.search(rf"\b{source}\b", (ROOT / "tests/contract/worlds.py").read_text(), re.IGNORECASE)


def test_the_example_tenants_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert {path.stem for path in TENANTS.glob("*.yaml")} >= {"classic_rock_fm", "synthetic_radio"}
    assert lint(TENANTS) == []


def test_every_example_runs_in_the_demo() -> None:
    demo = (ROOT / "scripts/demo.py").read_text()
    assert all(f'"{path.stem}.' in demo for path in TENANTS.glob("*.yaml"))


def test_the_synthetic_history_has_the_faults_that_it_says(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from bench.listening import write_history

    planted = write_history(tmp_path / "a.csv", 10_000, seed=7, faults=True)
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *lines = list(csv.reader(file))
    assert (len(header), len(lines)) == (11, 10_000)
    found = Counter(fault(dict(zip(header, line, strict=False)), len(line)) for line in lines)
    ids = Counter(line[0] for line in lines)
    found["repeated_event"] = sum(count for count in ids.values() if count > 1)
    del found[""]
    assert found == planted
    assert min(planted.values()) > 0


def fault(row: dict[str, str], fields: int) -> str:
    if fields != 11:
        return "too_few_fields" if fields < 11 else "too_many_fields"
    milliseconds = int(row["ms_played"])
    wrong = {
        "no_track": not row["track_id"],
        "negative_play": milliseconds < 0,
        "endless_play": milliseconds > 86_400_000,
        "unknown_country": row["country"] not in COUNTRIES,
        "unreadable_time": not SECOND.fullmatch(row["played_at"]),
    }
    faults = [name for name, is_so in wrong.items() if is_so]
    assert len(faults) <= 1
    return faults[0] if faults else ""


def test_the_synthetic_history_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from bench.listening import write_history

    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_history(tmp_path / name, 2_000, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_sizes_are_told(record_property: pytest.RecordProperty) -> None:
    """Aims, not gates: modules over 300 lines are printed with -s and put into a report."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "plugins").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    record_property("modules over 300 lines", long)
    print(long)


def test_no_column_s_own_name_is_an_expression_of_polars() -> None:
    """Which takes it for a pattern if it looks like one."""
    told = re.compile(r"\bpl\.(?:col|exclude|nth)\((?!f?\"|spelt\()|struct\.field\((?!f?\"|spelt\()")
    assert [str(path) for path, text in texts() if path.parts[0] == "plugins" and told.search(text)] == []


def test_continuous_integration_calls_what_the_readme_says() -> None:
    readme, run = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    for command in ("make demo", "make test"):
        assert f"\n{command}\n" in readme
    assert [line for line in run.splitlines() if line.startswith("alone make")] == [
        "alone make check",
        'alone make test | tee "$home/test.log"',
        'alone make test-services | tee "$home/live.log"',
        "alone make demo",
    ]
    assert os.access(ROOT / ".ci/run", os.X_OK)
