"""What nobody foresaw, and settings of the process: told by kind, never by text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from importers.core.model import LoadMode, Plan, Reads, Run, RunKind, RunState, Stream
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ImporterError, RunAbortedError
from importers.pipeline.extract import run_key
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.run import _processes

JOB = Job(
    Installation(Path(), "postgresql://", True, "staging", "quarantine"),
    Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": {"importer": "csv"}}}),
    "listening",
    Stream("plays", (), Reads.POSITION),
)


@pytest.mark.parametrize("kind", [pa.ArrowInvalid, KeyError, pl.exceptions.PanicException, pl.exceptions.ComputeError])
def test_an_unforeseen_failure_says_its_class_and_its_job_only(kind: type[BaseException]) -> None:
    with pytest.raises(ImporterError) as failed, JOB.at(3):
        raise kind("canary-4711")
    said = str(failed.value)
    assert said.startswith("acme.listening/plays[3]: ")
    assert kind.__name__ in said
    assert "canary" not in said
    assert failed.value.__suppress_context__


def test_it_says_where_in_the_package() -> None:
    with pytest.raises(ImporterError, match=r"got AttributeError in pipeline/extract.py:\d+"), JOB.at():
        run_key(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["two", "0", "-1", "1.5"])
def test_processes_are_a_number(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTERS_PROCESSES", number)
    with pytest.raises(ConfigError, match="IMPORTERS_PROCESSES"):
        _processes()
    monkeypatch.setenv("IMPORTERS_PROCESSES", "3")
    assert _processes() == 3


def test_an_aborted_run_is_told_as_that() -> None:
    run = Run(
        id=1,
        stream="acme.listening.plays",
        key="k",
        generation=1,
        kind=RunKind.INCREMENTAL,
        mode=LoadMode.APPEND,
        table="plays",
        version=1,
        state=RunState.ABORTED,
        plan=Plan((None,), {}),
        pins={},
        receipts={},
        sealed_key=None,
    )
    with pytest.raises(RunAbortedError):
        run_key(run)
