"""The site as `make docs` builds it: whole, strict, and nothing in it comes from another host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+")
WIDGETS = {"mermaid", "glightbox", "pyodide", "arithmatex"}
"""Classes of elements for which the theme's script fetches a library from a host of its choice."""


def build(project: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "docs", copy / "docs")
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    done = build(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "site"


class _Loads(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page, and what makes the theme's script fetch more."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.widgets: set[str] = set()
        self.linked: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.fetched += [said[name] for name in ("src", "srcset", "poster", "data") if said.get(name)]
        self.fetched += re.findall(r"url\(['\"]?([^'\")]+)", said.get("style", ""))
        if tag == "link" and said.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(said.get("href", ""))
        if tag == "a":
            self.linked.add(said.get("href", "").partition("#")[0])
        self.widgets |= WIDGETS & set(said.get("class", "").split())


def loads(page: Path) -> _Loads:
    parser = _Loads()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    linked = {str((site / link).resolve().relative_to(site.resolve())) for link in loads(site / "index.html").linked}
    assert {str(page) for page in pages} <= linked


def test_a_page_loads_nothing_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = loads(page)
        assert loaded.fetched
        assert [address for address in loaded.fetched if ADDRESS.search(address)] == [], page
        assert loaded.widgets == set(), page
        files = [page.parent / address.partition("?")[0] for address in loaded.fetched if address[0] not in "/#"]
        assert [str(file) for file in files if not file.is_file()] == [], page


def test_no_stylesheet_or_drawing_loads_from_another_host(site: Path) -> None:
    fetched = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"]|(?:xlink:)?href=['\"])(?:https?:)?//")
    drawn = [file for kind in ("css", "svg") for file in site.rglob(f"*.{kind}")]
    assert drawn
    assert [str(file) for file in drawn if fetched.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](runbook.md#nowhere)"])
def test_a_broken_link_stops_the_build(project: Path, tmp_path: Path, link: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("site", ".cache"))
    (broken / "docs/broken.md").write_text(f"# Broken\n\n{link}\n")
    assert build(broken).returncode != 0
