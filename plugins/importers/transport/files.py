"""Files: which there are, whether they are still the same, and how their bytes arrive.

A path is one of this machine, a glob, `file:///path`, or `s3://bucket/key` with the same wildcards.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from pyarrow import fs

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.model import JSON
from importers.core.parts import in_order
from importers.exceptions import ConfigError, ContractError, FatalSourceError, TransientSourceError
from importers.transport import packed
from importers.transport.packed import Codec, Readable
from importers.transport.roots import ANYWHERE, Roots
from importers.transport.s3 import SCHEME, Bucket, Found, bucket_and_key
from importers.transport.text import Fill, FrontToBack, is_utf8


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when it was listed. Another size or time of change (ns), or another ETag, is another content.

    Of a compressed file `codec` is known once it was looked into; of an archive's member `member` is the name, `size`
    its compressed bytes, and `archive` those of the whole archive.
    """

    path: str
    size: int
    mtime_ns: int
    etag: str = ""
    codec: Codec | None = None
    member: str = ""
    archive: int = 0
    lane: str = field(default="", compare=False)
    """What the file is remembered by, wherever its directory stands; empty unless `find` found it."""

    @property
    def state(self) -> str:
        """`12,324 bytes of 2026-11-28T22:35:59.952086Z`, for a message: no clock's nanoseconds."""
        changed = datetime.fromtimestamp(self.mtime_ns // 10**9, UTC).replace(microsecond=self.mtime_ns // 1000 % 10**6)
        return f"{self.size:,} bytes, changed at {changed.isoformat().removesuffix('+00:00')}Z"

    @property
    def identity(self) -> dict[str, JSON]:
        """What is remembered of it: the ETag where there is one, since a copy of the same bytes has another time."""
        named = {"etag": self.etag} if self.etag else {}
        return {"size": self.size, "mtime_ns": self.mtime_ns, **named}

    def is_still(self, remembered: JSON) -> bool:
        """Whether its content is that of an `identity`."""
        if not isinstance(remembered, Mapping):
            return False
        of = "etag" if self.etag else "mtime_ns"
        return remembered.get("size") == self.size and remembered.get(of) == self.identity[of]

    def state_then(self, remembered: JSON) -> str:
        """The `state` of an `identity`."""
        then = self._then(remembered)
        return then.state if then else "in a state that isn't known"

    def as_then(self, remembered: JSON) -> str:
        """What makes a file of this machine what is remembered, where only its time is another; else nothing."""
        then = self._then(remembered)
        if then is None or self.etag or then.size != self.size:
            return ""
        seconds = f"{then.mtime_ns // 10**9}.{then.mtime_ns % 10**9:09d}"
        return f"if only its time has changed, give it back: `touch -d @{seconds} {quote(self.path)}`; else "

    def _then(self, remembered: JSON) -> File | None:
        if not isinstance(remembered, Mapping):
            return None
        size, mtime_ns = remembered.get("size"), remembered.get("mtime_ns")
        if not (isinstance(size, int) and isinstance(mtime_ns, int)):
            return None
        return replace(self, size=size, mtime_ns=mtime_ns)

    @property
    def planned(self) -> dict[str, JSON]:
        """As JSON, for `File.of`."""
        inside = {"codec": self.codec and self.codec.value, "member": self.member, "archive": self.archive}
        return {"path": self.path, **self.identity, **{name: value for name, value in inside.items() if value}}

    @classmethod
    def of(cls, planned: Mapping[str, Any]) -> File:
        codec = planned.get("codec")
        return cls(
            planned["path"],
            planned["size"],
            planned["mtime_ns"],
            planned.get("etag", ""),
            Codec(codec) if codec else None,
            planned.get("member", ""),
            planned.get("archive", 0),
        )

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.path}!{self.member}" if self.member else self.path


