"""What Airflow's providers manager makes of the package, and the command line that it adds."""

from __future__ import annotations

import json
import subprocess
import sys
from contextvars import copy_context
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from jsonschema import validate

from importers import airflow_commands
from importers.cli.main import main
from importers.get_provider_info import get_provider_info
from importers.hooks.forms import CONNECTION_TYPES

OURS = "airflow-provider-importers"
CUSTOMISED = Path(airflow.__path__[0]) / "customized_form_field_behaviours.schema.json"


FORKS = """if True:  # Airflow's imports take seconds: each command is a fork of one process that has them
    import json, os, sys
    from airflow.__main__ import main
    from airflow.cli.commands import provider_command
    for words, file in json.loads(sys.argv[1]):
        if not (child := os.fork()):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), 1)
            sys.argv = ["airflow", *words]
            try:
                main()
            finally:
                sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, words
"""


def airflow_says(place: Path, *commands: tuple[str, ...]) -> list[str]:
    """What each command of `airflow` prints."""
    files = [place / str(number) for number, _ in enumerate(commands)]
    asked = json.dumps([*zip(commands, map(str, files), strict=True)])
    done = subprocess.run([sys.executable, "-c", FORKS, asked], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return [file.read_text() for file in files]


def test_every_module_that_it_names_is_there() -> None:
    info = get_provider_info()
    named = [name for part in ("operators", "hooks") for each in info[part] for name in each["python-modules"]]
    root = Path(airflow_commands.__file__).parents[1]
    assert not [name for name in named if not (root / f"{name.replace('.', '/')}.py").exists()]
    assert {form["hook-class-name"].split(".")[2] for form in CONNECTION_TYPES} == {
        path.stem for path in (root / "importers/hooks").glob("*.py")
    } - {"__init__", "connections", "deployment", "forms", "http"}


def test_the_forms_are_what_airflow_draws() -> None:
    manager = ProvidersManager()
    hooks = ProvidersManagerTaskRuntime().hooks
    schema = json.loads(CUSTOMISED.read_text())
    for form in CONNECTION_TYPES:
        kind = form["connection-type"]
        hook = hooks[kind]
        assert hook is not None
        assert (hook.package_name, hook.hook_name, hook.connection_testable) == (OURS, form["hook-name"], True)
        drawn = manager.field_behaviours[kind]
        validate(drawn, schema)
        assert "password" in drawn["relabeling"]
    widgets = manager.connection_form_widgets
    assert widgets["extra__spotify__refresh_token"].is_sensitive
    assert not widgets["extra__spotify__token_address"].is_sensitive


def test_no_form_shows_a_secret_as_plain_text() -> None:
    for form in CONNECTION_TYPES:
        for name, described in form.get("conn-fields", {}).items():
            if "token" in name and "address" not in name:
                assert described["schema"]["format"] == "password", (form["connection-type"], name)


def test_airflow_has_the_provider_its_hooks_and_its_command(tmp_path: Path) -> None:
    providers, hooks, one, sources, helps = airflow_says(
        tmp_path,
        ("providers", "list", "-o", "json"),
        ("providers", "hooks", "-o", "json"),
        ("providers", "get", OURS, "--full", "-o", "json"),
        ("importers", "sources", "--json", "csv"),
        ("importers", "lint", "--help"),
    )
    listed = {each["package_name"]: each for each in json.loads(providers)}
    assert listed[OURS]["version"] == "0.1.0"
    assert {each["connection_type"] for each in json.loads(hooks) if each["package_name"] == OURS} == {
        "amplitude", "instagram", "lastfm", "mixpanel", "segment", "soundcloud", "spotify", "tiktok", "twitter",
    }  # fmt: skip
    (got,) = json.loads(one)
    assert got["name"] == "Importers"
    assert [each["name"] for each in json.loads(sources)] == ["csv"]
    assert "Usage: airflow importers lint" in helps


@pytest.mark.parametrize(
    "words", [("run", "--json", "acme.things"), ("sources", "--json"), ("run", "--help"), (), ("a", "--", "-x")]
)
def test_airflows_parser_leaves_the_words_as_they_are(words: tuple[str, ...]) -> None:
    from airflow.cli.cli_parser import get_parser

    parsed: Any = get_parser().parse_args(["importers", *words])
    assert parsed.arguments == list(words)


def test_a_command_that_is_added_is_there_too(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import click

    @click.command("added")
    @click.option("--loud", is_flag=True)
    def added(loud: bool) -> None:
        click.echo(f"added, loud {loud}")

    from airflow.cli.cli_parser import get_parser

    monkeypatch.setitem(main.commands, "added", added)
    monkeypatch.setenv("IMPORTERS_TENANTS", "here")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    monkeypatch.setenv("POSTGRES_URL", "")
    parsed: Any = get_parser().parse_args(["importers", "added", "--loud"])
    with pytest.raises(SystemExit) as ended:
        copy_context().run(parsed.func, parsed)  # where connections are found is its process's, not the next test's
    assert ended.value.code == 0
    assert capsys.readouterr().out == "added, loud True\n"


def test_every_airflow_command_pays_little_for_ours() -> None:
    """`airflow --help` reads the provider's description and its command; neither brings ours or a hook along."""
    program = """if True:
        import sys
        import airflow.cli.cli_config
        before = set(sys.modules)
        from importers.airflow_commands import commands
        from importers.get_provider_info import get_provider_info
        commands(); get_provider_info()
        print(*sorted(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True)
    assert set(done.stdout.split()) <= {
        "importers", "importers.airflow_commands", "importers.get_provider_info", "importers.hooks",
        "importers.hooks.forms",
    }  # fmt: skip
