"""The settings that every format has."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from importers.core.names import Name
from importers.core.source import SourceConfig
from importers.sources._text.cells import ColumnType
from importers.sources.files._interval import Interval
from importers.transport.packed import ALL, Codec


class OnChange(StrEnum):
    ERROR = "error"
    RELOAD = "reload"


class Compression(StrEnum):
    """`auto`: as the file's bytes say. The others are errors for a file that isn't so; `none` looks at nothing."""

    AUTO = "auto"
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bz2"
    XZ = "xz"
    ZIP = "zip"

    @property
    def codec(self) -> Codec | None:
        return None if self in (Compression.AUTO, Compression.NONE) else Codec(self.value)


OF_NO_RECORD = {
    "path",
    "members",
    "stream",
    "types",
    "sample_rows",
    "max_partitions",
    "max_ratio",
    "on_change",
    "interval",
}
"""Settings that don't say which records a file, or an archive's member, has."""


_ONE_OR_MORE = BeforeValidator(
    lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]
)


class FileConfig(SourceConfig):
    path: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        _ONE_OR_MORE,
        Field(
            min_length=1,
            description="A path, a glob (`data/**/*.csv`), `file:///path` or `s3://bucket/prefix/*.csv`, or a list of "
            "them. Upper and lower case differ: `*.csv` leaves `A.CSV` out, `*.[cC][sS][vV]` takes both. A glob leaves "
            "out names that begin with a dot, and with `~$`, as Excel's locks do. A bucket "
            "needs the extra `s3` and a connection of type `aws`; the source `s3` also says what becomes of its "
            "objects afterwards. A stream without a name is called by the path as it is written: in `file:///` "
            "`%20` isn't taken for a space there. "
            "A loaded file that is moved within the pattern, or that another `path` finds, isn't "
            "read again if its name, size and time of change are the same. Nor is another of the loaded one's size and "
            "time that is put in its place, as `cp -p`, `rsync -t` and `touch -d` can: `--full-refresh` reads it, if "
            "`load.mode` allows one.",
            examples=["in/2026-*/*"],
        ),
    ]
    compression: Compression = Field(
        Compression.AUTO,
        description="How the files are compressed. By default each one's first bytes say it. Of several "
        "streams in one file, as parallel compressors write them, all are read; what follows one and is none, other "
        "than padding by zeros in gzip, bz2 and xz, stops the run. The members of a zip archive have to be stored or "
        "compressed with deflate, and a file holds one archive.",
    )
    members: Annotated[list[Annotated[str, Field(min_length=1)]], _ONE_OR_MORE] = Field(
        list(ALL),
        min_length=1,
        description="Which members of a zip archive are read, by their names in it: one pattern, or a list of which "
        "one has to match. `*` matches a `/`, too, and `*.csv` also `A.CSV`, as for `unzip -C`; a name that is there, "
        "such as `data[1].csv`, is that member. By default all are, so that a readme beside the data stops the run. An "
        "archive in which none matches is an error; one that is loaded isn't read again when this changes.",
        examples=["*.csv", ["2026/*.csv", "total.csv"]],
    )
    max_ratio: int = Field(
        250,
        ge=1,
        description="How many times its size a compressed file, or a zip archive with all of its members, may unpack "
        "to, once that is more than 64 MiB. What unpacks to more is taken for a bomb and stops the run.",
    )
    stream: Name | None = Field(
        None,
        description="What to call the stream. By default the file's name up to the first wildcard; where it begins "
        "with one, `rows`. Another name is another stream, which reads from the beginning.",
    )
    types: dict[str, ColumnType] = Field(
        {},
        description="Types of columns, where the sample would mislead: `string`, `integer`, `number`, `decimal` (38 "
        "digits, 9 of them after the point), `decimal(12,2)` (12 digits, 2 of them after it), `boolean`, `date` "
        "(2026-12-31), `timestamp` (2026-12-31 23:59:59), `timestamp_tz` (2026-12-31T23:59:59Z). What is written "
        "otherwise, such as 31.12.2026, is a `string`; in a CSV file `date_format` says how it is written.",
    )
    sample_rows: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="How many rows of the first and of the last file the types come from. Fractions among integers and "
        "times among days that come later widen a column which is kept; what else doesn't fit goes to quarantine. Each "
        "run tells of a column that a few odd values of the sample make text, until `types` says what it is; and the "
        "first one, and what comes before it, of a column that is text as the sample has no value of it.",
    )
    on_change: OnChange = Field(
        OnChange.ERROR,
        description="What to do with a loaded file that has changed since, when its rows are appended: stop with an "
        "`error`, or `reload` it, which doubles the rows that it still has.",
    )
    interval: Interval | None = Field(
        None,
        description="The date in a file's path, `plays-%Y-%m-%d`: each run then reads the files of its interval, and "
        "once more takes the place of what it loaded. See docs/backfill.md.",
    )
    max_partitions: int = Field(8, ge=1, le=1024, description="How many parts the files are read in at most.")


FilesT = TypeVar("FilesT", bound=FileConfig)
