"""The nouns: what a stream, a plan, a batch and a run are. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from importers.exceptions import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa  # half a second that reading a tenant file need not cost

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
Position: TypeAlias = Mapping[str, JSON]
"""Where to resume: opaque JSON by lane (a topic-partition, a file, or ""). Merged by union, never compared."""

VERSION, DELETED, RUN, PARTITION, SUBJECT = "_version", "_deleted", "_run", "_partition", "_subject"
"""Our columns: which observation of a row is newer, whether it is a tombstone, which run loaded it and of which of its
partitions, whose it is."""
UNTIL = "_until"
"""Of a table with history: the version that takes a row's place. Not a source's to say."""
OURS = frozenset({VERSION, DELETED, RUN, PARTITION, SUBJECT})


class LoadMode(StrEnum):
    """How a run's rows meet those that are there."""

    APPEND = "append"
    MERGE = "merge"
    REPLACE = "replace"
    HISTORY = "history"


class Reads(StrEnum):
    """What a stream's read starts from: a position, an interval of time, or nothing (everything)."""

    POSITION = "position"
    WINDOW = "window"
    SNAPSHOT = "snapshot"


class RunKind(StrEnum):
    """An *incremental* run alone moves the position; a *window* run never does; a *replay* mends quarantine."""

    INCREMENTAL = "incremental"
    WINDOW = "window"
    REPLAY = "replay"


