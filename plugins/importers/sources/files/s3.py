"""Objects of a bucket, in any format that files have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Self, cast

import pyarrow as pa
from pydantic import Field, ValidationError, model_validator

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.model import JSON, Batch, LoadMode, Plan, Position, Reject, Stream, Window
from importers.core.names import did_you_mean, few
from importers.core.parts import Place
from importers.core.registry import source_class, sources
from importers.core.source import Source, SourceConfig
from importers.exceptions import ConfigError
from importers.sources.files._bucket import ENVIRONMENT, ENVIRONMENT_BESIDES, role_of
from importers.transport.files import File, Files, fixed_directory
from importers.transport.http.address import encrypted
from importers.transport.roots import Roots
from importers.transport.s3 import Found, bucket_and_key, matches

DONE = "afterwards"
"""In a lane's value: what was done with the object, seen by a later plan. Nothing is asked of it again."""


class Afterwards(StrEnum):
    """What becomes of an object once its rows are committed."""

    KEEP = "keep"
    TAG = "tag"
    MOVE = "move"
    DELETE = "delete"


class S3Config(SourceConfig):
    """What isn't said here is said in the format's own `settings`.

    A path `s3://…` of the format's own source reads the same objects, and leaves them as they are.
    """

    bucket: str = Field(description="The bucket's name.", examples=["acme-exports"])
    prefix: str = Field("", description="What the objects' keys begin with, such as `plays/`.", examples=["plays/"])
    pattern: str = Field(
        "**",
        min_length=1,
        description="Which keys after the prefix: `*` and `?` stay within a `/`, `**/` is any number of directories. "
        "By default all.",
        examples=["*.csv"],
    )
    format: str = Field(
        "csv", description="How the objects are written: `csv`, `json`, `jsonl`, `parquet`, `avro`, `excel`."
    )
    settings: dict[str, Any] = Field(
        {}, description="The settings of that source but `path`: `stream`, `types`, `compression`, `delimiter` …"
    )
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Another server that speaks S3, at https:// (http:// on this machine only). Default: the "
        "connection's, or AWS.",
    )
    region: str | None = Field(None, description="The bucket's region. Default: the connection's.")
    requester_pays: bool = Field(False, description="Whether the reader's account pays for requests and transfer.")
    afterwards: Afterwards = Field(
        Afterwards.KEEP,
        description="What becomes of an object once its rows are committed: `keep`, `tag`, `move` or `delete`. What a "
        "crash leaves undone, the next run does, and what earlier runs have loaded goes, too: notes say so. One that "
        "comes again with the same bytes counts as loaded. Where a name comes again with other rows, append takes it "
        "with `on_change: reload` in `settings`. An archive goes as a whole, with what `members` leaves out of it.",
    )
    tags: dict[str, str] = Field({"imported": "true"}, min_length=1, description="The tags that `tag` adds.")
    move_to: str | None = Field(
        None, description="The prefix that `move` puts in place of the objects' own.", examples=["loaded/"]
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        formats = {name for name, family in sources().items() if family == "files"} - {"s3"}
        if self.format not in formats:
            raise ValueError(f"there is no format '{self.format[:40]}'; {did_you_mean(self.format, formats)}")
        if "path" in self.settings:
            raise ValueError("`settings` has a `path`; say bucket, prefix and pattern")
        try:
            if self.endpoint is not None:
                encrypted(self.endpoint)
            bucket_and_key(self.path)
            source_class(self.format).config_model.model_validate({**self.settings, "path": self.path})
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            raise ValueError(f"settings.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if self.afterwards is not Afterwards.KEEP and isinstance(self.settings.get("records"), list):
            raise ValueError(
                "`afterwards` would take an object away before each of `records` is read from it: `keep` it"
            )
        if (self.afterwards is Afterwards.MOVE) != (self.move_to is not None):
            raise ValueError("`move_to` goes with `afterwards: move`")
        if self.move_to is not None:
            below = self.path.removeprefix(fixed_directory(self.path)).lstrip("/")
            moved = self.move_to + re.sub(r"\*+|\?|\[[^\]]*\]", "x", below)
            if matches(bucket_and_key(self.path)[1]).fullmatch(moved):
                raise ValueError("the pattern matches what lies at `move_to`: what is moved there would be read again")
        return self

    @property
    def path(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}{self.pattern}"


class S3(Source[S3Config]):
    """An object is known by its ETag: only what is new or has changed is read, by ranges of that ETag."""

    title: ClassVar[str] = "Objects of a bucket (S3)"
    config_model = S3Config
    extra: ClassVar[str | None] = "s3"
    ordered: ClassVar[bool] = True
    connection_type: ClassVar[str | None] = "aws"
    environment: ClassVar[Mapping[str, str]] = ENVIRONMENT
    environment_besides: ClassVar[Mapping[str, str]] = ENVIRONMENT_BESIDES

    @classmethod
    def from_hook(cls, hook: Any) -> Mapping[str, JSON]:
        return role_of(hook)

    @cached_property
    def _reader(self) -> Source[Any]:
        """The format's own source, which knows nothing of what becomes of the objects."""
        setting = self.config
        said = dict(self.connection or {})
        said |= {"endpoint_url": setting.endpoint} if setting.endpoint else {}
        said |= {"region_name": setting.region} if setting.region else {}
        cls = source_class(setting.format)
        config = cls.config_model.model_validate({**setting.settings, "path": setting.path})
        connection = Connection({**said, "requester_pays": setting.requester_pays})
        return cls(config, tenant=self.tenant, connection=connection)

    @cached_property
    def _files(self) -> Files:
        return Files(self._reader.connection, roots=Roots.of(self.tenant))

    def close(self) -> None:
        close_kept(self, "_files")
        close_kept(self, "_reader")

    def reach(self) -> str:
        return self._reader.reach()

    def sparse(self) -> bool:
        return self._reader.sparse()

    def reads_parts(self) -> bool:
        return self._reader.reads_parts()

    def streams(self) -> Sequence[Stream]:
        return self._reader.streams()

    def delivered(self, stream: Stream, window: Window, position: Position) -> Stream:
        return self._reader.delivered(stream, window, position)

    def parts(self, stream: Stream, window: Window, position: Position) -> Sequence[Place]:
        return self._reader.parts(stream, window, position)

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        if self.config.afterwards is not Afterwards.KEEP and stream.load_mode is LoadMode.REPLACE:
            raise ConfigError(
                "a table that each run replaces needs all objects again",
                got=f"afterwards: {self.config.afterwards}",
                do="write `afterwards: keep`, or load with mode merge or append",
                stream=stream.name,
            )
        if self.config.move_to is not None:  # what keys begin with: `acme` isn't below acme/
            Roots.of(self.tenant).check(f"s3://{self.config.bucket}/{self.config.move_to}…")
        plan = self._reader.plan(stream, window, position)
        if self.config.afterwards is Afterwards.KEEP or window.bounded:
            return plan
        undone = self._undone(position)
        if self.config.afterwards is not Afterwards.TAG:
            return replace(plan, notes=(*plan.notes, *self._still_there(undone, position)))
        tagged = [file for file in undone if self._is_tagged(file)]
        done = {f.lane: {**cast("Any", position[f.lane]), **f.identity, DONE: "tag"} for f in tagged}
        return replace(plan, position={**done, **plan.position})

    def _still_there(self, undone: Sequence[File], position: Position) -> Iterator[str]:
        """Said before they go: of those that came again, whoever sent them may want them read."""
        goes = "moved" if self.config.afterwards is Afterwards.MOVE else "deleted"
        again = [file.path for file in undone if file.mtime_ns != cast("Any", position[file.lane]).get("mtime_ns")]
        before = [file.path for file in undone if file.path not in again]
        if before:
            yield f"loaded by earlier runs, and {goes} once this one is committed: {few(before)}"
        if again:
            yield f"put there again with the bytes that were loaded, so not read again, and {goes}: {few(again)}"

    def remarks(self) -> Iterator[tuple[str, str, str]]:
        begins, goes = self.config.prefix, self.config.afterwards in (Afterwards.MOVE, Afterwards.DELETE)
        if goes and begins.rpartition("/")[2] and self.config.pattern.startswith("**"):
            what = f"`afterwards: {self.config.afterwards}` takes all that begins with '{begins}', also '{begins}2/…'"
            yield "prefix", what, "end `prefix` with '/', unless that is meant"

    def knows(self, partition: JSON) -> bool:
        return self._reader.knows(partition)

    def describe(self, partition: JSON) -> tuple[str, int | None]:
        return self._reader.describe(partition)

    def unchanging(self, partition: JSON) -> Mapping[str, JSON] | None:
        return self._reader.unchanging(partition)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        return self._reader.read(stream, partition)

    def reread(self, stream: Stream, partition: JSON, rejects: Sequence[Reject]) -> Sequence[pa.RecordBatch | None]:
        return self._reader.reread(stream, partition, rejects)

    def rereads_at_once(self) -> bool:
        return self._reader.rereads_at_once()

    def acknowledge(self, position: Position) -> None:
        """Tag, move or delete what is committed and still as it was read. Again: what is left of it."""
        if self.config.afterwards is Afterwards.KEEP:
            return
        for file in self._undone(position):
            self._finish(file)

    def _undone(self, position: Position) -> list[File]:
        """The objects whose rows are committed, and of which no plan has seen that nothing is to be done."""
        there = self._files.find([self.config.path]) if position else []
        return [file for file in there if file.is_still(said := position.get(file.lane)) and not _is_done(said)]

    def _is_tagged(self, file: File) -> bool:
        return self._files.bucket.tagged(_found(file), self.config.tags)

    def _finish(self, file: File) -> None:
        """What is gone, or another object by now, is left alone: a run that reads it finishes it."""
        bucket, found = self._files.bucket, _found(file)
        if self.config.afterwards is Afterwards.TAG:
            bucket.tag(found, self.config.tags)
        elif self.config.move_to is None or bucket.copied(found, f"{self.config.move_to}{file.lane}"):
            bucket.delete(found)


def _found(file: File) -> Found:
    return Found(file.path, file.size, file.mtime_ns, file.etag)


def _is_done(said: JSON) -> bool:
    return isinstance(said, Mapping) and DONE in said
