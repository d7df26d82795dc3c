"""What the docs show is run, and what they generate is fresh.

In a page, in order: a ```sh block runs in bash; ```python as a program; ```yaml is written to the file that its first
line names; ```text must be what the block before it printed, `*` standing for anything. Blocks of `make` are looked up
by `make -n`. Blocks of ```sql run in `importers sql`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("include/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = {"sh", "python", "yaml", "text", "sql", "mermaid"}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home for all pages, so that only one embedded server is made."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IMPORTERS_", "POSTGRES_URL"))}
    kept.pop("ENCRYPTION_KEY", None)
    home = str(tmp_path_factory.mktemp("docs") / "home")
    made = kept | {"IMPORTERS_HOME": home, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}
    # so that a page may look into the ledger, whichever is the first
    subprocess.run(["importers", "run", "classic_rock_fm.songs"], cwd=ROOT, env=made, check=True, timeout=120)
    return made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as a reader has it, apart from what they write."""
    for name in ("Makefile", "bench", "plugins", "scripts", "dags", "pyproject.toml", "requirements-dev.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "include/samples/synthetic-listening").mkdir(parents=True)
    shutil.copytree(ROOT / "include/tenants", tmp_path / "include/tenants")
    (tmp_path / "include/samples/classic-rock").symlink_to(ROOT / "include/samples/classic-rock")
    return tmp_path


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, clone: Path, environment: dict[str, str]) -> None:
    said = ""
    for language, text in blocks(page):
        assert language in RUN, f"a block of `{language}` isn't run"
        if language == "mermaid":
            continue
        if language == "text":
            missing = [line for line in text.splitlines() if not is_said(line, said)]
            assert not missing, f"{missing} isn't in:\n{said}"
        elif language == "yaml":
            first = re.match(r"# (\S+\.ya?ml)\n", text)
            assert first, "a YAML block begins with the name of its file"
            (clone / first.group(1)).write_text(text)
        else:
            said = run(language, text, clone, environment)


def run(language: str, text: str, clone: Path, environment: dict[str, str]) -> str:
    if language == "sh":
        text = re.sub(r"^make ", "make -n ", text, flags=re.MULTILINE)
        command = ["bash", "-euo", "pipefail", "-c", text]
    elif language == "sql":
        command = ["importers", "sql", text]
    else:
        command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def is_said(line: str, said: str) -> bool:
    pattern = f"*{' '.join(line.split())}*"
    return any(fnmatch.fnmatchcase(" ".join(each.split()), pattern.replace("[", "[[]")) for each in said.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not lost


def test_the_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