class RunState(StrEnum):
    """All but open are final. What failed was never opened: it has no plan, and its key is as free as before."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"
    FAILED = "failed"


class PersonalData(StrEnum):
    """The class of a column, as far as data protection goes."""

    NONE = "none"
    IDENTIFIER = "identifier"
    CONTACT = "contact"
    LOCATION = "location"
    ONLINE_ID = "online_id"
    FREE_TEXT = "free_text"
    SPECIAL = "special"


class Why(NamedTuple):
    """Why nothing is told of what is in a place, as "it is a string in some records", and what to do; and whether a
    type that was agreed on before settles it.
    """

    what: str
    do: str
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source. `personal` has no default: None says that nobody classified it."""

    name: str
    type: pa.DataType
    personal: PersonalData | None
    widens: bool = False
    """Whether rows may bring it with a wider type (see `core.widening`). The pipeline says so, not the source."""
    readable_as: frozenset[pa.DataType] = field(default=frozenset(), compare=False, repr=False)
    """Where the type comes from a sample: which others the source could read the column as, if it is asked to. Where
    a file declares that some of it has no value, in which null stands for any type (see `core.widening.decided`)."""
    since: str | None = field(default="", compare=False, repr=False)
    """The first part of what is read that ever had it, by its place: files say which file. What came before that may
    lack it (`core.parts`). Empty: nothing may; None: nobody has seen it yet. The pipeline says so, from plans."""
    untold: Mapping[str, Why] = field(default_factory=dict, compare=False, repr=False)
    """By path, such as `user.scores`, why it is of type null (`core.untold`), where the source has just looked."""
    optional: bool = field(default=False, compare=False, repr=False)
    """Whether any part of what is read may lack it: it is null there. The pipeline says so, not the source."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One table-like thing of a source, refined by the tenant's file.

    `cursor` is the column whose value says which observation of a row is newer; `lookback` is in the cursor's unit;
    `table` is the destination's table, the stream's name if empty. `cut_by` is a column whose values its plans hold: a
    plan is stored, and stays, where no erasure looks.
    """

    name: str
    columns: tuple[Column, ...]
    reads: Reads
    primary_key: tuple[str, ...] = ()
    cursor: str | None = None
    subject: str | None = None
    subject_domain: str | None = None
    load_mode: LoadMode = LoadMode.APPEND
    lookback: int = 0
    table: str = ""
    cut_by: str | None = None
    absent: tuple[str, ...] = ()
    """Of `columns`, what the source doesn't have today: it is null, since the tenant's file says that it may be."""
    beyond: tuple[Column, ...] = ()
    """What the source offers and the schema contract keeps out of the table."""
    unread: tuple[Column, ...] = ()
    """What the source offered beside `columns` and nobody wants: any other column is one that no policy has seen."""
    held_to: tuple[int, ...] = field(default=(), compare=False)
    """The committed runs whose columns it was held to. Those of runs beside them nobody knew when it was planned."""
    loaded: Position = field(default_factory=dict, compare=False, repr=False)
    """What of the source is in the table, wherever the run that is planned begins; of a stored stream, what no position
    says. The pipeline says so.
    """

    @property
    def target(self) -> str:
        return self.table or self.name

    @property
    def versioned(self) -> bool:
        """Whether rows carry `_version`: to tell which is newer, or which range of them a run replaces."""
        replaces = self.cursor is not None or self.reads is Reads.WINDOW
        return self.keyed or (self.load_mode is LoadMode.APPEND and replaces)

    @property
    def keyed(self) -> bool:
        """Whether rows with one primary key are versions of one thing."""
        return self.load_mode in (LoadMode.MERGE, LoadMode.HISTORY)

    def narrowed(self, wanted: Collection[str]) -> Stream:
        """With no other columns than these."""
        columns = tuple(column for column in self.columns if column.name in wanted)
        unread = tuple(column for column in self.columns if column.name not in wanted)
        return replace(self, columns=columns, unread=(*self.unread, *unread))

    def resumes(self, kind: RunKind) -> bool:
        """Whether such a run starts where the last one ended, and moves the position."""
        return kind is RunKind.INCREMENTAL and self.load_mode is not LoadMode.REPLACE

    @property
    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(column.name, column.type) for column in self.columns])


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open: `start` ≤ x < `end`, as ISO 8601 with an offset; either may be None.

    Raises ConfigError for one that ends before it begins.
    """

    start: str | None = None
    end: str | None = None

    def __post_init__(self) -> None:
        if self.start and self.end and datetime.fromisoformat(self.end) < datetime.fromisoformat(self.start):
            raise ConfigError(
                "the window ends before it begins: `--to` is before `--from`",
                got=f"from {self.start} to {self.end}",
                do="swap them",
            )

    @property
    def bounded(self) -> bool:
        return self.start is not None or self.end is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run reads, sealed before anything is read.

    `partitions` are JSON that only their source understands, numbered by order. `position` is where the next
    incremental run starts once this one has committed. `covers` is the half-open range of `_version` that a run
    re-reads whole: its commit replaces other runs' rows in there (APPEND with a cursor). `complete` says that the
    partitions are all rows that there are, of a stream whose runs else bring what has changed: commit takes what they
    lack for deleted, unless some of it is in quarantine (MERGE, HISTORY). `stream` is as the pipeline saw it, so that
    every partition is read alike; sources leave it out. A `live` run has no partitions: each of its
    micro-batches counts, and moves the position, as soon as it is committed. Nothing of it is taken back.
    `notes` are what people should know of it, in a sentence each, without a value. `refresh` says that somebody asked
    for all that there is, whatever was read before; `dropped` that its table was found to
    be gone: it is refused where that is back. A plan that has `resumed` leaves out what its table had: the destination
    says so, which gave it the position; None where an older version stored the plan, and didn't say.
    `since` says of columns which part of the source is the first that had them (`Column.since`), now or when the stream
    was read before, where parts may differ in their columns. `seen` is what records have that were sampled of what is
    read, where they needn't have each field of the stream; None if none was. Neither is stored. `settings` is the
    fingerprint of those by which it is to be read; empty where an older version stored the plan, and in a replay's.
    """

    partitions: Sequence[JSON]
    position: Position = field(default_factory=dict)
    covers: tuple[int, int] | None = None
    stream: Stream | None = None
    live: bool = False
    complete: bool = False
    notes: tuple[str, ...] = ()
    refresh: bool = False
    resumed: bool | None = False
    dropped: bool = False
    since: Mapping[str, str] = field(default_factory=dict)
    seen: pa.Schema | None = None
    settings: str = ""

    @property
    def again(self) -> bool:
        """Whether it reads again what its table has had."""
        return self.refresh or self.dropped


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that couldn't be read as a row: its raw bytes, where it stood, and why."""

    raw: bytes
    location: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as one Arrow record batch (may hold `_version`, `_deleted`, and columns that are a dictionary's numbers or
    views, see `core.coded`) and what could not become a row.

    `position` only where reading alone tells it (a chain of next-links, a source that is followed). `reached`: the
    lanes that it moves when it and all before it in its plan are loaded, which matters to whoever follows the source
    alone: a run's position is its plan's. `behind`: how many records a source that is followed is known to have beyond
    it. `places` says where its rows stood, as `core.places.PLACES`, where the source has places that a person can go
    to.
    """

    rows: pa.RecordBatch
    rejects: tuple[Reject, ...] = ()
    position: Position | None = None
    places: pa.RecordBatch | None = None
    behind: int = 0
    reached: Position | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How a source is followed. A batch ends `linger` seconds after its first row came, or when it has `rows` of them.

    An empty one is given when nothing came for `idle` seconds, so that whoever follows may stop.
    """

    linger: float
    rows: int
    idle: float = 0.25


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one transaction of a live run loads: `treated` of the `rows` that were read, the position's lanes that move
    from `since` to `position`, and the file that the bad ones are in. A lane that is new isn't in `since`. `suppressed`
    rows are neither, as in `Staged`.
    """

    rows: int
    treated: pa.RecordBatch | None
    since: Position
    position: Position
    quarantined: QuarantineFile | None = None
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Staged:
    """One partition at rest, written by one attempt. `schema` is what its rows have, `rejected` how many had none.

    `suppressed` rows were bad and an erased subject's: neither the table nor quarantine gets them.
    """

    partition: int
    attempt: str
    uri: str
    digest: str
    rows: int
    schema: pa.Schema
    rejected: int = 0
    position: Position = field(default_factory=dict)
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The destination's record that a partition was loaded; commits with its rows.

    `rows` is what staging holds, `loaded` what was handed to the table, `suppressed` what erased subjects kept out; the
    difference is in quarantine. Of the `loaded` rows those that are `outdone` gave way at once to another of their key:
    a newer one, or a later one of the same partition.
    """

    run: int
    partition: int
    digest: str
    rows: int
    loaded: int
    suppressed: int = 0
    position: Position = field(default_factory=dict)
    outdone: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one stream, as the destination stores it. `stream` is `tenant.pipeline.stream`.

    `version` stamps rows that have no cursor: microseconds since 1970 of the window's end or of the opening.
    `pins` are what the gate fixed: for each partition the attempt and digest that may be loaded.
    `sealed_key` is the key of everything that the run stages, wrapped by the tenant's; None once destroyed.
    """

    id: int
    stream: str
    key: str
    generation: int
    kind: RunKind
    mode: LoadMode
    table: str
    version: int
    state: RunState
    plan: Plan
    pins: Mapping[str, JSON] = field(default_factory=dict)
    receipts: Mapping[int, Receipt] = field(default_factory=dict)
    sealed_key: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    """What people should know of its commit, beside the plan's."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of the destination's table."""

    name: str
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a leaf of a source went: `payload.user.email` → treatment → table column (None: dropped)."""

    source: str
    personal: PersonalData | None
    treatment: str
    column: str | None
    key_version: int | None = None


