"""`python -m importers.server` as a process, with a real Kafka: two of them, kills, a broker that restarts, poison."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import yaml
from confluent_kafka import Producer
from import_site import FIRST, SECOND, Inspector, Row, listeners
from kafka_site import PARTITIONS
from prometheus_client.parser import text_string_to_metric_families
from stream_site import StreamSite, environment, finished, kept
from tests.services.kafka import Kafka
from tests.services.ports import free_port

from importers.core.model import LoadMode

pytestmark = pytest.mark.services
PATIENCE = 240.0  # seconds; a process takes several to import what it needs


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self, stream: str = "acme.listening") -> dict[str, Any]:
        return status_in(self.get("/healthz")[1], stream)

    def is_in(self, state: str, stream: str = "acme.listening") -> bool:
        try:
            return bool(self.status(stream)["state"] == state)
        except OSError:
            return False


def status_in(said: str, stream: str = "acme.listening") -> dict[str, Any]:
    (found,) = (each for each in json.loads(said)["streams"] if each["stream"] == stream)
    return dict(found)


@contextmanager
def server(site: StreamSite, *names: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "importers.server", "--tenants", site.root / "tenants", "--port", str(port)]
    log = site.root / f"server {port}.log"
    with log.open("w") as out:
        process = subprocess.Popen([*command, *names], env=environment(site), stderr=out)
    try:
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


def eventually(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def site(kafka: Kafka, database: str, tmp_path: Path, encryption_key: str) -> StreamSite:
    topic = kafka.topic(f"plays-{uuid4().hex}", PARTITIONS)
    made = StreamSite(tmp_path, database, "acme", LoadMode.APPEND, tmp_path, brokers=kafka.address, topic=topic)
    describe(made)
    return made


def describe(site: StreamSite, **pipeline: Any) -> None:
    (site.root / "tenants").mkdir(exist_ok=True)
    said = site.definition.model_dump(exclude_unset=True, mode="json")
    said["pipelines"]["listening"] |= pipeline
    (site.root / "tenants" / f"{site.tenant}.yaml").write_text(yaml.safe_dump(said))


def lot(number: int) -> list[Row]:
    return [(100 * number + n, 100 * number + n, listeners(n), f"lot {number}", n) for n in range(30)]


def test_two_servers_of_which_one_is_killed(kafka: Kafka, site: StreamSite, sql: psycopg.Connection) -> None:
    look = Inspector(site, sql)
    site.first()
    with server(site) as first, server(site) as second:
        eventually(lambda: first.is_in("running") or second.is_in("running"), "neither runs")
        owner, other = (first, second) if first.is_in("running") else (second, first)
        eventually(lambda: other.is_in("waiting"), "the other doesn't wait")
        site.second()
        # One look at a time: the last message may come with a later micro-batch than the rows before it.
        whole = {"loaded": len(site.after), "behind": 0, "quarantined": 2, "error": ""}
        eventually(lambda: whole.items() <= owner.status().items(), "the owner hasn't taken all")
        samples = {
            (sample.name, sample.labels.get("outcome")): (sample.value, sample.labels["tenant"])
            for family in text_string_to_metric_families(owner.get("/metrics")[1])
            for sample in family.samples
        }
        assert samples["importers_stream_rows_total", "loaded"] == (len(site.after), "acme")
        assert samples["importers_stream_rows_total", "quarantined"] == (2, "acme")
        assert samples["importers_stream_running", None] == (1, "acme")
        assert samples["importers_stream_behind", None] == (0, "acme")
        owner.process.kill()
        site.produce(lot(3))
        eventually(lambda: other.is_in("running"), "nobody has taken over")
        kafka.stop()
        kafka.start()
        site.produce(lot(4))
        expected = sorted([*site.after, *lot(3), *lot(4)])
        eventually(lambda: len(look.rows()) == len(expected), "the other hasn't loaded all")
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(PATIENCE) == 0
    finished(site, sql, expected, [len(FIRST), len(SECOND) + 1, 30, 30])


def test_a_tenant_whose_data_nobody_classified_stops_and_another_does_not_notice(
    kafka: Kafka, site: StreamSite, sql: psycopg.Connection
) -> None:
    other = replace(site, tenant="globex", topic=kafka.topic(f"plays-{uuid4().hex}", PARTITIONS))
    describe(other)
    with server(site) as both:
        eventually(lambda: both.is_in("running") and both.is_in("running", "globex.listening"), "they don't run")
        assert both.get("/healthz")[0] == 200
        site.first()
        look = Inspector(site, sql)
        eventually(lambda: look.ask("select 1 where to_regclass('acme.plays') is not null"), "no table")
        eventually(lambda: len(look.rows()) == len(FIRST), "the first lot isn't there")
        producer = Producer({"bootstrap.servers": site.brokers})
        producer.produce(site.topic, json.dumps({"play": 90, "phone": "+49 30 901820"}), partition=0)
        producer.flush(60)
        told: list[tuple[int, str]] = []

        def phone() -> bool:
            """In one look: between two attempts it is at work for a moment."""
            told.append(both.get("/healthz"))
            code, said = told[-1]
            return code == 503 and "phone" in status_in(said)["error"]

        eventually(phone, "an unclassified key went unnoticed")
        assert not [said for _, said in told if "901820" in said]
        failed = "select stream, failure from _importers.run where state = 'failed'"
        eventually(lambda: look.ask(failed) == [("acme.listening.plays", "ContractError")], "it isn't listed")
        other.first()
        eventually(lambda: both.status("globex.listening")["loaded"] == len(FIRST), "the other tenant waits")
        assert len(look.rows()) == len(FIRST)
        described = {**site.definition.model_dump(exclude_unset=True, mode="json")["pipelines"]["listening"]["config"]}
        described["columns"]["phone"] = "string"
        columns = {**dict.fromkeys(("play", "id", "track", "score"), "keep"), "listener": "pseudonymise"}
        subject = {"column": "listener", "domain": "listener"}
        describe(site, config=described, privacy={"subject": subject, "columns": {**columns, "phone": "drop"}})
        eventually(lambda: both.is_in("running"), "a file that was mended isn't read again")
        eventually(lambda: both.status()["loaded"] == len(FIRST) + 1, "the stream doesn't go on where it stopped")
        runs = "select count(*) from _importers.run where tenant = 'globex'"
        before = look.ask(runs)
        describe(other, privacy={"subject": subject, "columns": {**columns, "track": "drop"}})
        eventually(lambda: look.ask(runs) > before, "a file that was changed isn't read again")
        other.produce(lot(5))
        tightened = "select count(*) from globex.plays where play >= 500"
        eventually(lambda: look.ask(tightened) == [(30,)], "the stream doesn't go on by a file that was changed")
        assert look.ask(f"{tightened} and track is not null") == [(0,)]
        both.process.send_signal(signal.SIGTERM)
        assert both.process.wait(PATIENCE) == 0
        log = both.log.read_text()
    assert "phone" in log
    assert "901820" not in log
    assert "listener 1" not in log
    assert [row[0] for row in look.rows()] == [*(row[0] for row in kept(FIRST)), 90]
