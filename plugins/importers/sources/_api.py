"""What the sources share that ask an HTTP API: a client, a health check, and rows made of JSON objects."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.model import Batch, Column, PersonalData, Reject, Stream
from importers.core.source import Source
from importers.exceptions import FatalSourceError, ImporterError, TransientSourceError
from importers.sources._text.cells import called
from importers.transport.http.address import Route, base_url, needed
from importers.transport.http.auth import Anybody, Auth
from importers.transport.http.client import Answer, Client
from importers.transport.http.consent import Consent
from importers.transport.http.paging import dig
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Shared, shared
from importers.transport.http.tls import context

if TYPE_CHECKING:
    from ssl import SSLContext

TIME = pa.timestamp("us", "UTC")
HttpConfigT = TypeVar("HttpConfigT", bound=HttpConfig)


@dataclass(frozen=True, repr=False)
class _Kept:
    """What a source keeps from client to client."""

    shared: Shared
    auth: Auth
    route: Route
    trusted: SSLContext

    def close(self) -> None:
        self.shared.close()


@dataclass(frozen=True, slots=True)
class Codes:
    """Errors that an API tells by a code in the body, whatever the status is.

    Those that are `passing` are tried again; of the others `remedies` says what to do, or else `remedy`.
    """

    path: tuple[str, ...]
    passing: frozenset[str]
    remedies: Mapping[str, str]
    remedy: str = "correct the connection's key"

    def judged(self, system: str, answer: Answer) -> ImporterError | None:
        """The error that an answer tells. No page of records is parsed for it: an error is short, and begins so."""
        if f'"{self.path[-1]}"'.encode() not in answer.body[:200]:
            return None
        code = dig(answer.json(), self.path)
        if code is None:
            return None
        if code in self.passing:
            return TransientSourceError(f"{system} can't answer now", got=f"error {code}", do="try again later")
        return FatalSourceError(f"{system} refuses", got=f"error {code}", do=self.remedies.get(code, self.remedy))


class ApiSource(Source[HttpConfigT]):
    """A source behind an HTTP API, whose connection may name another address than `address`."""

    address: ClassVar[str]
    extra: ClassVar[str | None] = "http"
    shown: ClassVar[Callable[[str], Auth] | None] = None
    """How a call shows the connection's password, where that is all: `InHeader`, or `ApiKey.under("api_key")`."""
    codes: ClassVar[Codes | None] = None

    def auth(self, connection: Connection, shared: Shared) -> Auth:  # noqa: ARG002 - what is granted is shared
        """How a call shows who is asking. Raises ConfigError for what the connection lacks."""
        shown = type(self).shown
        return Anybody() if shown is None else shown(needed(connection, "password"))

    @abstractmethod
    def greet(self, client: Client) -> str:
        """The cheapest call that only right credentials pass, and what is to be said of it."""

    def judge(self, answer: Answer) -> ImporterError | None:
        """What an answer means beyond its status, by the system's documentation: by default what its `codes` say."""
        return self.codes.judged(self.title, answer) if self.codes is not None else None

    def consent(self) -> Consent | None:
        """Where a person is asked whether their data may be read, if the system has that. Raises ConfigError."""
        return None

    def base(self, connection: Connection) -> str:
        """Where it is asked. Raises ConfigError."""
        return base_url(connection, self.address)

    def client(self) -> Client:
        """A client to close. Raises ConfigError."""
        address, kept = self.base(self.connection or Connection({})), self._kept
        return Client(address, self.config, kept.auth, kept.shared, self.judge, route=kept.route, trusted=kept.trusted)

    @cached_property
    def _kept(self) -> _Kept:
        """What lives as long as the source: a token isn't asked for again by the next client, nor are certificates
        read again. Raises ConfigError.
        """
        connection = self.connection or Connection({})
        among, route = shared(self.tenant, connection), Route.of(connection)
        return _Kept(among, self.auth(connection, among), route, context(self.config, route))

    def close(self) -> None:
        close_kept(self, "_kept")

    def reach(self) -> str:
        with closing(self.client()) as client:
            return self.greet(client)


@dataclass(frozen=True, slots=True)
class Field:
    """A column, and where it stands in a record, or stood in an `older` form of the API.

    A time is text as ISO 8601 has it, or counted since the `epoch`.
    """

    name: str
    path: tuple[str, ...]
    type: pa.DataType = pa.string()  # noqa: RUF009 - a value
    personal: PersonalData | None = PersonalData.NONE
    epoch: Literal["s", "ms"] | None = None
    older: tuple[str, ...] = ()

    @property
    def sent(self) -> pa.DataType:
        """JSON has no times, and numbers come as text."""
        return self.type if pa.types.is_boolean(self.type) or pa.types.is_nested(self.type) else pa.string()

    @property
    def called(self) -> str:
        """What people call a value of it."""
        if self.epoch is not None:
            return f"a whole number of {'seconds' if self.epoch == 's' else 'milliseconds'} since 1970"
        return f"of type {self.type}" if pa.types.is_nested(self.type) else called(self.type)

    def made(self, texts: pa.Array) -> pa.Array:
        if self.epoch is not None:
            texts = pc.cast(pc.cast(texts, pa.int64()), pa.timestamp(self.epoch))
        return pc.cast(texts, self.type)


