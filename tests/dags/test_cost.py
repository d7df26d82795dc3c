"""What generating DAGs from tenant files costs beside plain Airflow DAGs of the same shape. Seconds: `make bench`."""

from __future__ import annotations

from bench.dags import deployment, least, plain_dags

from importers.dag_factory import tenant_dags

MOST = 1.5
TENANTS = 12


def test_generating_costs_at_most_half_more_than_plain_dags() -> None:
    """CPU of this process, in turn, the least of several: nothing that else goes on makes it less."""
    with deployment(TENANTS):
        plain = plain_dags(TENANTS)
        ours = tenant_dags()
        assert set(ours) == set(plain)
        for dag_id, dag in ours.items():
            other = plain[dag_id]
            assert set(dag.task_ids) == set(other.task_ids)
            assert all(task.upstream_task_ids == other.get_task(task.task_id).upstream_task_ids for task in dag.tasks)
            assert all(task.is_mapped == other.get_task(task.task_id).is_mapped for task in dag.tasks)
            assert (dag.params.dump(), dag.timetable) == (other.params.dump(), other.timetable)
        mine, theirs = least(6, tenant_dags, lambda: plain_dags(TENANTS))
    assert mine <= MOST * theirs, f"{mine:.3f} s of CPU, {mine / theirs:.2f} times the plain DAGs' {theirs:.3f} s"
