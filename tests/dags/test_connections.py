"""Which of Airflow's connections a task gets: the tenant's own or a shared one that it may use, never another's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import registered
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from psycopg.conninfo import conninfo_to_dict

from importers.core.tenant import Tenant
from importers.exceptions import ConfigError
from importers.hooks import connections
from importers.operators import (
    AnonymiseOperator,
    CleanOperator,
    CommitOperator,
    ExtractOperator,
    GateOperator,
    LoadOperator,
    PlanOperator,
    ValidateOperator,
)
from importers.pipeline.job import open_source
from importers.sources.databases._pg_connection import address
from importers.sources.files.s3 import S3, S3Config

SECRET, OTHERS, SHARED = "kanarienvogel-1a", "zeisig-2b", "stieglitz-3c"


@pytest.fixture(autouse=True)
def vault() -> Iterator[None]:
    registered.register()
    yield
    registered.unregister()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a connection where Airflow finds it."""

    def put(conn_id: str, password: str, conn_type: str = "spotify", **more: Any) -> None:
        said = {"conn_type": conn_type, "login": "me", "password": password, **more}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(said))

    return put


@pytest.fixture
def hiccup(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lookup finds nothing, whatever there is."""
    real, asked = BaseHook.get_connection, []

    def get_connection(conn_id: str) -> Any:
        asked.append(conn_id)
        if len(asked) == 1:
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
        return real(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", get_connection)


def tenant(name: str = "acme", importer: str = "vault_api", **more: Any) -> Tenant:
    return Tenant.model_validate({"tenant": name, "pipelines": {"things": {"importer": importer}}, **more})


def test_the_tenants_own_comes_first(store: Any) -> None:
    store("importer_acme_vault_api", SECRET, extra={"refresh_token": "r", "host": "wrong"}, host="api.example", port=7)
    store("importer_vault_api", SHARED)
    store("importer_beta_vault_api", OTHERS)
    for said in (tenant(), tenant(shared_connections=["vault_api"])):
        assert connections.resolve(said, "things") == {
            "host": "api.example",
            "port": 7,
            "login": "me",
            "password": SECRET,
            "refresh_token": "r",
        }


def test_the_shared_one_only_where_the_file_says_so(store: Any) -> None:
    store("importer_vault_api", SHARED)
    store("importer_beta_vault_api", OTHERS)
    with pytest.raises(ConfigError) as caught:
        connections.resolve(tenant(), "things")
    said = str(caught.value)
    assert "'importer_acme_vault_api'" in said
    assert "'importer_vault_api'" in said
    assert "shared_connections: [vault_api]" in said
    found = connections.resolve(tenant(shared_connections=["vault_api"]), "things")
    assert found is not None
    assert found["password"] == SHARED


def test_an_error_names_both_ids(store: Any) -> None:
    store("importer_beta_vault_api", OTHERS)
    with pytest.raises(ConfigError, match=r"acme\.things: .*'importer_acme_vault_api' nor .*'importer_vault_api'"):
        connections.resolve(tenant(shared_connections=["vault_api"]), "things")


def test_a_lookup_that_failed_once_does_not_give_another_account(store: Any, hiccup: None) -> None:
    """Airflow tells "not there" and "the API server had a hiccup" alike."""
    store("importer_acme_vault_api", SECRET)
    store("importer_vault_api", SHARED)
    found = connections.resolve(tenant(shared_connections=["vault_api"]), "things")
    assert found is not None
    assert found["password"] == SECRET


@pytest.mark.parametrize(
    ("name", "importer"),
    [
        ("acme", "beta_vault_api"),  # would be tenant acme_beta's, were the parts joined alike
        ("acme_vault_api", "vault_api"),
        ("acme_vault", "api"),
        ("vault", "api"),  # … and this one the shared
        ("acme_", "vault_api"),
    ],
)
def test_a_name_that_looks_like_two_gets_nothing_of_others(name: str, importer: str, store: Any) -> None:
    for conn_id in ("importer_acme_beta_vault_api", "importer_acme_vault_api", "importer_vault_api"):
        store(conn_id, OTHERS)
    said = tenant(name, importer, importers={importer: {"use": "vault_api"}} if importer != "vault_api" else {})
    with pytest.raises(ConfigError, match="there is no connection"):
        connections.resolve(said, "things")


def test_another_type_is_refused(store: Any) -> None:
    store("importer_acme_vault_api", SECRET, conn_type="postgres")
    with pytest.raises(ConfigError, match="Make it of type spotify") as caught:
        connections.resolve(tenant(), "things")
    assert SECRET not in str(caught.value)


def test_a_type_that_airflow_does_not_know_is_generic_to_it(store: Any) -> None:
    """So its command line writes one whose provider isn't installed."""
    store("importer_acme_vault_api", SECRET, conn_type="generic")
    found = connections.resolve(tenant(), "things")
    assert found == {"login": "me", "password": SECRET}


@pytest.mark.parametrize("extra", [SECRET, f'["{SECRET}"]', f'{{"a": "{SECRET}"'])
def test_an_extra_that_is_no_object_is_refused_unshown(extra: str, caplog: pytest.LogCaptureFixture) -> None:
    said = SimpleNamespace(conn_id="x", extra=extra)
    with pytest.raises(ConfigError, match="isn't a JSON object") as caught:
        connections.handed_over(said)  # type: ignore[arg-type]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert SECRET not in str(caught.value) + caplog.text


def test_a_source_that_needs_none_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: pytest.fail(conn_id))
    assert connections.resolve(tenant(importer="csv"), "things") is None


