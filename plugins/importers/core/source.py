"""The contract of what data comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from hashlib import sha256
from time import perf_counter, sleep
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from importers.core.connection import Connection
from importers.core.model import JSON, Batch, Health, LoadMode, Pace, Plan, Position, Reads, Reject, Stream, Window
from importers.core.parts import Place
from importers.exceptions import ImporterError

if TYPE_CHECKING:
    import pyarrow as pa


class SourceConfig(BaseModel):
    """The settings of a source. Unknown keys are errors: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @property
    def fingerprint(self) -> str:
        """Of what is said, so that another version's defaults change nothing: by other settings the same partition may
        have other rows, or other values.
        """
        return sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]


class Partition(BaseModel):
    """What a partition of a plan says. It is stored: an open run may have been planned by another version."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


ConfigT = TypeVar("ConfigT", bound=SourceConfig)


class Source(ABC, Generic[ConfigT]):
    """One system that rows come from.

    A subclass in `importers.sources.<family>.<name>` is all that a new system takes: it is found by its place on
    disk. It sets `config_model`, `title` and, if it plans, `partition_model`, and leaves `__init__` alone.
    """

    config_model: ClassVar[type[SourceConfig]]
    title: ClassVar[str]
    partition_model: ClassVar[Any] = NoneType
    """What `plan` cuts a read into: a `Partition`, or a union of some. By default there is one, of which nothing is
    said."""
    extra: ClassVar[str | None] = None
    """The extra of the distribution that brings the client library, if it needs one."""
    permitted_use: ClassVar[str] = ""
    """What the vendor's terms say of storing, commercial use and model training; empty for systems one owns."""
    withheld: ClassVar[Mapping[str, str]] = {}
    """Streams that the system has and not everybody may read, and what one has to do to read them."""
    connection_type: ClassVar[str | None] = None
    """Airflow's type of the connection that the source takes, if it takes one: one of Airflow's own, such as `kafka`,
    `redis`, `postgres`, `aws` or `http`, where a provider has it, else one of ours."""
    connection_optional: ClassVar[bool] = False
    """Whether the source can also read without one, as from an API or a broker that asks nobody who they are."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Without Airflow: the variable that holds each part of the connection, such as `password`. All must be set,
    unless the connection is optional: then those that are."""
    environment_besides: ClassVar[Mapping[str, str]] = {}
    """Likewise, for parts that a connection also goes without."""
    ordered: ClassVar[bool] = False
    """Whether its rows have an order, and come in it: within a partition, and one partition after the other."""
    follows: ClassVar[bool] = False
    """Whether it can be followed: rows come as they are written, in place of a run's. Whatever has a position can."""

    def __init__(
        self, config: ConfigT, *, tenant: str, connection: Connection | None = None, pipeline: str = ""
    ) -> None:
        self.config = config
        self.tenant = tenant
        self.connection = connection
        self.pipeline = pipeline

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.tenant}>"

    @classmethod
    def takes_connection(cls, settings: Mapping[str, Any]) -> bool:
        """Whether one is looked for. Nobody has checked these settings yet."""
        return cls.connection_type is not None

    @classmethod
    def from_hook(cls, hook: Any) -> Mapping[str, JSON]:
        """What Airflow's hook for the connection knows beyond its fields: these parts are laid over them.

        Only for what a provider's hook works out, such as the credentials of a role that it assumes. Called where
        that provider is installed, in the task that is about to read; never without Airflow.
        """
        return {}

    @abstractmethod
    def reach(self) -> str:
        """Look whether the system can be reached with these settings, and lets us read. Raises ImporterError.

        Returns what is to be said of it: how much it has, not what.
        """

    def check(self) -> Health:
        """What `reach` finds. Never raises for an unhealthy system."""
        begun = perf_counter()
        try:
            said = self.reach()
        except ImporterError as error:
            return Health(False, str(error), perf_counter() - begun)
        return Health(True, said, perf_counter() - begun)

    @abstractmethod
    def streams(self) -> Sequence[Stream]:
        """What can be read, with every column's type and, where the system documents it, its personal-data class.

        Raises FatalSourceError, TransientSourceError or ContractError.
        """

    def named(self) -> Sequence[str]:
        """The streams' names, if the settings alone tell them: asks nobody, so that lint sees whose tables they are."""
        return ()

    def sparse(self) -> bool:
        """Whether records needn't have each field: then one that no sampled record has isn't missed."""
        return False

    def reads_parts(self) -> bool:
        """Whether of an object it reads those fields alone that are asked for. What else is in it, and isn't told
        (`core.untold`), may be anything then. Asks nobody.
        """
        return False

    def reads(self) -> Reads | None:
        """How each of its streams is read, as far as the settings alone say so. Asks nobody: lint calls it, too."""
        return None

    def remarks(self) -> Iterable[tuple[str, str, str]]:
        """What settings say rightly, and perhaps not on purpose: which one, what it does, what to do. Asks nobody."""
        return ()

    def suits(self, mode: LoadMode) -> None:
        """Raises ConfigError where the settings contradict how rows are loaded. Asks nobody: lint calls it, too."""

    def subscribe(self, stream: Stream) -> None:
        """Make what a system has to keep for its reader from now on, unless it is there.

        Called before a run is opened, never by what only looks at what a run would read.
        """

    def delivered(self, stream: Stream, window: Window, position: Position) -> Stream:
        """The stream with those columns alone that what a run from there on reads has. `plan` may be asked next.

        By default what the system offers has the same columns wherever a run begins. Raises what `streams` raises.
        """
        return stream

    def parts(self, stream: Stream, window: Window, position: Position) -> Sequence[Place]:
        """Where the parts of what such a run reads stand, if columns may differ from one to the next.

        Asked where a column is missing from what is `delivered`: parts from before it may lack it (`core.parts`).
        """
        return ()

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        """Cut the read into partitions and seal its end. By default one partition that holds everything."""
        return Plan(partitions=[None])

    def knows(self, partition: JSON) -> bool:
        """Whether a stored partition is such as `plan` makes. What another version or importer made isn't read."""
        try:
            _checker(self.partition_model).validate_python(partition)
        except ValidationError:
            return False
        return True

    def refreshed(self, position: Position) -> Position:
        """Where a full refresh starts, in place of the committed position: by default where a first run does.

        A source whose first run may start later than at its beginning says so: a refresh commits a new position, and
        nothing between the two may be left out.
        """
        return {}

    @abstractmethod
    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        """Yield a partition's rows, holding exactly `stream.columns` by name (a subset of what `streams` gave).

        The type of a column that `widens` may be wider than announced, and a column may be a dictionary's numbers in
        place of values, or views of no more than 2 GiB in place of texts (`core.coded`). What can't become a row is a
        Reject, never an exception, never nothing. Reading a partition again gives the same rows, or raises
        ContractError.
        """

    def follow(self, stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
        """Yield what comes after `position`, for as long as somebody asks; whoever does closes the generator.

        Each batch has the lanes that it moves in its `position`. The first is empty and says where reading begins, so
        that a stream which starts with what is new starts there again. Rows are read as `read` does, raising the same.

        By default `plan` and `read` are asked again whenever something `comes`.
        """
        from importers.core.polling import polled  # brings pyarrow, which reading a tenant file need not cost

        with closing(self.in_batches(pace.rows)) as at:
            yield from polled(at, stream, position, pace)

    def comes(self, position: Position, seconds: float) -> bool:
        """Whether there is something to plan after the position; waited for so many `seconds` at most.

        By default that isn't known before it is planned, which is done as often. For a source that is asked like this.
        """
        sleep(seconds)
        return True

    def in_batches(self, rows: int) -> Self:
        """Another reader of the same, whose batches have no more rows, if a setting `batch_rows` says how many."""
        at_once = getattr(self.config, "batch_rows", None)
        said = {} if at_once is None else {"batch_rows": min(at_once, rows)}
        config = self.config.model_copy(update=said)
        return type(self)(config, tenant=self.tenant, connection=self.connection, pipeline=self.pipeline)

    def close(self) -> None:
        """End what it keeps from call to call: connections, sessions, tokens. Whoever made it does, in every case.

        Asked again afterwards, a source connects again. What one call alone needs ends with the call.
        """

    def describe(self, partition: JSON) -> tuple[str, int | None]:
        """What a person may be told of a partition: what it reads, and its bytes if they are known. Never a value."""
        return "", None

    def unchanging(self, partition: JSON) -> Mapping[str, JSON] | None:
        """What a partition reads all or a part of, by name, each with what says which rows it has: they are the same
        for as long as that is. A plan that has a part of it has all of it. None where a source can't say.

        By this, and nothing else, rows in quarantine are known to have been read again. Their places begin with the
        name of what they are of, and `:`, `!` or `@`.
        """
        return None

    def reread(self, stream: Stream, partition: JSON, rejects: Sequence[Reject]) -> Sequence[pa.RecordBatch | None]:
        """Of each record of a partition that was no row, its row by today's settings; None if it still is none.

        A replay asks. A source needn't: to most a record says nothing without what was around it.
        """
        return [None] * len(rejects)

    def rereads_at_once(self) -> bool:
        """Whether `reread` takes for many records about as long as reading took: then it is asked for all."""
        return False

    def acknowledge(self, position: Position) -> None:
        """Tell a broker, after commit. A courtesy: what counts is in the destination."""

    def lag(self, position: Position) -> Mapping[str, int]:
        """How many messages each lane holds that the position isn't past; nothing where a system can't say."""
        return {}


@cache
def _checker(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)