class Files:
    """What one source sees: this machine's files, and buckets by its connection."""

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        codec: Codec | None = None,
        plain: bool = False,
        ratio: int = 250,
        members: Sequence[str] = packed.ALL,
        roots: Roots = ANYWHERE,
    ) -> None:
        """A `codec` holds for every file, and `plain` says that none is compressed; else each file's bytes say it.

        Of a zip archive those `members` are files whose names match one of the patterns. What leads out of the `roots`
        is a ConfigError, where it is found and where it is opened.
        """
        self._connection, self._codec, self._plain, self._ratio = connection, codec, plain, ratio
        self._members, self._roots = members, roots

    @cached_property
    def bucket(self) -> Bucket:
        return Bucket(self._connection)

    def close(self) -> None:
        close_kept(self, "bucket")

    def find(self, patterns: Sequence[str]) -> list[File]:
        """Every file that any of the paths or globs (`**` too) names, in the order of `core.parts`: by directory, then
        by path. Raises ConfigError for a directory.

        Its lane is its path below the pattern's fixed directory. Those of a second directory in the list begin with
        `2//`, which no path does, so that files of one name don't share a lane, whichever of them comes first.
        """
        found: dict[str, File] = {}
        directories: list[str] = []
        for pattern in map(absolute, patterns):
            directory = fixed_directory(pattern)
            self._roots.check(directory)  # what lies elsewhere isn't even listed
            if directory not in directories:
                directories.append(directory)
            number = directories.index(directory) + 1
            prefix = f"{number}//" if number > 1 else ""
            for file in self._expanded(pattern):
                self._roots.check(file.path)
                lane = prefix + file.path.removeprefix(directory).lstrip("/")
                found.setdefault(file.path, replace(file, lane=lane))
        return sorted(found.values(), key=lambda file: in_order(file.lane))

    def _expanded(self, pattern: str) -> list[File]:
        if is_remote(pattern):
            return [_remote(found) for found in self.bucket.list(pattern)]
        return [look(path) for path in _local(pattern)]

    def nearby(self, pattern: str) -> list[str]:
        """Names in the pattern's directory that look like what it asks for; first those that differ in case only."""
        if is_remote(pattern):
            return []
        path = Path(absolute(pattern))
        if not path.parent.is_dir():
            return []
        names = sorted(entry.name for entry in path.parent.iterdir())
        cased = [name for name in names if differs_in_case(name, path.name)]
        return list(dict.fromkeys((*cased, *get_close_matches(path.name, names, n=3, cutoff=0.4))))[:3]

    def beside(self, patterns: Sequence[str], found: Sequence[File]) -> list[str]:
        """The names of files that upper and lower case alone keep out of what was found; buckets aren't asked."""
        local = [Path(absolute(pattern)) for pattern in patterns if not is_remote(pattern)]
        asked = [path for path in local if is_pattern(path.name) and path.parent.is_dir()]
        cased = {each for path in asked for each in path.parent.iterdir() if differs_in_case(each.name, path.name)}
        return sorted(path.name for path in cased.difference(Path(file.path) for file in found) if path.is_file())

    def unchanged(self, file: File) -> None:
        """Raises ContractError if the file isn't what it was when it was planned."""
        now = _remote(self.bucket.look(file.path)) if is_remote(file.path) else look(file.path)
        if file.member:  # whose size is its own
            now = replace(now, size=file.size)
        if not now.is_still(file.identity):
            raise ContractError(
                f"the file '{file.path}' changed while it was read",
                got=f"{now.state}; planned as {file.state}",
                do="start a new run once nobody writes to it; let writers rename a finished file into place",
            )

    def inside(self, file: File) -> list[File]:
        """The file with its codec, or its members: what a format reads one by one. Raises ContractError."""
        codec = self._codec_of(file)
        if codec is not Codec.ZIP:
            return [replace(file, codec=codec)]
        with self._raw(file) as raw:
            return [
                replace(file, codec=codec, member=member.name, size=member.size, archive=file.size)
                for member in packed.members(raw, file.path, size=file.size, ratio=self._ratio, wanted=self._members)
            ]

    def _codec_of(self, file: File) -> Codec | None:
        if self._plain or not file.size:
            return None
        with self._raw(file) as raw:
            found = packed.by_content(raw.read(8))
        expected = self._codec or packed.by_name(file.path)
        if expected is not None and found is not expected:
            raise ContractError(
                f"the file '{file.path}' isn't compressed with {expected}",
                got=found.value if found else "something else",
                do="have it written again; or set `compression: none` if it is only called so",
            )
        return found

    @contextmanager
    def _raw(self, file: File) -> Iterator[BinaryIO]:
        """The bytes as they are stored, at random."""
        self._roots.check(file.path)
        if is_remote(file.path):
            size = file.archive if file.member else file.size
            with self.bucket.opened(Found(file.path, size, file.mtime_ns, file.etag)) as remote:
                yield remote
            return
        with reaching(file.path), Path(file.path).open("rb") as opened:
            yield opened

    @contextmanager
    def front_to_back(self, file: File) -> Iterator[Readable]:
        """The plain bytes, once through. Raises ContractError for a damaged archive."""
        with self._raw(file) as raw:
            if file.codec is None:
                yield raw
                return
            bounded = {"size": file.size, "ratio": self._ratio, "member": file.member}
            with packed.unpacked(raw, file.codec, file.shown, **bounded) as plain:  # type: ignore[arg-type]
                yield plain

    @contextmanager
    def opened(self, file: File) -> Iterator[pa.NativeFile]:
        """The plain bytes, at random; of a compressed file in memory, up to `packed.HELD`."""
        with ExitStack() as stack:
            if file.codec is not None:
                plain = stack.enter_context(self.front_to_back(file))
                opened: pa.NativeFile = pa.BufferReader(packed.held(plain, file.shown))
            elif is_remote(file.path):
                opened = pa.PythonFile(stack.enter_context(self._raw(file)), mode="r")
            else:
                self._roots.check(file.path)
                with reaching(file.path):
                    opened = fs.LocalFileSystem().open_input_file(file.path)
            with opened:
                yield opened

    def at_random(self, file: File, encoding: str = "utf-8") -> bool:
        """Whether a slice may begin in the middle of the file."""
        return file.codec is None and is_utf8(encoding)

    @contextmanager
    def as_utf8(self, file: File, encoding: str = "utf-8") -> Iterator[Fill]:
        """The file as UTF-8, whatever its encoding: at random if that is possible, else front to back."""
        if not self.at_random(file, encoding):
            with self.front_to_back(file) as plain:
                yield FrontToBack(file.shown, plain, encoding)
            return
        with self._raw(file) as raw:

            def fill(view: memoryview, offset: int) -> int:
                with reaching(file.path):
                    raw.seek(offset)
                    return int(cast("Any", raw).readinto(view))

            yield fill


