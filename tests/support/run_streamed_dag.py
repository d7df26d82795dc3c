"""Runs a `@continuous` DAG by `dag.test()`, in a program of its own: usage `run_streamed_dag.py DIRECTORY DAG_ID`.

DIRECTORY is AIRFLOW_HOME, and has the tenants' files. Prints the run's state and its tasks' as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT, DAG_ID = Path(sys.argv[1]), sys.argv[2]


def main() -> None:
    (ROOT / "dags").mkdir()
    (ROOT / "dags" / "tenant_imports.py").write_text(
        "# an Airflow DAG file\nfrom importers.dag_factory import tenant_dags\nglobals().update(tenant_dags())\n"
    )
    settings = {
        "AIRFLOW_HOME": ROOT,
        "AIRFLOW__CORE__DAGS_FOLDER": ROOT / "dags",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "IMPORTERS_TENANTS": ROOT / "tenants",
    }
    os.environ.update({name: str(value) for name, value in settings.items()})
    from airflow.utils.db import initdb

    initdb()
    from importers.dag_factory import tenant_dags

    made = tenant_dags()[DAG_ID].test()
    states = {ti.task_id: str(ti.state) for ti in made.get_task_instances()}
    print(json.dumps({"run": str(made.state), "tasks": states}))


if __name__ == "__main__":
    main()
