"""Streams of an API that a description is enough for: where to ask, where records stand, how the list goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from pydantic import Field as Setting

from importers.core.model import JSON, Batch, Column, Plan, Position, Reads, Stream, Window
from importers.core.source import Partition
from importers.sources._api import ApiSource, Between, Field, HttpConfigT, Rows, columns, moments
from importers.transport.http.client import Call, Client
from importers.transport.http.paging import ByOffset, ByPage, Style, pages, records

SECOND = 1_000_000  # microseconds
Bounds = Mapping[str, Any]
"""A partition: a `Span`, a `ListOf` or a `WholeList`, or as the source's own `plan` has it."""


class Span(Partition):
    """What is new from one moment to before the other, in microseconds since 1970."""

    since: int = Setting(alias="from")
    to: int


class ListOf(Partition):
    """The id whose list it is."""

    of: str


class WholeList(Partition):
    """All of a stream that has no such ids, and isn't read by moments."""


@dataclass(frozen=True, slots=True)
class Since:
    """How a system is asked for what is new: by parameters, `end` if it has one."""

    start: str
    end: str | None = None
    written: Callable[[int], Any] = int
    """Makes of a bound what the parameter wants."""
    written_end: Callable[[int], Any] = int

    @classmethod
    def in_seconds(cls, start: str, end: str | None = None) -> Since:
        """By seconds since 1970, rounded so that nothing is missing: what is too much is left out by the `moment`."""
        return cls(start, end, lambda at: at // SECOND, lambda at: -(-at // SECOND))

    def said(self, bounds: Bounds) -> dict[str, Any]:
        """The parameters; a bound of 0 is the beginning, for which there is none."""
        begin, end = bounds.get("from"), bounds.get("to")
        said = {self.start: self.written(begin)} if begin else {}
        return said | ({self.end: self.written_end(end)} if self.end and end else {})


@dataclass(frozen=True, slots=True)
class Listed:
    """A stream: the path of its list, with its parameters; its columns and key; how it goes on.

    With a `form` it is asked by POST. What is `since` a time is read from a position on, everything else as a whole.
    Without a `style` the path is that of one record, for each of the `ids`.
    """

    path: str
    fields: Sequence[Field]
    key: tuple[str, ...]
    style: Style | None
    params: Mapping[str, Any] = field(default_factory=dict)
    form: bool = False
    since: Since | None = None
    moment: Field | None = None
    """The moment that `since` is about, where the system's own sense of it can't be relied on: what isn't within the
    bounds is left out."""
    newest: Mapping[str, Any] | None = None
    """Where the list begins with its newest record, the parameters that ask for little more than that. Then a read ends
    behind its `moment`, not now: records reach some systems hours late, in the order in which they were made."""
    ids: Sequence[str] = ()
    """Where there is a list of each of these, or a record: it takes the place of `{}` in the path. Each list is a
    partition of its own."""
    of: str | None = None
    """The field that has the id whose list a record is in. No record says it."""
    place: str | None = None
    """The field that has a record's place in its list, from 0. No record says it."""
    whose: Column | None = None
    """The column that has whose all records are. No record says it: `ListedSource.owner` does."""
    subject: str | None = None
    """The column of whom a record is about, where it is another one."""

    @property
    def owned_key(self) -> tuple[str, ...]:
        return (self.whose.name, *self.key) if self.whose and self.key else self.key

    @property
    def paged(self) -> Style | None:
        """The style. Where pages share no record, two of them are told apart by the key."""
        if not isinstance(self.style, ByPage) or self.style.identity:
            return self.style
        return replace(self.style, identity=tuple(field.path for field in self.fields if field.name in self.key))

    def placed(self, page: Sequence[Any], before: int, one: str | None) -> Sequence[Any]:
        """The records with what none says; numbers are text until they are typed. `before` came on other pages."""
        if self.of is None and self.place is None:
            return page
        said = {self.of: one} if self.of else {}
        numbered = ({self.place: str(at)} if self.place else {} for at in range(before, before + len(page)))
        pairs = zip(page, numbered, strict=True)
        return [{**record, **said, **at} if isinstance(record, Mapping) else record for record, at in pairs]


class ListedSource(ApiSource[HttpConfigT]):
    """A source all of whose streams are `Listed`."""

    partition_model: ClassVar[Any] = Span | ListOf | WholeList

    @abstractmethod
    def listed(self) -> Mapping[str, Listed]:
        """By the streams' names."""

    def owner(self, client: Client) -> str:
        """Whose the records are of the streams that have a column `whose`."""
        raise NotImplementedError

    def named(self) -> Sequence[str]:
        return list(self.listed())

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(
                name,
                (*([listed.whose] if listed.whose else ()), *columns(listed.fields)),
                Reads.SNAPSHOT if listed.since is None else Reads.POSITION,
                listed.owned_key,
                subject=listed.whose.name if listed.whose else listed.subject,
            )
            for name, listed in self.listed().items()
        ]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        """Sealed at this moment, less the time after which a record is surely there to be read; or by the newest."""
        listed = self.listed()[stream.name]
        if listed.since is None:
            return Plan([{"of": one} for one in listed.ids] if listed.ids and listed.style else [{}])
        now = microseconds(datetime.now(UTC).isoformat()) - self.settles(stream.name) * SECOND
        if window.bounded:
            begin, end = microseconds(window.start), microseconds(window.end) if window.end else now
            return Plan([{"from": begin, "to": end}])
        after = cast("int", position.get("", 0))
        begin, end = max(0, after - stream.lookback * SECOND), self._behind_newest(stream.name, after, now)
        return Plan([{"from": begin, "to": end}], {"": end}) if end > after else Plan([])

    def _behind_newest(self, name: str, after: int, now: int) -> int:
        """Just after the newest record; `after` where there is none, `now` where a list doesn't begin with it."""
        listed = self.listed()[name]
        if listed.newest is None or listed.moment is None or listed.style is None:
            return now
        call = self.call(name, {"from": after}).having(**listed.newest)
        with closing(self.client()) as client:
            found = records(client.ask(call).json(), listed.style.records, call, client)
        if isinstance(listed.style, ByPage | ByOffset):
            found = listed.style.counted(found)
        return max((at + 1 for at in moments(listed.moment, found) if at is not None), default=after)

    def settles(self, name: str) -> int:  # noqa: ARG002 - most needn't wait
        """Seconds after which a record of the stream is surely there to be read."""
        return 0

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        listed, part = self.listed()[stream.name], cast("Bounds", partition)
        between = Between(listed.moment, part.get("from"), part.get("to")) if listed.moment else None
        with closing(self.client()) as client:
            same = {listed.whose.name: self.owner(client)} if listed.whose else {}
            rows = Rows(listed.fields, stream, same, between)
            for number, page in enumerate(self.found(client, stream.name, part), 1):
                yield rows.batch(page, f"page {number}")

    def found(self, client: Client, name: str, part: Bounds) -> Generator[Sequence[Any], None, None]:
        """The records of a partition, page by page."""
        listed, count = self.listed()[name], 0
        style = listed.paged
        if style is None:
            calls = (Call(listed.path.format(one), name, listed.params) for one in listed.ids)
            yield from ([answer.json()] for answer in client.ask_all(calls))
            return
        for page in pages(client, self.call(name, part), style):
            yield listed.placed(page, count, cast("str | None", part.get("of")))
            count += len(page)

    def call(self, name: str, part: Bounds) -> Call:
        """The first call of a read."""
        listed = self.listed()[name]
        path = listed.path.format(part["of"]) if "of" in part else listed.path
        said = {**listed.params, **(listed.since.said(part) if listed.since else {})}
        return Call(path, name, form=said) if listed.form else Call(path, name, said)


def microseconds(at: str | None) -> int:
    """An end of a window, since 1970; one that is open is the beginning."""
    if at is None:
        return 0
    return round(datetime.fromisoformat(at).timestamp() * SECOND)
