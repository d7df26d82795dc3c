"""An Airflow DAG whose source says when to come back. Its steps are ours; only what they ask is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Context, Param

from importers.exceptions import TransientSourceError
from importers.operators.base import ImportOperator


class Asking(ImportOperator):
    """Is told to wait `wait` seconds, the first time; `said` is where it notes that it asked."""

    template_fields = (*ImportOperator.template_fields, "wait", "said")

    def __init__(self, *, wait: Any, said: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait, self.said = wait, said

    def attempt(self, context: Context) -> int:
        path = Path(self.said)
        asked = path.read_text().count("\n") if path.exists() else 0
        with path.open("a") as file:
            file.write("asked\n")
        if asked == 0 and float(self.wait):
            raise TransientSourceError("the quota is used up", retry_after=float(self.wait))
        return asked + 1


with DAG("told_to_wait", schedule=None, params={"wait": Param(0, type="number"), "said": ""}, max_active_runs=9):
    Asking(
        task_id="ask",
        tenant="nobody",
        pipeline="none",
        wait="{{ params.wait }}",
        said="{{ params.said }}",
        retries=1,
        pool="narrow",
    )
