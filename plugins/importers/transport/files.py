"""Files: which there are, whether they are still the same, and how their bytes arrive.

Local paths, globs and `file://` for now. Bytes come through `pyarrow.fs`, so that a bucket needs no second way in.
"""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from pyarrow import fs

from importers.core.model import JSON
from importers.exceptions import ConfigError, ContractError, FatalSourceError, TransientSourceError

Fill: TypeAlias = Callable[[memoryview, int], int]
"""Put the bytes from an offset on into a buffer; how many there were. Fewer than it holds: the end."""

UTF8 = frozenset({"utf-8", "utf-8-sig", "ascii"})
BOM = codecs.BOM_UTF8


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when it was listed. Another size or time of change (ns) means another content."""

    path: str
    size: int
    mtime_ns: int
    lane: str = field(default="", compare=False)
    """What the file is remembered by, wherever its directory stands; empty unless `find` found it."""

    @property
    def identity(self) -> dict[str, JSON]:
        return {"size": self.size, "mtime_ns": self.mtime_ns}


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


def look(path: str) -> File:
    """The file as it is now. Raises FatalSourceError if it isn't there."""
    with reaching(path):
        found = Path(path).stat()
    return File(path, found.st_size, found.st_mtime_ns)


def unchanged(file: File) -> None:
    """Raises ContractError if the file isn't what it was when it was planned."""
    now = look(file.path)
    if now != file:
        raise ContractError(
            f"the file '{file.path}' changed while it was read",
            got=f"{now.size:,} bytes changed at {now.mtime_ns} ns, planned {file.size:,} bytes at {file.mtime_ns} ns",
            do="start a new run once nobody writes to it; let writers rename a finished file into place",
        )


def find(patterns: Sequence[str]) -> list[File]:
    """Every file that any of the paths or globs (`**` too) names, by path. Raises ConfigError for a directory.

    Its lane is its path below the pattern's fixed directory. Those of a second directory in the list begin with `2//`,
    which no path does, so that files of one name don't share a lane, whichever of them comes first.
    """
    lanes: dict[str, str] = {}
    directories: list[Path] = []
    for pattern in map(local, patterns):
        directory = fixed_directory(pattern)
        if directory not in directories:
            directories.append(directory)
        number = directories.index(directory) + 1
        prefix = f"{number}//" if number > 1 else ""
        for path in _expanded(pattern):
            lanes.setdefault(path, prefix + Path(path).relative_to(directory).as_posix())
    return [replace(look(path), lane=lanes[path]) for path in sorted(lanes)]


def named(lane: str, patterns: Sequence[str]) -> bool:
    """Whether a file of this lane would be found by one of the patterns, wherever its directory stands now."""
    path = lane.partition("//")[2] or lane
    wanted = (Path(pattern).relative_to(fixed_directory(pattern)).as_posix() for pattern in map(local, patterns))
    return any(fnmatchcase(path, below.replace("**/", "*")) for below in wanted)


def is_pattern(pattern: str) -> bool:
    return glob.has_magic(pattern)


def fixed_directory(pattern: str) -> Path:
    """The directory in which every file that a local pattern names lies: what comes before its first wildcard."""
    path = Path(pattern)
    while glob.has_magic(str(path.parent)) and not path.parent.is_dir():
        path = path.parent
    return path.parent


def local(pattern: str) -> str:
    """The pattern as an absolute path of this machine. Raises ConfigError for a scheme that isn't `file`."""
    scheme, sep, _ = pattern.partition("://")
    if not sep:
        return str(Path(os.path.normpath(Path.cwd() / Path(pattern).expanduser())))
    if scheme != "file":
        raise ConfigError(f"files can't be read from '{scheme}://'", do="write a path, a glob or file:///path")
    return url2pathname(urlsplit(pattern, allow_fragments=False).path)


def _expanded(pattern: str) -> list[str]:
    if Path(pattern).is_dir():
        raise ConfigError(f"'{pattern}' is a directory", do=f"say which of its files: {pattern}/*.csv")
    if Path(pattern).exists():  # a file may have a bracket in its name
        return [pattern]
    return [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]  # noqa: PTH207 - pathlib's `**` doesn't match files


def nearby(pattern: str) -> list[str]:
    """Names in the pattern's directory that look like what it asks for."""
    path = Path(local(pattern))
    if not path.parent.is_dir():
        return []
    return get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3, cutoff=0.4)


@contextmanager
def opened(path: str) -> Iterator[pa.NativeFile]:
    """The file's bytes, at random."""
    with reaching(path):
        file = fs.LocalFileSystem().open_input_file(path)
    with file:
        yield file


@contextmanager
def as_utf8(path: str, encoding: str) -> Iterator[Fill]:
    """The file as UTF-8, whatever its encoding; only UTF-8 itself may be read at random, the others front to back."""
    with opened(path) as file:
        if codecs.lookup(encoding).name in UTF8:

            def fill(view: memoryview, offset: int) -> int:
                with reaching(path):
                    file.seek(offset)
                    return int(file.readinto(view))

            yield fill
        else:
            yield _Transcoded(path, file, encoding)


class _Transcoded:
    """What a single-byte encoding doesn't define comes through as it is, so that its record alone is refused."""

    chunk = 1 << 20

    def __init__(self, path: str, file: pa.NativeFile, encoding: str) -> None:
        self._path, self._file, self._encoding = path, file, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")
        self._ready, self._base, self._ended = bytearray(), 0, False

    def __call__(self, view: memoryview, offset: int) -> int:
        while self._base + len(self._ready) < offset + len(view) and not self._ended:
            self._forget(offset)
            self._ready += self._more()
        self._forget(offset)
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        return count

    def _forget(self, before: int) -> None:
        passed = min(before - self._base, len(self._ready))
        del self._ready[:passed]
        self._base += passed

    def _more(self) -> bytes:
        with reaching(self._path):
            raw = self._file.read(self.chunk)
        self._ended = not raw
        try:
            return self._decoder.decode(raw, final=self._ended).encode("utf-8", "surrogateescape")
        except UnicodeError:
            raise ContractError(
                f"the file '{self._path}' isn't {self._encoding}", do="set `encoding` to what the file is written in"
            ) from None
