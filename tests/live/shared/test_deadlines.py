"""`deadline:` of the tenant file: a run that takes longer is told of once, one that doesn't isn't."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from tests.services.airflow import Airflow

TENANT = """
tenant: punctual
privacy:
  purpose: to test
  lawful_basis: contract
  subject: {{none: true, reason: made up}}
  columns: {{id: keep}}
pipelines:
  late:
    importer: csv
    config: {{path: "{data}/ids.csv", stream: late}}
    deadline: PT1S
    alerts: [nobody, ops]
  early:
    importer: csv
    config: {{path: "{data}/ids.csv", stream: early}}
    deadline: PT1H
    alerts: [ops]
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that somebody's chat could be, and what it was posted."""
    posted: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"path": self.path, "token": self.headers.get("Authorization"), "body": json.loads(body)})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/services/T0/B0", posted
        server.shutdown()


def test_who_is_late_is_told_of_and_who_is_not_is_not(airflow: Airflow, hook: tuple[str, list[dict[str, Any]]]) -> None:
    address, posted = hook
    ops = {"connection_id": "alert_punctual_ops", "conn_type": "http", "host": address, "password": "geheimnis-7f3a"}
    airflow.api("POST", "/connections", ops)
    data = airflow.home / "punctual"
    data.mkdir()
    (data / "ids.csv").write_text("id\n1\n2\n")
    airflow.describe("punctual", TENANT.format(data=data), "punctual.late", "punctual.early")

    early = airflow.trigger("punctual.early")
    late = airflow.trigger("punctual.late")
    airflow.until("nobody was told", lambda: posted, 240)
    airflow.wait_for_run("punctual.late", late, {"success"}, 300)  # it goes on
    airflow.wait_for_run("punctual.early", early, {"success"}, 300)

    (told,) = posted
    assert told["path"] == "/services/T0/B0"
    assert told["token"] == "Bearer geheimnis-7f3a"
    said = told["body"]
    assert (said["dag_id"], said["run_id"], said["tenant"]) == ("punctual.late", late, "punctual")
    assert said["event"] == "deadline_missed"
    assert f"the run {late} has missed its deadline of PT1S" in said["text"]
    with psycopg.connect(airflow.metadata) as connection:
        missed = connection.execute(
            """select r.dag_id, d.missed from deadline d join dag_run r on r.id = d.dagrun_id
               where r.dag_id like 'punctual.%'"""
        ).fetchall()
    assert missed == [("punctual.late", True)]  # that of a run which ended in time is gone
    logs = airflow.said(200_000)
    assert "there is no connection 'alert_punctual_nobody'" in logs
    assert "geheimnis" not in logs
