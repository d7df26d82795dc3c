"""What runs of generated DAGs did: `run_scenarios.py` ran them, by Airflow, into the embedded PostgreSQL."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

CANARY = "kanarienvogel"  # stands in every row of the data
PASSWORD = "zaunkoenig-7d"  # of the connection to the database that is read
CHAIN = ["plan", "extract", "validate", "gate", "anonymise", "load", "commit", "ended", "clean"]
LOADED = ["anonymise", "commit", "extract", "gate", "load", "plan", "validate"]


def states(found: dict[str, Any], *tasks: str) -> set[str]:
    return {state for name, state in found["tasks"].items() if name.partition("[")[0] in tasks}


def test_every_partition_is_loaded_once_though_the_warehouse_went_away(report: dict[str, Any]) -> None:
    first = report["first"]
    assert first["run"] == "success"
    assert set(first["tasks"].values()) == {"success"}
    assert {name for name in first["tasks"] if name.startswith("write.load")} == {f"write.load[{n}]" for n in range(3)}
    assert {name for name, tries in first["tries"].items() if tries != 1} == {"write.load[1]"}  # [2] was told to wait
    assert first["ids"] == list(range(300))
    assert first["mails_are_tokens"]
    assert first["steps"] == LOADED


def test_the_airflow_run_is_the_key(report: dict[str, Any]) -> None:
    (run,) = report["first"]["runs"]
    assert run["key"] == report["first"]["key"]
    assert (run["state"], run["kind"], run["generation"]) == ("committed", "incremental", 1)


def test_nothing_staged_outlives_success(report: dict[str, Any]) -> None:
    assert report["first"]["runs"][0]["forgotten"]
    assert report["first"]["staged"] == 0


def test_an_empty_run_commits(report: dict[str, Any]) -> None:
    empty = report["nothing new"]
    assert empty["run"] == "success"
    assert states(empty, "read.extract", "read.validate", "write.anonymise", "write.load") == {"skipped"}
    assert states(empty, "plan", "gate", "commit", "clean") == {"success"}
    assert [run["state"] for run in empty["runs"]] == ["committed", "committed"]
    assert empty["ids"] == list(range(300))


def test_a_failing_gate_loads_nothing_and_fails_the_run(report: dict[str, Any]) -> None:
    bad = report["bad"]
    assert bad["run"] == "failed"
    assert states(bad, "read.extract", "read.validate") == {"success"}
    assert states(bad, "gate") == {"failed"}
    assert states(bad, "write.anonymise", "write.load", "commit") == {"upstream_failed"}
    assert bad["ids"] == []
    assert bad["quarantined"] == 10  # every tenth of 100 rows lacks its title
    assert bad["tries"]["gate"] == 1  # what a person has to mend isn't tried again


def test_clean_runs_after_a_failure_and_keeps_what_is_staged(report: dict[str, Any]) -> None:
    bad = report["bad"]
    assert states(bad, "clean") == {"success"}  # only what failed is red
    assert bad["tries"]["clean"] == 1
    assert bad["staged"] > 0
    assert [(run["state"], run["forgotten"]) for run in bad["runs"]] == [("open", False)]


def test_a_repaired_run_goes_on_when_it_is_cleared(report: dict[str, Any]) -> None:
    repaired = report["repaired"]
    assert repaired["key"] == report["bad"]["key"]
    assert repaired["run"] == "success"
    assert repaired["ids"] == [n for n in range(100) if n % 10]
    assert [(run["state"], run["generation"]) for run in repaired["runs"]] == [("committed", 1)]
    assert repaired["quarantined"] == 10
    assert repaired["staged"] == 0


def test_a_committed_run_that_is_cleared_is_left_alone(report: dict[str, Any]) -> None:
    cleared = report["cleared"]
    assert cleared["run"] == "success"
    assert states(cleared, "write.load") == {"skipped"}
    assert cleared["ids"] == report["repaired"]["ids"]
    assert cleared["runs"] == report["repaired"]["runs"]


def test_what_is_not_committed_is_no_success_whatever_its_tasks_are_marked_as(report: dict[str, Any]) -> None:
    marked = report["not committed"]
    assert states(marked, "commit") == {"success"}  # by hand, without running
    assert states(marked, "clean") == {"failed"}
    assert marked["run"] == "failed"
    assert marked["runs"][0]["state"] == "open"


def test_a_plan_that_fails_fails_the_run(report: dict[str, Any], site: tuple[Path, dict[str, Any], str]) -> None:
    unplanned = report["unplanned"]
    assert unplanned["run"] == "failed"
    assert states(unplanned, "plan") == {"failed"}
    assert states(unplanned, "clean") == {"skipped"}  # it has nothing to clean, and isn't where to look
    assert [(run["state"], run["kind"]) for run in unplanned["runs"]] == [("failed", "incremental")]
    assert "plan has opened no run: there is nothing to clean" in site[2]
    assert "UnclassifiedError: unplanned.songs/songs: " in site[2]


def test_a_dry_run_is_a_success_that_leaves_nothing(
    report: dict[str, Any], site: tuple[Path, dict[str, Any], str]
) -> None:
    looked = report["looked at"]
    assert looked["run"] == "success"
    assert states(looked, "plan") == {"success"}
    assert {state for name, state in looked["tasks"].items() if name != "plan"} == {"skipped"}
    assert (looked["runs"], looked["ids"], looked["staged"], looked["quarantined"]) == ([], [], 0, 0)
    assert "dry run of looked.songs.songs: no dates: goes on from the committed position; nothing is written" in site[2]
    assert re.search(r"\d+ rows read \(a sample\): 0 bad, 0 rejected", site[2])
    assert re.search(r"mail: pseudonymise[^→]* → mail", site[2])


def test_what_cannot_be_meant_fails_before_anything_is_asked(
    report: dict[str, Any], site: tuple[Path, dict[str, Any], str]
) -> None:
    for name in ("contradicted", "misspelt"):
        assert report[name]["run"] == "failed"
        assert states(report[name], "plan") == {"failed"}
        assert report[name]["runs"] == []
    assert "a sample without a dry run: a run loads all or nothing" in site[2]
    assert "there is no 'dryrun': did you mean 'dry_run'?" in site[2]


def test_a_stream_that_was_not_asked_for_is_skipped(
    report: dict[str, Any], site: tuple[Path, dict[str, Any], str]
) -> None:
    one = report["one of two"]
    assert one["run"] == "success"
    assert {state for name, state in one["tasks"].items() if name.startswith("songs.")} == {"success"}
    assert {state for name, state in one["tasks"].items() if name.startswith("twins.")} == {"success", "skipped"}
    assert one["tasks"]["twins.plan"] == "success"
    assert one["tasks"]["twins.clean"] == "skipped"
    assert [run["state"] for run in one["runs"]] == ["committed"]
    assert one["ids"] == list(range(300))
    assert "twins wasn't asked for" in site[2]


def test_a_table_is_read_in_mapped_tasks_through_airflow_s_own_connection(
    report: dict[str, Any], site: tuple[Path, dict[str, Any], str]
) -> None:
    table = report["a table"]
    assert table["run"] == "success"
    assert set(table["tasks"].values()) == {"success"}
    assert {name for name in table["tasks"] if name.startswith("read.extract")} == {
        f"read.extract[{n}]" for n in range(2)
    }
    assert table["ids"] == list(range(300))
    assert table["mails_are_tokens"]
    assert PASSWORD not in site[2] + str(report)


def test_a_run_without_dates_says_where_it_goes_on(site: tuple[Path, dict[str, Any], str]) -> None:
    assert "incremental: no dates: goes on from the committed position; 3 partitions" in site[2]


def test_xcoms_are_numbers_of_runs_and_partitions_and_counts(report: dict[str, Any]) -> None:
    seen = [xcom for found in report.values() for xcom in found["xcoms"]]
    assert {key for _, key, _ in seen} == {"run", "reads", "skipmixin_key", "return_value"}
    assert len(seen) > 30
    for task, key, value in seen:
        task = task.removeprefix("songs.")
        if key == "run":
            assert (task, type(value)) == ("plan", int)
        elif key == "reads":
            assert value in (
                "incremental: no dates: goes on from the committed position",
                "incremental: a snapshot: everything that the source has now",
            )
        elif key == "skipmixin_key":
            assert {name.rpartition(".")[2] for name in value["skipped"]} == set(CHAIN) - {"plan"}
        elif task == "plan":
            assert value in ([], [0], [0, 1], [0, 1, 2])
        else:
            assert all(isinstance(count, int) for count in counts(value))


def counts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [count for inner in value.values() for count in counts(inner)]
    return [value]


def test_arguments_are_names_and_numbers(report: dict[str, Any]) -> None:
    seen = {
        (name, str(value))
        for found in report.values()
        for arguments in found["seen"].values()
        for name, value in (arguments or {}).items()
        if name not in ("run", "partition")
    }
    tenants = {("tenant", name) for name in ("good", "faulty", "halted", "unplanned", "looked", "several", "reader")}
    nothing = {(name, "None") for name in ("importer", "config", "stream")}
    assert seen == {*tenants, ("pipeline", "songs"), ("stream", "songs"), ("stream", "twins"), *nothing}


def test_no_value_of_the_data_is_left_anywhere(site: tuple[Path, dict[str, Any], str]) -> None:
    root, _, said = site
    assert CANARY not in said
    forms = [CANARY.encode(), CANARY.encode("utf-16-le"), CANARY.encode().hex().encode()]
    forms += [base64.b64encode(b" " * shift + CANARY.encode())[4:-4] for shift in range(3)]
    files = [path for path in root.rglob("*") if path.is_file() and root / "data" not in path.parents]
    assert root / "airflow.db" in files
    for path in files:
        content = path.read_bytes()
        assert not [form for form in forms if form in content], path
