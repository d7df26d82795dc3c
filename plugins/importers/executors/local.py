"""For a scheduler that runs its tasks itself."""

from __future__ import annotations

import importlib

from airflow.executors.local_executor import LocalExecutor

from importers.executors import OF_TASKS


class PreloadingLocalExecutor(LocalExecutor):
    """`[core] executor = importers.executors.local.PreloadingLocalExecutor`: what LocalExecutor does, sooner.

    The scheduler takes about 150 MB more, which its tasks share. Where processes are spawned (macOS) nothing is gained.
    """

    def start(self) -> None:
        for name in ("airflow.sdk.execution_time.task_runner", *OF_TASKS):
            importlib.import_module(name)
        super().start()
