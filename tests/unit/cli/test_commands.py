"""The command line, as a person meets it: what it prints, where, and its exit code."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from importers.cli import quarantine
from importers.cli.answer import say_json, say_table
from importers.cli.main import main
from importers.core.model import Window
from importers.core.registry import sources
from importers.exceptions import (
    ConfigError,
    ContractError,
    FatalSourceError,
    ImporterError,
    MissingExtraError,
    PrivacyError,
    QualityError,
    RunAbortedError,
    RunBusyError,
    StagingError,
    TransientSourceError,
)
from importers.pipeline.held import Shown

FILE = """\
tenant: acme
pipelines:
  plays:
    importer: csv
    config: {path: [plays.csv]}
    load: {table: plays}
"""


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    (tmp_path / "acme.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path


def call(*args: str | Path, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], env=env)


COMMANDS = (
    "init",
    "profile",
    "lint",
    "connect",
    "plan",
    "preview",
    "run",
    "runs",
    "report",
    "quarantine",
    "sources",
    "schema",
    "sql",
    "sweep",
    "keygen",
)
HEAVY = ("airflow", "polars", "pyarrow", "pydantic", "sqlalchemy", "numpy", "rich", "ruamel", "great_expectations")


@pytest.mark.parametrize("args", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_answers_without_loading_what_only_runs_need(args: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('LOADED', [name for name in {HEAVY!r} if name in sys.modules]))\n"
        "from importers.cli.main import main\n"
        f"main({args!r}, prog_name='importers')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_names_every_command_and_the_exit_codes() -> None:
    output = call("--help").output
    assert all(f"\n  {command} " in output for command in COMMANDS)
    assert re.findall(r"^  (\d)  \S", output, re.MULTILINE) == list("01234")


@pytest.mark.parametrize("args", [["--help"], ["quarantine", "replay", "--help"]])
def test_help_imports_little_more_than_click_does(args: list[str]) -> None:
    """Modules, not seconds: they don't depend on what else the machine does."""

    def loaded(code: str) -> int:
        count = "import sys, atexit; atexit.register(lambda: print(len(sys.modules)))\n"
        done = subprocess.run([sys.executable, "-c", count + code], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    run = f"from importers.cli.main import main; main({args!r}, prog_name='importers')"
    assert loaded(run) <= loaded("import click, importlib.metadata") + 60


def test_version() -> None:
    assert version("airflow-provider-importers") in call("--version").output


def test_unknown_commands_and_arguments_are_usage_errors() -> None:
    assert call("lnt").exit_code == 2
    assert call("run").exit_code == 2
    assert call("run", "acme").exit_code == 2


# --- lint


def test_lint_is_silent_on_stdout_when_nothing_is_wrong(tenants: Path) -> None:
    done = call("lint", tenants)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 file checked: nothing wrong\n")


def test_lint_prints_a_line_a_finding(tenants: Path) -> None:
    (tenants / "acme.yaml").write_text(FILE.replace("plays.csv]", "plays.csv], pth: x").replace("load", "laod"))
    (tenants / "other.yaml").write_text("tenant: [")
    done = call("lint", tenants)
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{tenants}/acme.yaml:6: there is no setting `laod`")
    assert "Did you mean 'load'?" in first
    assert second.startswith(f"{tenants}/other.yaml:1: ")
    assert done.stderr == "2 files checked: 2 findings\n"


HISTORY = "    load: {mode: history, primary_key: id}\n"
DAILY = "    schedule: '@daily'\n    start: 2026-01-01\n    catchup: true\n"
CSV = "    importer: csv\n    config: {path: [plays.csv]}\n"
DATED = CSV.replace("]", "], interval: '%Y-%m-%d'")
TABLE = "    importer: postgresql\n    config: {tables: [plays], read: full}\n"
TAKEN = "    importer: s3\n    config: {bucket: acme, prefix: in, afterwards: delete}\n"


@pytest.mark.parametrize(
    ("pipeline", "line", "note"),
    [
        (CSV + HISTORY, 5, "load.mode history without a cursor: each row that is read becomes a version, changed or"),
        (TABLE + HISTORY, 5, "load.mode history without a cursor: each row that is read becomes a version, changed or"),
        (TABLE.replace("full", "cdc") + HISTORY, 0, ""),  # the log has what has changed
        (TABLE.replace("full", "incremental, cursor: at") + HISTORY, 0, ""),
        (CSV + HISTORY.replace("id", "id, cursor: at"), 0, ""),
        (CSV + DAILY, 7, "a run goes on from its position whatever the interval: the first reads everything, the"),
        (CSV + DAILY.replace("true", "false"), 0, ""),
        (DATED + DAILY, 0, ""),
        (DATED + DAILY + "    load: {mode: replace}\n", 7, "a scheduled run reads an interval, and load.mode replace"),
        (TABLE + DAILY, 7, "each interval's run reads all that there is now, the same again. Leave `catchup` out"),
        (TAKEN, 4, "`afterwards: delete` takes all that begins with 'in', also 'in2/…'. End `prefix` with '/'"),
        (TAKEN.replace("prefix: in", "prefix: in/"), 0, ""),
        (TAKEN.replace("prefix: in", "prefix: in, pattern: '*.csv'"), 0, ""),  # which stays before the next `/`
        (TAKEN.replace("delete", "keep"), 0, ""),
        ("    importer: lastfm_api\n    config: {user: rj}\n" + DAILY, 0, ""),  # which only its streams know
    ],
)
def test_lint_notes_what_is_allowed_and_perhaps_not_meant(tenants: Path, pipeline: str, line: int, note: str) -> None:
    said = "    privacy: {subject: {none: true, reason: songs}, columns: {'*': keep}, reason: songs}\n"
    (tenants / "acme.yaml").write_text("tenant: acme\npipelines:\n  plays:\n" + pipeline + said)
    done = call("lint", tenants)
    assert done.exit_code == 0, done.stdout
    notes = done.stdout.splitlines()
    assert [one.startswith(f"{tenants}/acme.yaml:{line + 1}: note: {note}") for one in notes] == [True] * bool(note)
    assert done.stderr == f"1 file checked: nothing wrong{', 1 note' if note else ''}\n"
    as_json = json.loads(call("lint", tenants, "--json").stdout)
    assert [one["level"] for one in as_json] == ["note"] * bool(note)


def test_lint_takes_the_directory_from_the_environment_or_the_convention(
    tenants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("lint", env={"IMPORTERS_TENANTS": str(tenants)}).stderr.startswith("1 file checked")
    (tenants / "include").mkdir()
    monkeypatch.chdir(tenants)
    missing = call("lint")
    assert (missing.exit_code, missing.stderr) == (1, "0 files checked: 1 finding\n")
    assert "include/tenants" in missing.stdout
    (tenants / "include/tenants").mkdir()
    assert call("lint").stderr == "no tenant file in include/tenants\n"


def test_lint_as_json(tenants: Path) -> None:
    assert json.loads(call("lint", tenants, "--json").stdout) == []
    (tenants / "acme.yaml").write_text(FILE.replace("load", "laod"))
    done = call("lint", tenants, "--json")
    (finding,) = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (finding["file"], finding["line"]) == (f"{tenants}/acme.yaml", 6)
    assert "did you mean 'load'?" in finding["do"]


def test_what_init_left_to_decide_is_a_finding(tenants: Path) -> None:
    (tenants / "acme.yaml").write_text(FILE + "    privacy: {purpose: TODO say what for}\n")
    done = call("lint", tenants)
    assert done.exit_code == 1
    assert "acme.yaml:7: `pipelines.plays.privacy.purpose` isn't decided yet. Say what for" in done.stdout


@pytest.mark.parametrize("command", [["lint"], ["run", "acme.plays"]])
def test_an_empty_variable_is_none(tenants: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tenants)  # whose files an empty path would find
    done = call(*command, env={"IMPORTERS_TENANTS": ""})
    assert "include/tenants" in done.output
    assert done.exit_code != 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QualityError, 1),
        (ContractError, 1),
        (PrivacyError, 1),
        (ConfigError, 2),
        (MissingExtraError, 2),
        (TransientSourceError, 3),
        (RunBusyError, 3),
        (StagingError, 3),
        (FatalSourceError, 4),
        (RunAbortedError, 4),
        (ImporterError, 4),
    ],
)
def test_an_exit_code_says_the_remedy(
    tenants: Path, monkeypatch: pytest.MonkeyPatch, error: type[ImporterError], code: int
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error("it failed")

    monkeypatch.setitem(sys.modules, "importers.api.runner", SimpleNamespace(run_pipeline=fails))
    assert call("run", "acme.plays", "--tenants", tenants).exit_code == code


def test_an_interrupted_command_has_found_nothing(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script tells Ctrl-C from bad data by the exit code."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "importers.api.runner", SimpleNamespace(run_pipeline=interrupted))
    done = call("run", "acme.plays", "--tenants", tenants)
    assert (done.exit_code, done.stderr.strip()) == (130, "Interrupted.")


def test_lint_never_prints_a_secret(tenants: Path) -> None:
    (tenants / "acme.yaml").write_text(FILE.replace("config: {", "config: {password: canary-4711, "))
    done = call("lint", tenants)
    assert done.exit_code == 1
    assert "canary" not in done.output


# --- sources, schema, keygen


def test_sources_lists_every_source_with_its_settings() -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("sources", "--json").stdout)}
    assert list(entries) == list(sources())
    path = {setting["name"]: setting for setting in entries["csv"]["settings"]}["path"]
    assert path["required"] is True
    assert path["description"]
    shown = call("sources", "csv").stdout
    assert "csv (files)" in shown
    assert all(setting["name"] in shown for setting in entries["csv"]["settings"])
    assert "parquet" not in shown