def test_a_source_that_can_do_without_gets_one_only_if_it_may(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered.Vault, "connection_optional", True)
    store("importer_vault_api", SHARED)
    store("importer_beta_vault_api", OTHERS)
    assert connections.resolve(tenant(), "things") is None
    found = connections.resolve(tenant(shared_connections=["vault_api"]), "things")
    assert found is not None
    assert found["password"] == SHARED
    store("importer_acme_vault_api", SECRET, conn_type="postgres")
    with pytest.raises(ConfigError, match="Make it of type spotify"):
        connections.resolve(tenant(), "things")


def test_a_lookup_that_failed_once_does_not_read_as_nobody(
    store: Any, hiccup: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered.Vault, "connection_optional", True)
    store("importer_acme_vault_api", SECRET)
    found = connections.resolve(tenant(), "things")
    assert found is not None
    assert found["password"] == SECRET


def test_a_providers_hook_adds_what_it_works_out(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis' own hook, of the provider that is installed: it makes a client, and doesn't connect."""

    def from_hook(cls: type[Any], hook: Any) -> dict[str, Any]:
        made = hook.get_conn().connection_pool.connection_kwargs
        return {"db": made["db"], "username": made["username"], "socket": made.get("ssl_cert_reqs")}

    monkeypatch.setattr(registered.Vault, "connection_type", "redis")
    monkeypatch.setattr(registered.Vault, "from_hook", classmethod(from_hook))
    extra = {"db": 3, "ssl": True, "ssl_cert_reqs": "optional"}
    store("importer_acme_vault_api", SECRET, conn_type="redis", host="127.0.0.1", port=1, extra=extra)
    store("importer_beta_vault_api", OTHERS, conn_type="redis", host="127.0.0.2", login="other", extra={"db": 9})
    found = connections.resolve(tenant(), "things")
    assert found is not None
    assert (found["host"], found["password"]) == ("127.0.0.1", SECRET)
    assert {name: found[name] for name in ("db", "username", "socket")} == {
        "db": 3,
        "username": "me",
        "socket": "optional",
    }


def test_without_the_provider_the_fields_are_what_there_is(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = classmethod(lambda cls, hook: pytest.fail(str(hook)))
    monkeypatch.setattr(registered.Vault, "connection_type", "aws")
    monkeypatch.setattr(registered.Vault, "from_hook", asked)
    store("importer_acme_vault_api", SECRET, conn_type="aws", extra={"region_name": "eu-north-9"})
    assert connections.resolve(tenant(), "things") == {"login": "me", "password": SECRET, "region_name": "eu-north-9"}


def test_a_database_is_entered_with_the_token_that_its_hook_gets(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By PostgresHook itself, but for the call to the cloud."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    store("importer_acme_postgresql", OTHERS, "postgres", host="db.example", extra={"iam": True})
    monkeypatch.setattr(PostgresHook, "get_aws_iam_token", lambda self, conn: (conn.login, SECRET, 5433))
    found = connections.resolve(tenant(importer="postgresql"), "things")
    assert found == {"host": "db.example", "port": 5433, "login": "me", "password": SECRET, "iam": True}
    assert conninfo_to_dict(address(found))["password"] == SECRET
    store("importer_acme_postgresql", OTHERS, "postgres", host="db.example")
    found = connections.resolve(tenant(importer="postgresql"), "things")
    assert found == {"host": "db.example", "login": "me", "password": OTHERS}


def test_a_role_that_no_hook_resolves_is_not_the_workers(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys may be those of the staging bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    extra = {"role_arn": "arn:aws:iam::1:role/r", "endpoint_url": "http://127.0.0.1:9"}
    store("importer_acme_s3", "", conn_type="aws", login="", extra=extra)
    found = connections.resolve(tenant(importer="s3"), "things")
    with pytest.raises(ConfigError, match=r"role_arn.*nstall apache-airflow-providers-amazon"):
        S3(S3Config(bucket="plays"), tenant="acme", connection=found).streams()


def test_what_a_providers_hook_complains_of_is_not_shown(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_hook(cls: type[Any], hook: Any) -> dict[str, Any]:
        raise RuntimeError(hook.get_connection(hook.redis_conn_id).password)

    monkeypatch.setattr(registered.Vault, "connection_type", "redis")
    monkeypatch.setattr(registered.Vault, "from_hook", classmethod(from_hook))
    store("importer_acme_vault_api", SECRET, conn_type="redis")
    with pytest.raises(
        ConfigError, match=r"can't use the connection 'importer_acme_vault_api'; got RuntimeError"
    ) as caught:
        connections.resolve(tenant(), "things")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_is_handed_over_is_masked_in_logs(store: Any) -> None:
    from airflow.sdk.log import _secrets_masker

    fresh, token = "rotkehlchen-6e", "dompfaff-8f"  # nothing that another test had masked already
    store("importer_acme_vault_api", fresh, extra={"refresh_token": token, "region": "eu-north-9"})
    connections.resolve(tenant(), "things")
    masked = str(_secrets_masker().redact(f"{fresh} {token} eu-north-9"))
    assert masked == "*** *** eu-north-9"


def test_only_steps_that_ask_the_source_get_its_connection() -> None:
    asks = {ExtractOperator: True, ValidateOperator: True, CommitOperator: True}
    for operator in (
        ExtractOperator,
        ValidateOperator,
        GateOperator,
        AnonymiseOperator,
        LoadOperator,
        CommitOperator,
        CleanOperator,
    ):
        assert operator.asks_source is asks.get(operator, False), operator


def test_an_operators_config_can_not_hold_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a templated field, which Airflow stores as it was rendered."""
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    config = {"connection": {"password": SECRET}}
    with pytest.raises(ConfigError, match="Make the connection in Airflow") as caught:
        PlanOperator(task_id="plan", tenant="acme", importer="vault_api", config=config).described()
    assert SECRET not in str(caught.value)


def test_templates_in_a_tenant_file_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    from importers.dag_factory import tenant_dags

    store("importer_beta_vault_api", OTHERS)
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    template = "{{ conn.importer_beta_vault_api.password }}"
    (tmp_path / "acme.yaml").write_text(
        f"tenant: acme\npipelines:\n  things:\n    importer: vault_api\n    config: {{shelf: '{template}'}}\n"
    )
    dag = tenant_dags()["acme.things"]
    for task in dag.tasks:
        assert not [name for name in task.template_fields if template in str(getattr(task, name))]
    plan = dag.get_task("plan")
    described, name = plan.described()  # type: ignore[attr-defined]
    assert open_source(described, name).config.shelf == template


def test_a_tenants_shared_connections_hold_for_operators_with_an_importer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Any
) -> None:
    store("importer_vault_api", SHARED)
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path))
    (tmp_path / "acme.yaml").write_text(
        "tenant: acme\nshared_connections: [vault_api]\npipelines:\n  things: {importer: vault_api}\n"
    )
    described, name = PlanOperator(task_id="plan", tenant="acme", importer="vault_api").described()
    found = connections.resolve(described, name)
    assert found is not None
    assert found["password"] == SHARED
    assert SHARED not in logging.Formatter().format(logging.makeLogRecord({"msg": "%s", "args": (found,)}))
