"""An object of arrays from the command line: each array is a stream with a table and a position of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from importers.cli.main import main

TENANT = """\
tenant: acme
pipelines:
  shop:
    importer: json
    config: {{path: "{data}/dump-*.json", records: [orders, data.customers], types: {{orders.total: "decimal(12,2)"}}}}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{none: true, reason: made up}}
    streams:
      orders: {{load: {{mode: append}}, privacy: {{columns: {{id: keep, total: keep}}}}}}
      customers: {{load: {{mode: merge, primary_key: name}}, privacy: {{columns: {{name: keep, town: keep}}}}}}
"""


def test_each_array_has_its_own_table(
    tmp_path: Path, database: str, encryption_key: str, sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOME", tmp_path / "home"), ("TENANTS", tmp_path / "tenants"), ("PROCESSES", 1)):
        monkeypatch.setenv(f"IMPORTERS_{name}", str(value))
    monkeypatch.setenv("POSTGRES_URL", database)
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants/acme.yaml").write_text(TENANT.format(data=tmp_path))
    for day, town in ((1, "Ulm"), (2, "Linz")):
        dump = {"orders": [{"id": day, "total": 2.5}], "data": {"customers": [{"name": "ann", "town": town}]}}
        (tmp_path / f"dump-{day}.json").write_text(json.dumps(dump))
        for command in (["lint"], ["run", "acme.shop"], ["run", "acme.shop"]):
            done = CliRunner().invoke(main, command)
            assert done.exit_code == 0, done.output
    assert sql.execute("select id, total from acme.orders order by id").fetchall() == [(1, 2.5), (2, 2.5)]
    kinds = "select pg_typeof(total)::text, pg_typeof(id)::text from acme.orders limit 1"
    assert sql.execute(kinds).fetchall() == [("numeric", "bigint")]
    assert sql.execute("select name, town from acme.customers").fetchall() == [("ann", "Linz")]
    lanes = sql.execute("select stream, count(*) from _importers.position group by 1 order by 1").fetchall()
    assert lanes == [("acme.shop.customers", 2), ("acme.shop.orders", 2)]