def test_a_source_that_is_not_there() -> None:
    done = call("sources", "csw")
    assert done.exit_code == 2
    assert "Did you mean 'csv'?" in done.stderr
    assert "Traceback" not in done.output


def test_schema_prints_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(call("schema").stdout))


def test_keygen_prints_a_fresh_key_of_32_bytes() -> None:
    keys = {call("keygen").stdout for _ in range(3)}
    assert len(keys) == 3
    assert all(len(base64.b64decode(key.strip(), validate=True)) == 32 for key in keys)


# --- run

OUTCOME = SimpleNamespace(
    run=1,
    stream="acme.plays.plays",
    table="acme.plays",
    rows_read=1210,
    rows_loaded=1200,
    rows_quarantined=8,
    rows_suppressed=2,
    position={"": "canary@example.org"},
    receipts=(),
    timings={"plan": 0.5, "load": 1.25},
    lineage=(),
    rules={"expect_column_values_to_not_be_null(id)": 5, "malformed": 3},
    lag={"plays/0": 4_321, "plays/1": 0},
    notes=("a file has changed",),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command asked of the runner, which here does nothing."""
    calls: list[dict[str, Any]] = []

    def run_pipeline(tenant: Any, pipeline: str, progress: Callable[[Any], None], **rest: Any) -> list[Any]:
        calls.append({"tenant": tenant.tenant, "pipeline": pipeline, **rest})
        return [OUTCOME]

    monkeypatch.setitem(sys.modules, "importers.api.runner", SimpleNamespace(run_pipeline=run_pipeline))
    return calls


def test_run_passes_on_what_was_said(tenants: Path, asked: list[dict[str, Any]]) -> None:
    window = ("--start", "2026-01-01T00:00+00:00", "--to", "2026-01-02T01:00+01:00")
    options = ("--stream", "a", "--stream", "b", "--key", "k", "--full-refresh", *window)
    assert call("run", "acme.plays", "--tenants", tenants, *options).exit_code == 0
    assert call("run", "acme.plays", env={"IMPORTERS_TENANTS": str(tenants)}).exit_code == 0
    common = {"tenant": "acme", "pipeline": "plays"}
    day = Window("2026-01-01T00:00:00+00:00", "2026-01-02T01:00:00+01:00")
    assert asked == [
        {**common, "streams": ("a", "b"), "key": "k", "full_refresh": True, "window": day},
        {**common, "streams": None, "key": None, "full_refresh": False, "window": Window()},
    ]


@pytest.mark.parametrize("window", [("--from", "soon"), ("--from", "2026-01-02")])
def test_run_refuses_a_window_that_is_none(tenants: Path, asked: list[dict[str, Any]], window: tuple[str, ...]) -> None:
    assert call("run", "acme.plays", "--tenants", tenants, *window).exit_code == 2
    assert asked == []


def test_a_moment_without_an_offset_is_told_how_to_write_it(tenants: Path, asked: list[dict[str, Any]]) -> None:
    for said, written in (("2026-11-01", "2026-11-01T00:00:00"), ("2026-11-01T06:30", "2026-11-01T06:30:00")):
        told = call("run", "acme.plays", "--tenants", tenants, "--to", said).stderr
        assert f"{written}+00:00 is UTC" in told
        assert call("run", "acme.plays", "--tenants", tenants, "--to", f"{written}+00:00").exit_code == 0
    assert len(asked) == 2


def test_a_window_that_ends_before_it_begins_is_refused(tenants: Path, asked: list[dict[str, Any]]) -> None:
    """By moments, not by letters: the first pair is an hour, and the second one none."""
    hour = ("--from", "2026-01-02T01:00+02:00", "--to", "2026-01-02T00:00+00:00")
    assert call("run", "acme.plays", "--tenants", tenants, *hour).exit_code == 0
    none = ("--from", "2026-01-02T00:00+00:00", "--to", "2026-01-02T01:00+02:00")
    failed = call("run", "acme.plays", "--tenants", tenants, *none)
    assert failed.exit_code == 2
    assert "`--to` is before `--from`" in failed.stderr
    assert len(asked) == 1


def test_run_tells_rows_rules_and_seconds_and_no_position(tenants: Path, asked: list[dict[str, Any]]) -> None:
    output = call("run", "acme.plays", "--tenants", tenants).stdout
    for word in (
        "1,210",
        "1,200",
        "acme.plays",
        "a file has changed",
        "5 quarantined by expect_column_values_to_not_be_null(id)",
        "1.75",
    ):
        assert word in output
    as_json = call("run", "acme.plays", "--tenants", tenants, "--json").stdout
    (row,) = json.loads(as_json)
    assert (row["rows_read"], row["rows_loaded"], row["rows_quarantined"], row["rows_suppressed"]) == (1210, 1200, 8, 2)
    assert row["quarantined_by_rule"]["malformed"] == 3
    assert row["notes"] == ["a file has changed"]
    assert row["seconds"] == {"plan": 0.5, "load": 1.25}
    assert row["seconds_total"] == 1.75
    assert "4,321 messages are unread: plays/0 4,321\n" in output
    assert row["lag"] == {"plays/0": 4321, "plays/1": 0}
    assert "canary" not in output + as_json


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("acne.plays", ["no tenant 'acne'", "Did you mean 'acme'"]),
        ("acme.play", ["no pipeline 'play'", "Did you mean 'plays'"]),
    ],
)
def test_run_of_what_is_not_there(tenants: Path, asked: list[dict[str, Any]], job: str, words: list[str]) -> None:
    done = call("run", job, "--tenants", tenants)
    assert done.exit_code == 2
    assert all(word in done.stderr for word in words)
    assert asked == []


@pytest.mark.parametrize("command", [["runs"], ["runs", "acme"], ["quarantine", "list"], ["run", "acme.plays"]])
def test_where_there_is_no_directory_of_tenants(command: list[str], tmp_path: Path) -> None:
    done = call(*command, "--tenants", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "there is no directory" in done.stderr
    assert "IMPORTERS_TENANTS" in done.stderr


@pytest.mark.parametrize("group", [[], ["quarantine"]])
def test_the_list_of_commands_cuts_no_sentence(group: list[str]) -> None:
    shown = call(*group, "--help")
    assert shown.exit_code == 0
    assert "Commands:" in shown.stdout
    assert "..." not in shown.stdout.split("Commands:")[1]


def test_run_of_a_wrong_setting_names_its_line(tenants: Path, asked: list[dict[str, Any]]) -> None:
    (tenants / "acme.yaml").write_text(FILE.replace("path:", "pth:"))
    done = call("run", "acme.plays", "--tenants", tenants)
    assert done.exit_code == 2
    assert "acme.yaml:5: csv: there is no setting `pth`. Did you mean 'path'?" in done.stderr
    assert asked == []


def test_a_failed_run_is_one_message(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise QualityError("too many bad rows", got="12 of 100", do="look into quarantine", tenant="acme")

    monkeypatch.setitem(sys.modules, "importers.api.runner", SimpleNamespace(run_pipeline=fails))
    done = call("run", "acme.plays", "--tenants", tenants)
    assert done.exit_code == 1
    assert done.stderr == "Error: acme: too many bad rows; got 12 of 100. Look into quarantine\n"
    assert done.stdout == ""


def test_what_is_copied_from_a_table_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path, rule = "/".join(["a_directory_with_a_long_name"] * 6), "expect_column_values_to_be_between(score)"
    prose = "7 × " + " ".join(["so many words that no line holds them"] * 6)
    say_table(("reads", "why", "more", "rows"), [(path, f"5 × {rule}, 3 × {rule}", prose, 1234)])
    told = capsys.readouterr().out
    assert path in told
    assert told.count(rule) == 2
    assert "1,234" in told
    assert len(told.splitlines()) > 2  # prose breaks between words


def test_nothing_in_a_cell_is_a_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A title, a colour, an erased screen, a line that is written over, and letters read the other way round."""
    say_table(["a\x1b[31m"], [["\x1b]0;owned\x07"], ["\x1b[2J\x9b0m"], ["paid\rfree"], ["\u202efdp"], ["tab\tstays"]])
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\r\u202e")
    assert [line.strip() for line in out.splitlines()] == [
        "a\\u001b[31m",
        "\\u001b]0;owned\\u0007",
        "\\u001b[2J\\u009b0m",
        "paid\\u000dfree",
        "\\u202efdp",
        "tab     stays",
    ]


def test_bytes_are_no_text_of_python_s(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["secret"], [[b"\x01\xff"]], counts=False)
    say_json({"secret": b"\x01\xff"})
    assert "(2 bytes)" in (out := capsys.readouterr().out)
    assert json.loads(out[out.index("{") :]) == {"secret": "Af8="}


@pytest.mark.parametrize("data", [[1, 2], [{"a": 1}], [None], ["a", "b"], {"a": [{"b": "ü"}]}])
def test_nested_values_in_quarantine_are_shown_as_json(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pa.table({"_rules": [["one(id)", "two(id)"]], "id": [-2], "x": [data]})
    rejects = pa.table({"_location": ["x.json:record 1"], "_reason": ["torn"], "_raw": ["{"]})
    held = SimpleNamespace(stream="acme.p.t", run=1, file=SimpleNamespace(partition=0, reasons={"one(id)": 1}))
    quarantine._show(Shown(held, rows, rejects))  # type: ignore[arg-type]
    _, headings, row, _, reject, _ = capsys.readouterr().out.splitlines()
    assert headings.split() == ["rules", "id", "x"]
    told = re.fullmatch(r"one\(id\), two\(id\) +-2 +(.+?) *", row)
    assert told is not None
    assert json.loads(told[1]) == data
    assert reject.split() == ["x.json:record", "1", "torn", "{"]