def treated(treatment: str, key_version: int | None) -> str:
    """How a leaf was treated, in words: two that read alike make the same value of the same."""
    return treatment if key_version in (None, 1) else f"{treatment}, key version {key_version}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a `run` of a stream, named in full, has treated what it loaded into a table."""

    stream: str
    run: int
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class LoadedAs:
    """How a leaf was treated by the last committed run of a stream that had it, and by all since the run `since`.

    `before` is how it was treated before that, if it ever was otherwise.
    """

    leaf: Leaf
    since: int
    before: LoadedAs | None = None


@dataclass(frozen=True, slots=True)
class Unlike:
    """What earlier `runs` of a stream left of a leaf in a table's `column`, treated otherwise than by a later run.

    `now` is the later one's treatment. `path` leads to the leaf within the column: a key, or None for each item.
    """

    source: str
    column: str
    treatment: str
    now: str
    runs: tuple[int, ...]
    path: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Remains:
    """Rows of a keyed table that a run hasn't written: of `withheld` a newer version is in its quarantine.

    `rows` is None unless all of the table was looked through. `unlike` counts, for each `Unlike` that was asked for,
    the rows that hold something of it.
    """

    withheld: int
    rows: int | None = None
    unlike: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class QuarantineFile:
    """A partition's bad rows and rejects at rest, and how many of them each rule or reason put there."""

    partition: int
    uri: str
    rows: int
    reasons: Mapping[str, int]
    since: datetime | None = None
    """When its rows came into quarantine; None before they are registered."""
    erased: int = 0
    """The version of the list of the erased when it was written: it has no rows of those."""
    claimed_by: int | None = None
    """The replay that reads it."""
    expired: bool = False
    """Whether a sweep has ended it: it is deleted, or the sweep died just before."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a system answers, in how many seconds, and what it said (without secrets)."""

    ok: bool
    detail: str
    seconds: float
