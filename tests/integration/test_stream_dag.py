"""A `@continuous` DAG of a topic, run by `dag.test()` in a program of its own: it drains in micro-batches and ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import yaml
from kafka_site import PARTITIONS
from stream_site import StreamSite, environment, finished
from tests.services.kafka import Kafka

from importers.core.model import LoadMode

pytestmark = pytest.mark.services
PROGRAM = Path(__file__).parents[1] / "support" / "run_streamed_dag.py"


def test_a_continuous_dag_drains_a_topic_in_micro_batches(
    kafka: Kafka, database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str
) -> None:
    topic = kafka.topic(f"plays-{uuid4().hex}", PARTITIONS)
    site = StreamSite(tmp_path, database, "acme", LoadMode.APPEND, tmp_path, brokers=kafka.address, topic=topic)
    (tmp_path / "tenants").mkdir()
    said = site.definition.model_dump(exclude_unset=True, mode="json")
    (tmp_path / "tenants" / "acme.yaml").write_text(yaml.safe_dump(said))
    site.first()
    site.second()
    named = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka.address}}
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, "acme.listening"],
        env=environment(site) | {"AIRFLOW_CONN_IMPORTER_ACME_KAFKA": json.dumps(named)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["run"] == "success"
    assert found["tasks"].pop("plan") == "success"
    assert {*found["tasks"].values()} == {"skipped"}
    finished(site, sql)
