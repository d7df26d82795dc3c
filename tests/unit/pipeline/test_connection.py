"""Which connection a pipeline gets, without Airflow: ids that can't be another's, variables, and what is shown."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import registered

from importers import get_importer
from importers.core.connection import Connection
from importers.core.registry import source_class, sources
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError
from importers.pipeline.connection import connection_ids, from_environment
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.lint import lint

PUBLIC = re.findall(
    r"\w+",
    """
    spotify_api lastfm_api soundcloud_api audio_features kafka pulsar redis_streams websocket azure_event_hubs
    postgresql mongodb redis elasticsearch clickhouse rest_api graphql twitter_api instagram_api tiktok_api webhook csv
    excel json jsonl parquet avro s3 feature_store mlflow tensorflow_datasets huggingface google_analytics mixpanel
    segment amplitude gdpr_requests audit_logs compliance_reports
    """,
)
SECRET = "kanarienvogel-77aa"


@pytest.fixture
def vault() -> Iterator[None]:
    registered.register()
    yield
    registered.unregister()


def tenant(name: str, importer: str = "vault_api", use: str | None = None, **more: Any) -> Tenant:
    settings: dict[str, Any] = {"importers": {importer: {"use": use}}} if use else {}
    return Tenant.model_validate({"tenant": name, "pipelines": {"things": {"importer": importer}}, **settings, **more})


def test_no_sources_name_ends_in_anothers() -> None:
    """What makes `importer_TENANT_SOURCE` say just one tenant and source."""
    names = {*PUBLIC, *sources()}
    assert not [(a, b) for a in names for b in names if a.endswith(f"_{b}")]


@pytest.mark.parametrize("other", PUBLIC)
def test_names_made_to_collide_do_not(other: str) -> None:
    for source in PUBLIC:
        aliased = connection_ids(tenant("acme", f"beta_{other}", use=source), "things")
        assert aliased.own != connection_ids(tenant(f"acme_{source}_beta", other), "things").own
        assert connection_ids(tenant("acme", other), "things").own != aliased.shared


def test_ids_are_as_they_are_documented() -> None:
    assert connection_ids(tenant("acme", "spotify_api"), "things")[:2] == (
        "importer_acme_spotify_api",
        "importer_spotify_api",
    )
    second = tenant("acme", "family", use="spotify_api")
    assert connection_ids(second, "things").own == "importer_acme_spotify_api.family"


def test_a_shared_connection_is_allowed_importer_by_importer() -> None:
    assert not connection_ids(tenant("acme"), "things").may_share
    assert connection_ids(tenant("acme", shared_connections=["vault_api"]), "things").may_share
    second = tenant("acme", "family", use="vault_api", shared_connections=["vault_api"])
    assert not connection_ids(second, "things").may_share


@pytest.mark.parametrize(
    "alias", ["", "a.b", "../importer_beta_vault_api", "{{ conn.x }}", "A", "a/b", "a" * 49, "a\n"]
)
def test_a_name_that_could_be_more_than_a_name_has_no_connection(alias: str) -> None:
    with pytest.raises(ConfigError, match="can't have a connection"):
        connection_ids(tenant("acme", alias, use="vault_api"), "things")


@pytest.mark.parametrize("source", sorted(sources()))
def test_no_setting_of_a_source_names_a_connection(source: str) -> None:
    fields = source_class(source).config_model.model_fields
    assert not [name for name in fields if re.search(r"(^|_)conn(ection)?(_id)?$", name)]


@pytest.mark.parametrize("source", sorted(sources()))
def test_the_variables_of_a_source_are_documented(source: str) -> None:
    documented, _, _ = (Path(__file__).parents[3] / ".env.example").read_text().partition("-- reserved")
    assert all(f"\n{name}=" in documented for name in source_class(source).environment.values())


@pytest.mark.parametrize("key", ["connection", "conn_id", "aws_conn_id", "vault_conn_id"])
def test_a_tenant_file_can_not_name_a_connection(key: str, tmp_path: Path, vault: None) -> None:
    file = tmp_path / "acme.yaml"
    text = "tenant: acme\npipelines:\n  things:\n    importer: vault_api\n    {0}\n"
    for line in (f"{key}: importer_beta_vault_api", f"config: {{{key}: importer_beta_vault_api}}"):
        file.write_text(text.format(line))
        (found,) = lint(file)
        assert found.where["line"] == 5
        assert key in str(found)


def test_lint_looks_at_what_may_be_shared(tmp_path: Path, vault: None) -> None:
    file = tmp_path / "acme.yaml"
    text = (
        "tenant: acme\nshared_connections:\n  - vault_api\n  - vault_ap\n  - csv\npipelines:\n"
        "  a: {importer: vault_api}\n  b: {importer: csv, config: {path: a.csv}}\n"
    )
    file.write_text(text)
    assert [(found.where["line"], found.what) for found in lint(file)] == [
        (4, "no pipeline has the importer 'vault_ap'"),
        (5, "'csv' takes no connection"),
    ]


def test_variables_make_a_connection(vault: None) -> None:
    environ = {"VAULT_ID": "me", "VAULT_SECRET": SECRET, "OTHER": "x"}
    assert from_environment(tenant("acme"), "things", environ) == {"login": "me", "password": SECRET}


def test_a_missing_variable_is_named(vault: None) -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment(tenant("acme"), "things", {"VAULT_ID": "me", "VAULT_SECRET": ""})
    said = str(caught.value)
    assert "Set VAULT_SECRET, or" in said
    assert "VAULT_ID" not in said
    assert "importer_acme_vault_api" in said


def test_a_source_that_can_do_without_gets_what_is_set(vault: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered.Vault, "connection_optional", True)
    assert from_environment(tenant("acme"), "things", {"VAULT_ID": ""}) is None
    assert from_environment(tenant("acme"), "things", {"VAULT_SECRET": SECRET}) == {"password": SECRET}


def test_a_source_that_needs_none_gets_none() -> None:
    assert from_environment(tenant("acme", "csv"), "things", {}) is None


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda value: f"{value!r:>200}"])
def test_a_connection_shows_no_value(show: Any) -> None:
    said = Connection({"login": "me", "password": SECRET, "token": None, "api": ""})
    for each in (said, copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        assert "password" in show(each)
        assert SECRET not in show(each)
        assert dict(each) == {"login": "me", "password": SECRET}


def test_neither_job_nor_importer_shows_it(vault: None, tmp_path: Path) -> None:
    connection = Connection({"password": SECRET})
    installation = Installation(tmp_path, "postgresql://nowhere", False, str(tmp_path), str(tmp_path))
    (job,) = jobs(installation, tenant("acme"), "things", (), connection)
    assert job.source.connection is connection
    importer = get_importer("vault_api", "acme", {"connection": {"password": SECRET}})
    assert SECRET not in f"{job!r} {job.source!r} {importer!r}"
    assert SECRET not in str(vars(importer))


def test_a_connection_in_config_is_a_mapping(vault: None) -> None:
    with pytest.raises(ConfigError, match="isn't a mapping") as caught:
        get_importer("vault_api", "acme", {"connection": SECRET})
    assert SECRET not in str(caught.value)
