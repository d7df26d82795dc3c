"""A thousand tenants through Airflow's own DAG processor, one of them with a mistake."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest
from bench.dags import PIPELINES, write_tenants
from tests.live.conftest import Deploy
from tests.services.airflow import PROCESSES, ROOT

TENANTS, SHARES = 1_000, 4
BROKEN = "t0500"
SETTINGS = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "500",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "500",
}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_one_mistake_among_a_thousand_tenants_hides_nobody(deploy: Deploy) -> None:
    with deploy(processes={}, settings=SETTINGS) as airflow:
        for number in range(1, SHARES + 1):
            shutil.copy(ROOT / "dags" / "tenant_imports.py", airflow.dags / f"tenant_imports_{number}_of_{SHARES}.py")
        for name in ("tenant_imports.py", "housekeeping.py"):
            (airflow.dags / name).unlink()
        write_tenants(airflow.tenants, TENANTS)
        broken = airflow.tenants / f"{BROKEN}.yaml"
        text = broken.read_text().replace("schedule:", "shedule:", 1)
        broken.write_text(text)
        line = text.splitlines().index(next(line for line in text.splitlines() if "shedule" in line)) + 1
        airflow.start("dag-processor", *PROCESSES["dag-processor"])
        with psycopg.connect(airflow.metadata, autocommit=True) as metadata:

            def all_there() -> bool:
                dags = metadata.execute("select count(*) from serialized_dag").fetchone()
                errors = metadata.execute("select count(*) from import_error").fetchone()
                return dags == ((TENANTS - 1) * len(PIPELINES),) and errors == (1,)

            airflow.until("not all DAGs are serialised", all_there, 1000)
            assert metadata.execute("select count(*) from dag where is_stale").fetchone() == (0,)
            assert metadata.execute("select 1 from dag where dag_id like %s", (f"{BROKEN}%",)).fetchall() == []
            ((file, said),) = metadata.execute("select filename, stacktrace from import_error").fetchall()
    assert Path(file).name == "config_check.py"
    assert f"{BROKEN}.yaml:{line}: there is no setting `shedule`" in said
    assert "Did you mean 'schedule'" in said
