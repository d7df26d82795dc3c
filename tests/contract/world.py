"""What a source's world is: the rows it serves, how it is reached, what it can provoke."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from importers.core.connection import Connection
from importers.core.model import LoadMode, Reads

ROWS: list[dict[str, Any]] = [
    {"id": 1, "who": "ada@example.org", "what": 'a "quoted"\ntitle', "ms": 1000},
    {"id": 2, "who": "bob@example.org", "what": "ünï, cødé", "ms": None},
    {"id": 3, "who": "ada@example.org", "what": "plain", "ms": 0},
]
MORE: list[dict[str, Any]] = [{"id": 4, "who": "eve@example.org", "what": "later", "ms": 7}]


class World(ABC):
    """Serves `rows`; after `grow`, `more` as well. The defaults are of a world that serves `ROWS` in a stream `plays`.

    What it can do beyond is found by its methods: a world that overrides `deny`, `die` or `stall` is put to the tests
    of them, and has to override `mend` too.
    """

    service: ClassVar[str | None] = None
    """The fixture (tests/contract/conftest.py) that starts its server, and whose value `__init__` gets as `server`.
    Its tests are marked `services`, unless it is the embedded PostgreSQL, `postgres`."""
    wrong: ClassVar[dict[str, Any]]
    """A setting with a value that it can't have."""
    reads: ClassVar[Reads] = Reads.POSITION
    stream: ClassVar[str] = "plays"
    key: ClassVar[tuple[str, ...]] = ("id",)
    """The primary key; each of `rows` and `more` has another."""
    policy: ClassVar[dict[str, Any]] = {"who": "pseudonymise", "id": "keep", "what": "keep", "ms": "keep"}
    """What becomes of each column. One is pseudonymised, and the table shows those that are kept as they are."""
    subject: ClassVar[dict[str, str]] = {"column": "who", "domain": "listener"}
    unclassified: ClassVar[str | None] = "what"
    """A kept column that the source leaves to the tenant to classify, if there is one."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """What its connection holds that nobody may be told."""
    apart: ClassVar[bool] = False
    """Of a source's second world: whether it is reached in another way, and not only has rows of another format."""
    values: ClassVar[tuple[str, ...]] = ("ada@", "cødé")
    """Pieces of its rows' values, long enough that no digest or name holds one."""

    def __init__(self, directory: Path, server: Any = None) -> None:
        self.directory, self.server = directory, server
        self.hurried = False
        """Whether `config` has to give up soon whoever is silent: only where silence is tested, for any machine may be
        busy for a while."""
        self.rows: list[dict[str, Any]] = ROWS
        self.more: list[dict[str, Any]] = MORE
        directory.mkdir(parents=True, exist_ok=True)

    @classmethod
    def modes(cls) -> list[LoadMode]:
        """How its rows can be loaded without an interval: only what has a position can be appended."""
        appended = [LoadMode.APPEND] if cls.reads is Reads.POSITION else []
        return [*appended, LoadMode.MERGE, LoadMode.REPLACE]

    @classmethod
    def provokes(cls, trouble: str) -> bool:
        return getattr(cls, trouble) is not getattr(World, trouble)

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The settings that reach it, so that `rows` come in two batches at least."""

    def connection(self) -> Mapping[str, Any] | None:
        """How it is reached, if its source needs a connection."""
        return None

    @abstractmethod
    def grow(self) -> None: ...

    @abstractmethod
    def vanish(self) -> None:
        """From now on it can't be reached."""

    def deny(self) -> None:
        """From now on the credentials are refused, or may not read this: FatalSourceError."""
        raise NotImplementedError

    def die(self) -> None:
        """From now on, in the middle of a read too, nobody answers: TransientSourceError."""
        raise NotImplementedError

    def stall(self) -> None:
        """From now on it takes what is asked and doesn't answer: TransientSourceError, by its own time-out."""
        raise NotImplementedError

    def mend(self) -> None:
        """All is well again."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most have nothing to stop
        """Stop what was started."""

    def opened(self) -> Connection | None:
        said = self.connection()
        return None if said is None else Connection(said)

    @property
    def shown(self) -> list[str]:
        """The columns that a table shows as the source has them."""
        return [column for column, treated in self.policy.items() if treated == "keep"]
