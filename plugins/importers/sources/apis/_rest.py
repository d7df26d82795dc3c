"""How a tenant's file describes the streams of a JSON API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from importers.core.model import PersonalData
from importers.core.names import Name
from importers.sources._api import TIME, Field, moments
from importers.sources._listed import SECOND, Listed, Since
from importers.transport.http.paging import ByCount, ByLink, ByOffset, ByPage, ByToken, ByWindow, Path, Style

TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": TIME,
}
At = Annotated[str, Setting(pattern=r"^[^.]+(\.[^.]+)*$")]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ColumnSpec(_Said):
    """A column, and where a record has it."""

    at: At | None = Setting(None, description="Where it stands in a record: `customer.email`. By default its name.")
    type: Literal["text", "integer", "number", "boolean", "date", "timestamp"] = Setting(
        "text", description="What it is read as. A timestamp is ISO 8601 with its offset from UTC, or counted."
    )
    epoch: Literal["s", "ms"] | None = Setting(None, description="For a timestamp that is counted since 1970.")
    personal: PersonalData | None = Setting(
        None, description="Its class of personal data. Without one the policy has to name the column."
    )

    def field(self, name: str) -> Field:
        return Field(name, path(self.at or name), TYPES[self.type], self.personal, self.epoch)


class ByTokenSpec(_Said):
    by: Literal["token"]
    at: At = Setting(description="Where an answer has what is sent for the next page: `meta.next`.")
    parameter: str = Setting(description="The parameter that it is sent as.")


class ByLinkSpec(_Said):
    by: Literal["link"]
    at: At | None = Setting(
        None, description="Where an answer has the next page's address. By default in its header Link."
    )


class _Sized(_Said):
    size: int = Setting(ge=2, description="How many records a page has.")
    size_parameter: str | None = Setting(None, description="The parameter that asks for so many.")
    total: At | None = Setting(
        None,
        description="Where an answer has the number of all records. With it pages are read several at once, and a list "
        "that changes while it is read is noticed. Without it pages are read until one isn't full.",
    )


class ByPageSpec(_Sized):
    by: Literal["page"]
    parameter: str = Setting("page", description="The parameter that has the page's number.")
    pages: At | None = Setting(None, description="Where an answer has the number of pages; goes with `total`.")

    @model_validator(mode="after")
    def _both(self) -> ByPageSpec:
        if (self.pages is None) != (self.total is None):
            raise ValueError("`pages` and `total` go together: give both, or neither")
        return self


class ByOffsetSpec(_Sized):
    by: Literal["offset"]
    parameter: str = Setting("offset", description="The parameter that has the number of records before the page.")


class ByWindowSpec(_Said):
    by: Literal["window"]
    days: float = Setting(gt=0, description="How much time is asked for at once.")
    begins: AwareDatetime = Setting(description="From when on there are records.")
    most: int | None = Setting(
        None, ge=1, description="How many records an answer holds at most: a full one is asked for again in halves."
    )


Paging = Annotated[ByTokenSpec | ByLinkSpec | ByPageSpec | ByOffsetSpec | ByWindowSpec, Setting(discriminator="by")]


class IncrementalSpec(_Said):
    """How what is new is asked for."""

    column: Name = Setting(description="The timestamp by which records are new: when they were made, or last changed.")
    start: str = Setting(description="The parameter from when on: `since`.")
    end: str | None = Setting(None, description="The parameter until when, if there is one.")
    written: Literal["iso", "s", "ms"] = Setting("iso", description="How the parameters are written.")
    settles: int = Setting(
        60, ge=0, description="Seconds after which a record is surely there to be read: a run reads until so long ago."
    )

    def write(self, seconds: int) -> Any:
        if self.written == "iso":
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return seconds * (1000 if self.written == "ms" else 1)

    def since(self, by_window: bool) -> Since:
        """In whole seconds, and one more at the start, which not every system counts in: what is asked for too much is
        left out by the column itself. What is read by window gets its numbers written piece by piece.
        """
        if by_window:
            return Since.in_seconds(self.start, self.end)
        return Since(
            self.start, self.end, lambda at: self.write(at // SECOND - 1), lambda at: self.write(-(-at // SECOND))
        )


class StreamSpec(_Said):
    """A list of the API."""

    path: str = Setting(description="Below the base address: `orders`.")
    records: At | None = Setting(None, description="Where an answer has its list: `data.items`. By default it is one.")
    params: Mapping[str, str | int | float | bool] = Setting({}, description="What else is asked.")
    columns: Mapping[Name, ColumnSpec] = Setting(min_length=1, description="What is kept of a record.")
    key: tuple[Name, ...] = Setting(min_length=1, description="The columns that tell one record from another.")
    paging: Paging | None = Setting(
        None, description="How the list goes on. Without it by the header Link, where an answer has one."
    )
    incremental: IncrementalSpec | None = Setting(
        None, description="How only what is new is read. Without it everything is, each time."
    )

    @model_validator(mode="after")
    def _consistent(self) -> StreamSpec:
        lacking = [name for name in self.key if name not in self.columns]
        if lacking:
            raise ValueError(f"`key` names columns that there aren't: {', '.join(lacking)}")
        new = self.incremental
        if new is not None and (new.column not in self.columns or self.columns[new.column].type != "timestamp"):
            raise ValueError("`incremental` needs a column of type timestamp")
        if isinstance(self.paging, ByWindowSpec) and (new is None or new.end is None):
            raise ValueError("paging by window needs `incremental` with `start` and `end`")
        return self

    def listed(self) -> Listed:
        fields = {name: spec.field(name) for name, spec in self.columns.items()}
        new, by_window = self.incremental, isinstance(self.paging, ByWindowSpec)
        return Listed(
            self.path,
            tuple(fields.values()),
            self.key,
            self._style({name: field.path for name, field in fields.items()}),
            {**self.params, **self._asked()},
            since=None if new is None else new.since(by_window),
            moment=None if new is None else fields[new.column],
        )

    def _asked(self) -> dict[str, Any]:
        """What paging asks of the first call."""
        said, new = self.paging, self.incremental
        if isinstance(said, _Sized) and said.size_parameter:
            return {said.size_parameter: said.size}
        return {new.start: int(said.begins.timestamp())} if isinstance(said, ByWindowSpec) and new else {}

    def _style(self, paths: Mapping[str, Path]) -> Style:
        at, said, new = path(self.records), self.paging, self.incremental
        if isinstance(said, ByTokenSpec):
            return ByToken(at, path(said.at), said.parameter)
        if isinstance(said, ByPageSpec):
            if said.pages is None:
                return ByCount(at, said.parameter, said.size)
            return ByPage(at, path(said.pages), path(said.total), said.parameter)
        if isinstance(said, ByOffsetSpec):
            if said.total is None:
                return ByCount(at, said.parameter, said.size, step=said.size, begin=0)
            identity = tuple(paths[name] for name in self.key)
            return ByOffset(at, path(said.total), said.size, identity, parameter=said.parameter)
        if isinstance(said, ByWindowSpec) and new is not None and new.end is not None:
            seconds = max(1, round(said.days * 86_400))
            moment = partial(moments, self.columns[new.column].field(new.column))
            return ByWindow(at, new.start, new.end, seconds, said.most, written=new.write, moments=moment)
        return ByLink(at, path(said.at) if isinstance(said, ByLinkSpec) else ())


def path(said: str | None) -> Path:
    return tuple(said.split(".")) if said else ()
