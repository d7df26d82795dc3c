"""The service `streams` of docker-compose.yaml as a process: its command, its environment, its health check."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from tests.services.compose import ROOT, secrets, services
from tests.services.ports import free_port
from tests.services.redis import redis_server

pytestmark = pytest.mark.services
PATIENCE = 120.0  # seconds; on a quiet machine it takes five
TENANT = """
tenant: acme
pipelines:
  plays:
    importer: redis_streams
    schedule: "@continuous"
    config: {key: plays, columns: {listener: string, track: string}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {column: listener, domain: listener}
      columns: {listener: pseudonymise, track: keep}
"""


@pytest.fixture
def broker() -> Iterator[str]:
    """The address of the Redis that the stream comes from."""
    password = secrets()["REDIS_PASSWORD"]
    with redis_server(services({**secrets(), "REDIS_PASSWORD": password})["redis"]) as port:
        yield f"redis://:{password}@127.0.0.1:{port}/0"


def test_it_follows_a_stream_into_the_warehouse(
    broker: str, database: str, sql: psycopg.Connection, tmp_path: Path
) -> None:
    service = services(secrets())["streams"]
    (tmp_path / "include" / "tenants").mkdir(parents=True)
    (tmp_path / "include" / "tenants" / "acme.yaml").write_text(TENANT)
    port = free_port()
    said = {name: value for name, value in service["environment"].items() if value is not None}
    environment = {name: value.replace("/opt/airflow", str(tmp_path)) for name, value in said.items()}
    environment |= {"POSTGRES_URL": database, "REDIS_URL": broker}  # the first compose's own, the second .env.streams'
    python, *words = service["command"]
    assert python == "python"
    log = tmp_path / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, *words, "--port", str(port)], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        with Redis.from_url(broker) as redis:
            for number in range(3):
                redis.xadd("plays", {"listener": f"ada-{number}", "track": f"t{number}"})
        eventually(server, log, lambda: healthy(service, port) and tracks(sql) == ["t0", "t1", "t2"])
        server.terminate()
        assert server.wait(PATIENCE) == 0
        assert "ada-" not in log.read_text()
    finally:
        server.kill()
        server.wait()


def healthy(service: dict[str, dict[str, list[str]]], port: int) -> bool:
    how, python, *words = service["healthcheck"]["test"]
    assert (how, python) == ("CMD", "python")
    command = [sys.executable, *(word.replace(":8790/", f":{port}/") for word in words)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def tracks(sql: psycopg.Connection) -> list[str]:
    if sql.execute("select to_regclass('acme.plays')").fetchone() == (None,):
        return []
    return [track for (track,) in sql.execute("select track from acme.plays order by track")]


def eventually(server: subprocess.Popen[bytes], log: Path, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
