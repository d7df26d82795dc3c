"""Airflow's own executors, but that what our tasks import is imported once.

Each task is a process that is forked from its executor's. Airflow's modules are there by then; ours are two seconds of
CPU, which every step of every pipeline would spend anew.
"""

OF_TASKS = (
    "importers.dag_factory",
    "importers.operators.steps",
    "importers.pipeline.run",
    "importers.destinations.postgresql",
    "importers.sources.files.csv",
    "pandas",  # which pyarrow imports at a process's first array
)
"""To import them runs nothing. Polars has threads of its allocator from then on, which a fork has not and doesn't need;
those that do its work begin with the first of it, in the task."""