@dataclass(frozen=True, slots=True)
class Between:
    """Which records count: those whose moment is from the one on and before the other, in microseconds since 1970."""

    field: Field
    begin: int | None
    end: int | None

    def mask(self, found: pa.StructArray) -> pa.Array:
        """Raises pa.ArrowInvalid for a record without its moment: nothing tells whether it was read before."""
        moments = self.field.made(pc.struct_field(found, list(self.field.path)))
        if moments.null_count:
            raise pa.ArrowInvalid("no moment")
        moments = moments.cast(TIME).cast(pa.int64())
        fits = pc.greater_equal(moments, self.begin or 0)
        return fits if self.end is None else pc.and_(fits, pc.less(moments, self.end))


def moments(field: Field, records: Sequence[Any]) -> list[int | None]:
    """When each record was, in microseconds since 1970; None where it doesn't say."""
    said = [dig(record, field.path) for record in records]
    try:
        made: list[int | None] = field.made(pa.array(said, pa.string())).cast(TIME).cast(pa.int64()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        half = len(records) // 2
        return [*moments(field, records[:half]), *moments(field, records[half:])] if half else [None]
    return made


_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError)


class Rows:
    """Makes Arrow rows of JSON objects. What isn't named in a field isn't kept."""

    def __init__(
        self,
        fields: Sequence[Field],
        stream: Stream,
        same: Mapping[str, str] | None = None,
        between: Between | None = None,
    ) -> None:
        """`same` are columns that no record has, with the value of all rows; what isn't `between` is left out."""
        self._schema, self._same, self._between = stream.schema, same or {}, between
        self._fields = {field.name: field for field in fields if field.name in self._schema.names}
        looked_at = [*self._fields.values(), *([between.field] if between else [])]
        self._type = _struct({path: field.sent for field in looked_at for path in (field.path, field.older) if path})

    def batch(self, records: Sequence[Any], place: str) -> Batch:
        """The rows, and a Reject for each record that isn't as the fields say."""
        rows, unfit = self._halved(records, 0)
        rejects = [Reject(_raw(record), f"{place}, record {at + 1}", self._why(record)) for at, record in unfit]
        return Batch(rows, tuple(rejects))

    def _halved(self, records: Sequence[Any], start: int) -> tuple[pa.RecordBatch, list[tuple[int, Any]]]:
        """Rows of what fits, at once if all does, and what doesn't even when it stands alone."""
        try:
            return self._all(records), []
        except _UNFIT:
            if len(records) == 1:
                return _empty(self._schema), [(start, records[0])]
        half = len(records) // 2
        first, second = self._halved(records[:half], start), self._halved(records[half:], start + half)
        table = pa.Table.from_batches([first[0], second[0]], self._schema)
        return table.combine_chunks().to_batches()[0] if len(table) else _empty(self._schema), first[1] + second[1]

    def _why(self, record: Any) -> str:
        """The first column that a record has no value for, and what it would have to be. Never what it is."""
        if not isinstance(record, Mapping):
            return "not an object"
        between = {self._between.field.name: self._between.field} if self._between else {}
        for name, field in (self._fields | between).items():
            for path in filter(None, (field.path, field.older)):
                try:
                    found = pa.array([record], type=_struct({path: field.sent}))
                    field.made(pc.struct_field(found, list(path)))
                except _UNFIT:
                    return f"column '{name}': not {field.called}"
        if self._between is not None:
            return f"column '{self._between.field.name}': no moment, and the stream is read by it"
        return "not as the API describes it"

    def _all(self, records: Sequence[Any]) -> pa.RecordBatch:
        if not all(isinstance(record, Mapping) for record in records):
            raise pa.ArrowTypeError("not an object")
        found = pa.array(records, type=self._type)
        rows = pa.RecordBatch.from_arrays(
            [self._column(name, found) for name in self._schema.names], schema=self._schema
        )
        return rows if self._between is None else rows.filter(self._between.mask(found))

    def _column(self, name: str, found: pa.StructArray) -> pa.Array:
        if name in self._same:
            return pa.repeat(pa.scalar(self._same[name], pa.string()), len(found))
        field = self._fields[name]
        values = pc.struct_field(found, list(field.path))
        if field.older:
            values = pc.coalesce(values, pc.struct_field(found, list(field.older)))
        return field.made(values)


def columns(fields: Sequence[Field]) -> tuple[Column, ...]:
    return tuple(Column(field.name, field.type, field.personal) for field in fields)


def _struct(paths: Mapping[tuple[str, ...], pa.DataType]) -> pa.StructType:
    """The nested type that holds what stands at the paths."""
    inner: dict[str, dict[tuple[str, ...], pa.DataType]] = {}
    for path, kind in paths.items():
        inner.setdefault(path[0], {})[path[1:]] = kind
    return pa.struct([(name, below[()] if () in below else _struct(below)) for name, below in inner.items()])


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _raw(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
