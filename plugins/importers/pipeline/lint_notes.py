"""What a tenant's file says rightly, and perhaps not on purpose: lint tells it, and a run does as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from importers.core.model import LoadMode, Reads
from importers.core.registry import source_class, sources
from importers.core.schedule import WITHOUT_INTERVALS
from importers.core.settings import effective, importer_settings
from importers.core.source import Source
from importers.core.tenant import Pipeline
from importers.core.tenant_file import TenantFile
from importers.core.yaml_marks import KeyPath
from importers.exceptions import ConfigError

EACH_A_VERSION = "load.mode history without a cursor: each row that is read becomes a version, changed or not"
AND_SO = "set `load.cursor`, which tells that a row hasn't changed; or load.mode: merge if the last version is enough"


def notes(file: TenantFile) -> list[ConfigError]:
    """In the form of findings, which they aren't: nothing is refused for them."""
    found = []
    for name, pipeline in file.tenant.pipelines.items():
        source = _source(file, name)
        if source is not None:
            found += [*_history(file, name, pipeline, source), *_catching_up(file, name, pipeline, source)]
            found += [file.error(("pipelines", name, "config", at), what, do=do) for at, what, do in source.remarks()]
    return list({(error.where["line"], error.what): error for error in found}.values())


def rereads(importer: str, reads: Reads | None) -> bool:
    """Whether runs read rows again that have not changed, as far as that is known: a table in full, a day's file."""
    return reads is Reads.SNAPSHOT or sources().get(importer) == "files"


def _source(file: TenantFile, pipeline: str) -> Source[Any] | None:
    """Of what is wrong with its settings something is said elsewhere."""
    importer, settings = importer_settings(file.tenant, pipeline)
    if importer not in sources():
        return None
    cls = source_class(importer)
    try:
        return cls(cls.config_model.model_validate(settings), tenant=file.tenant.tenant, pipeline=pipeline)
    except ValidationError:
        return None


def _history(file: TenantFile, name: str, pipeline: Pipeline, source: Source[Any]) -> Iterator[ConfigError]:
    importer, settings = importer_settings(file.tenant, name)
    for stream in pipeline.streams or ("",):
        load = effective(file.tenant, name, stream).load
        cursor = load.cursor or settings.get("cursor")
        if load.mode is LoadMode.HISTORY and not cursor and rereads(importer, source.reads()):
            yield file.error(_place(file, name, stream), EACH_A_VERSION, do=AND_SO)


def _place(file: TenantFile, pipeline: str, stream: str) -> KeyPath:
    ours: KeyPath = ("pipelines", pipeline)
    own: KeyPath = (*ours, "streams", stream, "load", "mode")
    return own if own in file.lines else (*ours, "load", "mode")


def _catching_up(file: TenantFile, name: str, pipeline: Pipeline, source: Source[Any]) -> Iterator[ConfigError]:
    reads = source.reads()
    if not pipeline.catchup or pipeline.schedule in {None, *WITHOUT_INTERVALS} or reads is None:
        return
    modes = {effective(file.tenant, name, stream).load.mode or LoadMode.APPEND for stream in pipeline.streams or ("",)}
    dated = " or say by `interval` of which time a file is" if sources().get(pipeline.importer) == "files" else ""
    if LoadMode.REPLACE in modes or reads is Reads.SNAPSHOT:
        if reads is Reads.WINDOW:
            what = "a scheduled run reads an interval, and load.mode replace takes the whole source: it is refused"
            do = "set load.mode: merge or append, or leave `interval` out"
        else:
            what, do = "each interval's run reads all that there is now, the same again", "leave `catchup` out"
    elif reads is Reads.POSITION:
        what = "a run goes on from its position whatever the interval: the first reads everything, the others nothing"
        do = f"leave `catchup` out,{dated}" if dated else "leave `catchup` out"
        if LoadMode.APPEND in modes:
            what += "; and a backfill is refused, since it would append rows that such a run loads as well"
    else:
        return
    yield file.error(("pipelines", name, "catchup"), what, do=do)
