"""What the docs show is run, and what they generate is fresh.

A page is a session of a reader who has cloned the project and has a warehouse of their own. In order: a ```sh (or
```bash) block runs in bash; ```python as a program; ```sql in `importers sql`; ```yaml is written to the file that its
first line names. ```text must be what the block before it printed: its lines, in order, `…` or `*` standing for
anything, a line of `…` for several. Of `make` only `make -n` is run.

`<!-- run: COMMAND -->` is run and not shown. On the line before a block, `<!-- not run: REASON -->` leaves it out, and
`<!-- file: PATH -->` writes it there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import BaseModel, ValidationError

from importers.cli.sources import settings
from importers.core.tenant import Quarantine

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("include/**/*.md")])
BLOCK = re.compile(
    r"^(?:<!-- (?:not run: (?P<why>[^\n]+)|file: (?P<file>\S+)) -->\n)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$"
    r"|^<!-- run: (?P<hidden>[^\n]+) -->$",
    re.DOTALL | re.MULTILINE,
)
RUN = {"sh", "bash", "python", "sql"}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


class Block(NamedTuple):
    language: str
    text: str
    why_not: str | None = None
    file: str | None = None


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [
        Block("sh", match["hidden"] + "\n")
        if match["hidden"]
        else Block(match["language"], match["text"], match["why"], match["file"])
        for match in found
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


SESSIONS = [page for page in PAGES if any(not block.why_not for block in blocks(page))]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as a reader has it: what a page may write to is a copy."""
    for each in ("plugins", "dags", "tests/contract", "tests/services", "tests/support"):
        shutil.copytree(ROOT / each, tmp_path / each)
    for each in ("tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / each, tmp_path / each)
    for each in ("Makefile", "bench", "scripts", "pyproject.toml", "requirements-dev.txt"):
        (tmp_path / each).symlink_to(ROOT / each)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "include/samples/synthetic-listening").mkdir(parents=True)
    shutil.copytree(ROOT / "include/tenants", tmp_path / "include/tenants")
    (tmp_path / "include/samples/classic-rock").symlink_to(ROOT / "include/samples/classic-rock")
    return tmp_path


COLD = {"docs/add-a-source.md"}
"""It puts modules beside ours. On the others `importers` is warm: `make demo` starts cold."""


@pytest.fixture
def environment(page: Path, clone: Path, postgres: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Of somebody who has set nothing. The embedded server in their home is all pages' one, empty."""
    first = "" if name(page) in COLD else f"{request.getfixturevalue('warm')}:"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IMPORTERS_", "POSTGRES_URL"))}
    kept.pop("ENCRYPTION_KEY", None)
    (clone / ".importers").mkdir(mode=0o700)
    with psycopg.connect(postgres, autocommit=True) as connection:
        (data,) = connection.execute("select current_setting('data_directory')").fetchone() or ("",)
        (clone / ".importers/postgres").symlink_to(data)
        empty(connection)
        yield kept | {
            "PATH": f"{first}{Path(sys.executable).parent}:{kept['PATH']}",
            "PYTHONPATH": str(clone / "plugins"),  # before the project that is installed
        }
        empty(connection)


def empty(connection: psycopg.Connection) -> None:
    schemas = connection.execute(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('public', 'information_schema')"
    )
    for (schema,) in schemas.fetchall():
        connection.execute(SQL("drop schema {} cascade").format(Identifier(schema)))


@pytest.mark.parametrize("page", SESSIONS, ids=name)
def test_every_block_of_a_page_runs(page: Path, clone: Path, environment: dict[str, str]) -> None:
    said = ""
    for language, text, why_not, file in blocks(page):
        if why_not:
            continue
        if file:
            (clone / file).write_text(text)
        elif language == "text":
            missing = first_unsaid(text, said)
            assert missing is None, f"{missing!r} isn't in its place in:\n{said}"
        elif language == "yaml":
            first = re.match(r"# (\S+\.ya?ml)\n", text)
            assert first, "a YAML block begins with the name of its file"
            (clone / first.group(1)).write_text(text)
        else:
            assert language in RUN, f"a block of `{language}` isn't run: say why by <!-- not run: … -->"
            said = run(language, text, clone, environment)


def run(language: str, text: str, clone: Path, environment: dict[str, str]) -> str:
    if language in ("sh", "bash"):
        text = re.sub(r"^make ", "make -n ", text, flags=re.MULTILINE)
        command = ["bash", "-euo", "pipefail", "-c", text]
    elif language == "sql":
        command = ["importers", "sql", text]
    else:
        command = [sys.executable, "-c", text]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=clone, env=environment, text=True, timeout=800, check=False, **streams)
    assert done.returncode == 0, f"{text}\n{done.stdout}"
    return str(done.stdout)


def first_unsaid(shown: str, said: str) -> str | None:
    """The first line of `shown` that no line of `said` is, after those that the lines before it are."""
    lines = iter(" ".join(line.split()) for line in said.splitlines())
    for line in (" ".join(each.split()) for each in shown.splitlines()):
        pattern = ".*".join(re.escape(part) for part in re.split(r"…|\*+", line))
        if line.strip("….") and not any(re.fullmatch(pattern, each) for each in lines):
            return line
    return None


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("a 1\nb 2", None),
        ("b 2\na 1", "a 1"),
        ("a", "a"),
        ("a …\n…\nc *", None),
        ("a 1\nd", "d"),
    ],
)
def test_what_a_page_shows_is_compared_line_by_line_in_order(shown: str, missing: str | None) -> None:
    assert first_unsaid(shown, "a   1\nb 2\nc 3\n") == missing


def test_few_blocks_are_left_out_and_each_says_why(record_property: pytest.RecordProperty) -> None:
    """They are printed with -s and put into a report. The generated reference's are checked as it is written."""
    left_out = [
        f"{name(page)}: {block.text.splitlines()[0]}: {block.why_not}"
        for page in PAGES
        for block in blocks(page)
        if block.why_not and "docs/reference/" not in str(page)
    ]
    print(*left_out, sep="\n")
    record_property("blocks that aren't run", left_out)
    assert len(left_out) <= 12


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not lost


def test_the_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_nobody_described_stops_the_reference() -> None:
    sys.path.insert(0, str(ROOT))
    from scripts import reference

    class Silent(BaseModel):
        said: int

    silent = click.Command("silent", params=[click.Option(["--said"])])
    with pytest.raises(SystemExit, match=r"Silent\.said has no description"):
        reference._table(settings(Silent), "Silent")
    with pytest.raises(SystemExit, match="silent --said has no help"):
        list(reference._command(click.Context(silent, info_name="silent")))
    with pytest.raises(ValidationError):
        reference._example(Quarantine, "{max_fraction: 2}")


def test_every_documented_variable_is_explained() -> None:
    text = (ROOT / ".env.example").read_text()
    documented = (
        "POSTGRES_URL MONGODB_URL REDIS_URL SPOTIFY_CLIENT_ID SPOTIFY_CLIENT_SECRET LASTFM_API_KEY KAFKA_BROKERS"
        " PULSAR_URL ENCRYPTION_KEY JWT_SECRET IMPORTERS_HOME IMPORTERS_STAGING IMPORTERS_QUARANTINE IMPORTERS_TENANTS"
    )
    for name in documented.split():
        assert re.search(rf"^#?{name}=", text, re.MULTILINE), name


def test_every_variable_that_is_read_is_documented() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "plugins/importers").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", code))
    text = (ROOT / ".env.example").read_text()
    assert read
    assert not [name for name in read if not re.search(rf"^#?{name}=", text, re.MULTILINE)]
