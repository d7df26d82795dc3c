"""What any log of messages has, whichever system keeps it: values in an order, of which the oldest are deleted."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, TypeVar

import pyarrow as pa
from pydantic import Field

from importers.core.model import Column, Reads, Stream, Window
from importers.core.names import Name, as_name
from importers.core.source import Source, SourceConfig
from importers.exceptions import ConfigError, ContractError, EmptySourceError
from importers.sources._text.cells import TypeName

_log = logging.getLogger(__name__)


class OnLost(StrEnum):
    STOP = "stop"
    SKIP = "skip"


class LogConfig(SourceConfig):
    stream: Name | None = Field(None, description="What to call the stream. By default like the topic or the key.")
    columns: dict[str, TypeName] = Field(
        {}, description="The fields of the values, with their types. By default the latest messages tell them."
    )
    sample_rows: int = Field(1_000, ge=1, le=100_000, description="How many of the latest messages tell the columns.")
    lost_messages: OnLost = Field(
        OnLost.STOP,
        description="What to do when messages were deleted before they were read: `stop`, or `skip` them.",
    )
    consumer_group: str | None = Field(
        None,
        min_length=1,
        description="A group that is told how far the rows are in, once a run has committed, for whoever watches it. "
        "What is read next is decided by the warehouse alone.",
    )
    batch_rows: int = Field(65_536, ge=1, le=1_000_000, description="How many messages are decoded at once.")
    timeout: float = Field(
        30, gt=0, le=600, description="For how many seconds the system may keep silent before a read is given up."
    )

    @property
    @abstractmethod
    def place(self) -> str:
        """What the system calls the log."""

    @property
    def name(self) -> str:
        return self.stream or as_name(self.place)

    def lost(self, where: str, messages: int, got: str) -> None:
        """Raises ContractError if so many were deleted unread, unless they may be: then they are told in the log."""
        if messages > 0 and self.lost_messages is OnLost.STOP:
            raise ContractError(
                f"messages of {where} were deleted before they were read",
                got=got,
                do="keep them longer, or run more often; to go on without them set `lost_messages: skip`",
            )
        if messages > 0:
            _log.warning("%s: %d messages were deleted before they were read", where, messages)

    def empty(self) -> EmptySourceError:
        """What is to be raised where a sample has to tell the columns and there is none."""
        return EmptySourceError(
            f"'{self.place}' is empty: nothing tells its columns",
            do="say them in `columns`, or start the pipeline when there are messages",
            stream=self.name,
        )


LogT = TypeVar("LogT", bound=LogConfig)


class Log(Source[LogT]):
    """One stream: the fields of the values, and what the system says `about` each message."""

    follows: ClassVar[bool] = True
    identity: ClassVar[tuple[str, ...]]
    """Those of the columns about a message that no other message has alike."""
    leave_out: ClassVar[str] = "leave it out of `metadata`"
    """What to do about a column that the system and the values both have."""

    @abstractmethod
    def about(self) -> Sequence[Column]:
        """The columns that aren't the values'."""

    @abstractmethod
    def values(self) -> pa.Schema:
        """The columns of the values, by the tenant's word or by a sample. Raises as `streams` does."""

    def sparse(self) -> bool:
        return True

    def named(self) -> Sequence[str]:
        return [self.config.name]

    def streams(self) -> Sequence[Stream]:
        values, about = self.values(), self.about()
        named = {column.name for column in about}
        if twice := named & set(values.names):
            raise ConfigError(f"the values have a field '{min(twice)}' of their own", do=self.leave_out)
        key = self.identity if named.issuperset(self.identity) else ()
        columns = (*(Column(field.name, field.type, None) for field in values), *about)
        return [Stream(self.config.name, columns, self.reads(), key)]

    def reads(self) -> Reads:
        return Reads.POSITION

    def known(self, stream: Stream) -> pa.Schema:
        """The columns of the values that the policy has seen, with the types that the stream was taken to have."""
        about = {column.name for column in self.about()}
        seen = (*stream.columns, *stream.unread)
        return pa.schema([(column.name, column.type) for column in seen if column.name not in about])


def milliseconds(stream: Stream, window: Window, own: tuple[str, ...], time: str) -> tuple[int | None, int | None]:
    """A backfill's first moment and the one after its last, since 1970.

    Raises ConfigError where an old message would overwrite a newer one: by other keys than the system's `own`. `time`
    is the column of when a message came.
    """
    if stream.keyed and stream.cursor is None and stream.primary_key != own:
        raise ConfigError(
            "of two messages with one key, which is newer can't be told in a backfill",
            do=f"set load.cursor, such as {time}",
            stream=stream.name,
        )
    start, end = (
        None if moment is None else since_1970(datetime.fromisoformat(moment)) for moment in (window.start, window.end)
    )
    return start, end


def since_1970(moment: datetime) -> int:
    """In milliseconds."""
    return round(moment.timestamp() * 1000)
