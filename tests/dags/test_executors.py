"""What the processes have that tasks are forked from."""

from __future__ import annotations

import os
import subprocess
import sys

LOCAL = """
import os
import sys
from pathlib import Path

from airflow._shared.module_loading import import_string

for name in sys.argv[1:]:
    executor = import_string(name)(parallelism=2)
    executor.start()
    for pid in executor.workers:
        ours = "polars" in Path(f"/proc/{pid}/maps").read_text()
        said = f"\\n{len(list(Path(f'/proc/{pid}/task').iterdir()))} {ours}\\n"
        os.write(1, said.encode())  # at once: the workers write there, too
    executor.end()
"""
CELERY = """
import sys

from airflow.providers.celery.executors.celery_executor_utils import app

print("sending", "polars" in sys.modules)
app.loader.import_default_modules()  # as a worker does when it starts
print("working", "polars" in sys.modules)
"""


def said(program: str, *arguments: str, **settings: str) -> list[str]:
    run = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    environment = os.environ | settings
    done = subprocess.run(run, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.endswith(("True", "False"))]


def test_local_tasks_are_forked_from_what_has_our_imports_and_one_thread() -> None:
    theirs, ours = "airflow.executors.local_executor.LocalExecutor", "importers.executors.local.PreloadingLocalExecutor"
    assert said(LOCAL, theirs, ours) == ["1 False"] * 2 + ["1 True"] * 2


def test_a_celery_worker_has_our_imports_and_who_sends_hasn_t() -> None:
    assert said(CELERY) == ["sending False", "working False"]
    ours = {"AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "importers.executors.celery.OPTIONS"}
    assert said(CELERY, **ours) == ["sending False", "working True"]
