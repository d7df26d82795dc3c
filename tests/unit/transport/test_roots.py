"""Where a tenant's files may lie: by `..`, a link or a pattern nobody comes to another tenant's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from importers.core.model import Reads, Stream, Window
from importers.core.source import Source
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError
from importers.pipeline.job import open_source
from importers.transport.files import Files, look
from importers.transport.roots import Roots

SECRET = "globex_payroll"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two tenants' directories, whose neighbour's name begins alike, and a third that both may read."""
    for name in ("acme", "acme_2", "globex", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("id\n1\n")
    (tmp_path / "globex" / f"{SECRET}.csv").write_text("id\n2\n")
    return tmp_path


@pytest.fixture
def files(data: Path) -> Files:
    return Files(roots=Roots.of("acme", {"IMPORTERS_FILES": f"{data}/{{tenant}}, {data}/shared/"}))


def test_without_a_word_any_file_may_be_read(data: Path) -> None:
    everywhere = Files(roots=Roots.of("acme", {}))
    assert len(everywhere.find([f"{data}/*/a.csv"])) == 4


@pytest.mark.parametrize("pattern", ["acme/a.csv", "acme/*.csv", "shared/a.csv", "shared/**/*.csv", "acme_2/../acme/*"])
def test_what_lies_below_is_read(files: Files, data: Path, pattern: str) -> None:
    (found,) = files.find([f"{data}/{pattern}"])
    with files.opened(found) as opened:
        assert opened.read() == b"id\n1\n"


@pytest.mark.parametrize(
    "pattern", ["globex/*.csv", "acme/../globex/*.csv", "*/a.csv", "acme_2/a.csv", "[a]cme/a.csv", "globex/payroll.cs"]
)
def test_what_lies_elsewhere_is_neither_found_nor_named(files: Files, data: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"may lie.*IMPORTERS_FILES") as refused:
        files.find([f"{data}/{pattern}"])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("link", "to", "pattern"),
    [
        ("b.csv", f"globex/{SECRET}.csv", "*.csv"),
        ("b.csv", f"globex/{SECRET}.csv", "b.csv"),
        ("way", "globex", "way/*.csv"),
        ("way", "globex", "**/*.csv"),
        ("way", "globex", "*/a.csv"),
    ],
)
def test_a_link_that_leads_away_is_named_and_not_followed(
    files: Files, data: Path, link: str, to: str, pattern: str
) -> None:
    (data / "acme" / link).symlink_to(data / to)
    with pytest.raises(ConfigError, match=rf"/acme/{link}' isn't where .* or a link there leads away") as refused:
        files.find([f"{data}/acme/{pattern}"])
    assert SECRET not in str(refused.value)


def test_a_file_that_has_become_a_link_since_it_was_planned_isn_t_opened(files: Files, data: Path) -> None:
    path = data / "acme" / "a.csv"
    planned = look(str(path))
    path.unlink()
    path.symlink_to(data / "globex" / "a.csv")
    for opening in (files.opened, files.front_to_back, files.as_utf8):
        with pytest.raises(ConfigError, match="leads away"), opening(planned):
            pass


def test_an_allowed_directory_may_itself_be_a_link(files: Files, data: Path) -> None:
    (data / "disk").symlink_to(data / "acme")
    linked = Files(roots=Roots.of("acme", {"IMPORTERS_FILES": f"{data}/disk"}))
    assert len(linked.find([f"{data}/acme/*.csv"])) == len(linked.find([f"{data}/disk/*.csv"])) == 1


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("s3://lake/acme", True),
        ("s3://lake/acme/2026", True),
        ("s3://lake/acme2", False),
        ("s3://lake", False),
        ("s3://lake2/acme", False),
        ("/lake/acme", False),
    ],
)
def test_buckets_are_judged_by_how_keys_begin(path: str, *, allowed: bool) -> None:
    roots = Roots.of("acme", {"IMPORTERS_FILES": "s3://lake/{tenant}"})
    if allowed:
        roots.check(path)
    else:
        with pytest.raises(ConfigError):
            roots.check(path)


def test_that_nothing_is_named_allows_nothing() -> None:
    with pytest.raises(ConfigError, match="below nothing"):
        Roots.of("acme", {"IMPORTERS_FILES": " , "}).check("/")


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_pipeline_is_held_to_its_tenant_s(data: Path, monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    monkeypatch.setenv("IMPORTERS_FILES", f"{data}/{{tenant}}")
    with closing(source(tenant, "csv", path=f"{data}/acme/a.csv")) as opened:
        if tenant == "acme":
            assert [stream.name for stream in opened.streams()] == ["a"]
        else:
            with pytest.raises(ConfigError, match="tenant 'globex' may lie"):
                opened.streams()


def test_a_schema_to_read_by_is_a_file_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTERS_FILES", f"{data}/{{tenant}}")
    (data / "acme" / "a.avro").touch()
    said = {"path": f"{data}/acme/a.avro", "reader_schema": f"{data}/globex/a.csv"}
    with closing(source("acme", "avro", **said)) as opened, pytest.raises(ConfigError, match=r"globex/a.csv' isn't"):
        opened.streams()


def test_nothing_is_moved_to_another_tenant_s_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked: the place is refused before a bucket is listed. `acme` and a name would be `acmex.csv`."""
    monkeypatch.setenv("IMPORTERS_FILES", "s3://lake/{tenant}")
    for to in ("globex/", "acme"):
        said = {"prefix": "acme/in/", "format": "csv", "afterwards": "move", "move_to": to}
        with (
            closing(source("acme", "s3", bucket="lake", **said)) as opened,
            pytest.raises(ConfigError, match=f"s3://lake/{to}"),
        ):
            opened.plan(Stream("a", (), Reads.POSITION), Window(), {})


def source(tenant: str, importer: str, **config: str) -> Source[Any]:
    pipelines = {"p": {"importer": importer, "config": config}}
    return open_source(Tenant.model_validate({"tenant": tenant, "pipelines": pipelines}), "p")
