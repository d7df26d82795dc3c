"""What generating DAGs from tenant files costs beside plain Airflow DAGs of the same shape. Seconds: `make bench`."""

from __future__ import annotations

import subprocess
import sys

from bench.dags import deployment, plain_dags

from importers.dag_factory import tenant_dags

MOST = 1.5
TENANTS = 12
TRIES = 4
COST = f"""
from bench.dags import deployment, least, plain_dags
from importers.dag_factory import tenant_dags
with deployment({TENANTS}):
    ours, plain = least(5, tenant_dags, lambda: plain_dags({TENANTS}))
print(ours / plain)
"""


def test_the_plain_dags_are_of_the_same_shape() -> None:
    with deployment(TENANTS):
        plain, ours = plain_dags(TENANTS), tenant_dags()
    assert set(ours) == set(plain)
    for dag_id, dag in ours.items():
        other = plain[dag_id]
        assert set(dag.task_ids) == set(other.task_ids)
        assert all(task.upstream_task_ids == other.get_task(task.task_id).upstream_task_ids for task in dag.tasks)
        assert all(task.is_mapped == other.get_task(task.task_id).is_mapped for task in dag.tasks)
        assert (dag.params.dump(), dag.timetable) == (other.params.dump(), other.timetable)


def test_generating_costs_at_most_half_more_than_plain_dags() -> None:
    """Both in one process, which has run nothing else; CPU seconds in turn, the least of several.

    A core that is shared makes CPU seconds longer, too, and not always both alike: it may try again.
    """
    ratios: list[float] = []
    while len(ratios) < TRIES and not any(ratio <= MOST for ratio in ratios):
        ratios.append(float(subprocess.run([sys.executable, "-c", COST], check=True, capture_output=True).stdout))
    assert min(ratios) <= MOST, f"{ratios} times the CPU of plain DAGs"
