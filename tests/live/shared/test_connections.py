"""Connections in a whole deployment: made and tried by people's means, used by tasks, and seen nowhere.

The source is the one of tests/support/registered.py, which every process of the shared deployment has.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from registered import account
from tests.services.airflow import Airflow

OWN, SHARED, REFRESH = "kanarienvogel-4d81", "stieglitz-9c02", "girlitz-77be"
SECRETS = (OWN, SHARED, REFRESH)
TENANT = """
tenant: {name}
{more}
pipelines:
  things:
    importer: vault_api
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{none: true, reason: shelves are no persons}}
      columns: {{shelf: keep, account: keep}}
"""


@pytest.fixture(scope="module")
def runs(airflow: Airflow) -> dict[str, Any]:
    """How a run of each tenant ended, and its row; the first with a connection of its own, the second may share."""
    make = {"conn_type": "spotify", "login": "me"}
    extra = json.dumps({"refresh_token": REFRESH})
    airflow.api(
        "POST", "/connections", {"connection_id": "importer_alpha_vault_api", "password": OWN, "extra": extra, **make}
    )
    airflow.cli("connections", "add", "importer_vault_api", "--conn-type", "spotify", "--conn-password", SHARED)
    tenants = {"alpha": "", "beta": "shared_connections: [vault_api]", "gamma": ""}
    for name, more in tenants.items():
        (airflow.tenants / f"{name}.yaml").write_text(TENANT.format(name=name, more=more))
    found: dict[str, Any] = {}
    for name in tenants:
        airflow.wait_for_dag(f"{name}.things")
        airflow.unpause(f"{name}.things")
        found[name] = {"id": airflow.trigger(f"{name}.things")}
    for name, said in found.items():
        said["state"] = airflow.wait_for_run(f"{name}.things", said["id"], seconds=600)["state"]
        said["rows"] = loaded(airflow, name)
        said["log"] = airflow.task_logs(f"{name}.things", said["id"], 10**6)
    return found


def loaded(airflow: Airflow, tenant: str) -> list[Any]:
    with psycopg.connect(airflow.warehouse) as connection:
        there = connection.execute("select to_regclass(%s)", (f"{tenant}.things",)).fetchone()
        if not there or there[0] is None:
            return []
        return connection.execute(f"select shelf, account from {tenant}.things").fetchall()


def test_a_task_reads_with_its_tenants_account(runs: dict[str, Any]) -> None:
    assert runs["alpha"]["state"] == runs["beta"]["state"] == "success"
    assert runs["alpha"]["rows"] == [("a", account(OWN))]
    assert runs["beta"]["rows"] == [("a", account(SHARED))]


def test_who_has_none_and_may_not_share_fails_at_once(runs: dict[str, Any]) -> None:
    assert (runs["gamma"]["state"], runs["gamma"]["rows"]) == ("failed", [])
    assert "there is no connection 'importer_gamma_vault_api'" in runs["gamma"]["log"]
    assert "or allow the tenant 'importer_vault_api': `shared_connections: [vault_api]`" in runs["gamma"]["log"]
    assert "trying again won't help" in runs["gamma"]["log"]


def test_even_a_careless_source_shows_no_secret(runs: dict[str, Any]) -> None:
    for name in ("alpha", "beta"):
        (line,) = re.findall(r"careless: .*", runs[name]["log"])
        assert re.match(r"careless: <Connection with (login, )?password", line)
        assert "***" in line


def test_no_secret_is_left_in_files_logs_or_databases(runs: dict[str, Any], airflow: Airflow) -> None:
    files = [path for path in airflow.home.rglob("*") if path.is_file()]
    assert any(path.name.startswith("attempt=") for path in files)
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # the processes run on
            continue
        if path.name == "scheduler.log":  # the LocalExecutor echoes its tasks' lines there, and Airflow masks none
            content = b"\n".join(line for line in content.splitlines() if b"careless: " not in line)
        assert not [secret for secret in SECRETS if secret.encode() in content], path
    seen = 0
    for url in (airflow.metadata, airflow.warehouse):
        for table, text in everything(url):
            assert not [secret for secret in SECRETS if secret in text], table
            seen += 1
    assert seen > 100


def everything(url: str) -> Iterator[tuple[str, str]]:
    """Each row of each table as text: XComs, rendered arguments, the audit log, runs and rows."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            for (text,) in connection.execute(f"select t::text from {table} t").fetchall():
                yield table, text


def test_the_ui_tries_a_connection_before_it_is_kept(airflow: Airflow) -> None:
    class Vendor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path == "/app/me" and self.headers["Authorization"] == "Basic bWU6aHVtbWVs"  # me:hummel
            self.send_response(200 if right else 401)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as vendor:
        Thread(target=vendor.serve_forever, daemon=True).start()
        made = {"connection_id": "tried", "conn_type": "mixpanel", "login": "me"}
        made["host"] = f"http://127.0.0.1:{vendor.server_port}"
        right = airflow.api("POST", "/connections/test", made | {"password": "hummel"})
        wrong = airflow.api("POST", "/connections/test", made | {"password": "wespe"})
        vendor.shutdown()
    assert right == {"status": True, "message": "127.0.0.1 takes the credentials"}
    assert wrong["status"] is False
    assert "refused the credentials; got HTTP 401" in wrong["message"]


def test_the_ui_has_the_forms(airflow: Airflow) -> None:
    # the address that the UI's own page asks, outside the public API
    forms = {form["connection_type"]: form for form in airflow.api("GET", "/../../ui/connections/hook_meta")}
    assert forms["spotify"]["hook_name"] == "Spotify"
    assert forms["spotify"]["extra_fields"]["refresh_token"]["schema"]["format"] == "password"
    assert forms["lastfm"]["standard_fields"]["password"]["title"] == "API key"
    assert forms["lastfm"]["standard_fields"]["login"]["hidden"] is True


def test_the_command_line_lists_and_tries(airflow: Airflow, runs: dict[str, Any]) -> None:
    listed = airflow.cli("connections", "list", "-o", "json")
    assert '"importer_alpha_vault_api"' in listed
    nobody = {"connection_id": "nobody", "conn_type": "segment", "host": "http://127.0.0.1:1", "password": "x"}
    airflow.api("POST", "/connections", nobody)
    said = airflow.cli("connections", "test", "nobody", check=False)
    assert "the system can't be reached: ConnectError" in said


def test_airflow_runs_what_importers_runs(airflow: Airflow, runs: dict[str, Any]) -> None:
    """With Airflow's connections: the tenant's for the source, and the one that says where the warehouse is."""
    before = committed(airflow, "alpha")
    said = airflow.cli("importers", "run", "alpha.things", "--json")
    assert '"rows_loaded": 1' in said
    assert committed(airflow, "alpha") == before + 1
    assert loaded(airflow, "alpha") == [("a", account(OWN))]
    refused = airflow.cli("importers", "run", "gamma.things", check=False)
    assert "Error: gamma.things: there is no connection 'importer_gamma_vault_api'" in refused


def committed(airflow: Airflow, tenant: str) -> int:
    with psycopg.connect(airflow.warehouse) as connection:
        query = "select count(*) from _importers.run where tenant = %s and state = 'committed'"
        found = connection.execute(query, (tenant,)).fetchone()
        return int(found[0]) if found else 0


def test_without_airflow_its_connections_are_not_asked(airflow: Airflow, runs: dict[str, Any]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("importers"), "run", "alpha.things"],
        env=airflow.environment() | {"POSTGRES_URL": airflow.warehouse},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "Set VAULT_ID and VAULT_SECRET, or give config=" in done.stderr