@contextmanager
def reaching(path: str) -> Iterator[None]:
    """Say what an OSError means for whoever has to act on it."""
    try:
        yield
    except FileNotFoundError:
        raise FatalSourceError(f"the file '{path}' is gone", do="put it back, or correct `path`") from None
    except PermissionError:
        raise FatalSourceError(f"the file '{path}' may not be read", do="give this user the right to read it") from None
    except OSError as error:
        raise TransientSourceError(f"the file '{path}' can't be read now", got=os.strerror(error.errno or 5)) from None


def differs_in_case(name: str, pattern: str) -> bool:
    """Whether a pattern would match the name if upper and lower case were one."""
    return fnmatchcase(name.casefold(), pattern.casefold()) and not fnmatchcase(name, pattern)


def look(path: str) -> File:
    """The file of this machine as it is now. Raises FatalSourceError if it isn't there."""
    with reaching(path):
        found = Path(path).stat()
    return File(path, found.st_size, found.st_mtime_ns)


def _remote(found: Found) -> File:
    return File(found.path, found.size, found.mtime_ns, found.etag)


def is_remote(path: str) -> bool:
    return path.startswith(SCHEME)


def named(lane: str, patterns: Sequence[str]) -> bool:
    """Whether a file of this lane would be found by one of the patterns, wherever its directory stands now."""
    path = lane.partition("//")[2] or lane
    wanted = (pattern.removeprefix(fixed_directory(pattern)).lstrip("/") for pattern in map(absolute, patterns))
    return any(fnmatchcase(path, below.replace("**/", "*")) for below in wanted)


def is_pattern(pattern: str) -> bool:
    return glob.has_magic(pattern)


def fixed_directory(pattern: str) -> str:
    """The directory in which every file that an absolute pattern names lies: what comes before its first wildcard."""
    if is_remote(pattern):
        plain = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        return plain.rpartition("/")[0]
    path = Path(pattern)
    while glob.has_magic(str(path.parent)) and not path.parent.is_dir():
        path = path.parent
    return str(path.parent)


def is_there(directory: str) -> bool:
    """Whether there is such a directory; a bucket has none, so that any may be."""
    return is_remote(directory) or Path(directory).is_dir()


def absolute(pattern: str) -> str:
    """The pattern as an absolute path of this machine, or a bucket's as it is. Raises ConfigError for other schemes."""
    scheme, sep, _ = pattern.partition("://")
    if not sep:
        return str(Path(os.path.normpath(Path.cwd() / Path(pattern).expanduser())))
    if is_remote(pattern):
        bucket_and_key(pattern)
        return pattern
    if scheme != "file":
        raise ConfigError(
            f"files can't be read from '{scheme}://'", do="write a path, a glob, file:///path or s3://bucket/key"
        )
    return url2pathname(urlsplit(pattern, allow_fragments=False).path)


_LOCK = "~$"
"""How Excel calls a file that is there while somebody has a workbook open."""


def _local(pattern: str) -> list[str]:
    if Path(pattern).is_dir():
        raise ConfigError(f"'{pattern}' is a directory", do=f"say which of its files: {pattern}/*.csv")
    if Path(pattern).exists():  # a file may have a bracket in its name
        return [pattern]
    paths = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207 - pathlib's `**` doesn't match files
    return [str(path) for path in paths if path.is_file() and not path.name.startswith(_LOCK)]
