"""A directory or a bucket behind one small interface: a name appears when its content is whole, or not at all."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from importers.exceptions import ConfigError, ImporterError
from importers.staging.trouble import changed, is_storage, staging_error

DIRECTORY_MODE, FILE_MODE = 0o700, 0o600


@dataclass(frozen=True, slots=True)
class Entry:
    """A file; `path` is relative to the store's root."""

    path: str
    bytes: int
    modified: datetime


class Store(ABC):
    """`uri` names the root without credentials; `local` says that only this machine sees it."""

    local: bool

    def __init__(self, filesystem: fs.FileSystem, base: str, uri: str) -> None:
        self._fs, self._base, self.uri = filesystem, base.rstrip("/"), uri.rstrip("/")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}>"

    def path_of(self, uri: str) -> str:
        """The path that a URI of this store names. Raises ConfigError for another store's."""
        path = uri.removeprefix(f"{self.uri}/")
        if path == uri or not path or any(part in ("", ".", "..") for part in path.split("/")):
            raise ConfigError(
                "the data lies in another place than the one that is set", got=uri, do=f"set the place to {self.uri}"
            )
        return path

    def uri_of(self, path: str) -> str:
        return f"{self.uri}/{path}"

    @contextmanager
    def reaching(self, **where: Any) -> Iterator[None]:
        """Turn the file system's errors into StagingErrors that say the place, the room left and what to do.

        What an inner room raises gets `where`.
        """
        try:
            yield
        except OSError as error:
            raise staging_error(error, self.uri, self.free_bytes(), **where) from None
        except ImporterError as error:
            raise error.at(**where) from None

    @contextmanager
    def reading(self, path: str, **where: Any) -> Iterator[None]:
        """As `reaching`, and what no longer decodes is a ContractError. Arrow's texts may hold values: none is kept."""
        with self.reaching(**where):
            try:
                yield
            except (OSError, pa.ArrowInvalid) as error:
                if isinstance(error, OSError) and is_storage(error):
                    raise
                raise changed(path) from None

    def open_input(self, path: str) -> pa.NativeFile:
        """A file to read from any offset. Raises OSError."""
        return self._fs.open_input_file(self._at(path))

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self._fs.get_file_info(self._at(path)).type == fs.FileType.File)

    def get(self, path: str) -> bytes:
        with self.open_input(path) as source:
            return bytes(source.read())

    def put(self, path: str, data: bytes) -> None:
        """Write a small file whole. Raises OSError."""
        temporary = temporary_beside(path)
        try:
            with self.open_output(temporary) as sink:
                sink.write(data)
            self.publish(temporary, path)
        except BaseException:
            with suppress(OSError):
                self.remove(temporary)
            raise

    @abstractmethod
    def open_output(self, path: str) -> pa.NativeFile:
        """A new file to write. Raises OSError."""

    @abstractmethod
    def settle(self, path: str) -> None:
        """Make a closed file survive a power cut."""

    @abstractmethod
    def publish(self, temporary: str, path: str) -> None:
        """Give a finished file its name, replacing what has it: atomically."""

    @abstractmethod
    def walk(self, under: str = "") -> Iterator[Entry]:
        """Every file under a path; none if there is no such path. Never leaves the root."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""

    @abstractmethod
    def prune(self, under: str) -> None:
        """Delete the empty directories that `remove` leaves, where directories exist at all."""

    @abstractmethod
    def prune_old(self, before: datetime) -> None:
        """Delete the directories that have been empty since `before`; only a disk has any."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """The room left, if the place knows."""

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base


class LocalStore(Store):
    """A directory of this machine: files 0600, directories 0700, whatever the umask."""

    local = True

    def open_output(self, path: str) -> pa.NativeFile:
        self._make_directory(Path(self._at(path)).parent)
        # Arrow opens what exists and keeps its mode; made by Arrow, the file would have the umask's.
        os.close(os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
        return self._fs.open_output_stream(self._at(path))

    def settle(self, path: str) -> None:
        descriptor = os.open(self._at(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, temporary: str, path: str) -> None:
        self.settle(temporary)
        Path(self._at(temporary)).replace(self._at(path))
        self.settle(path.rpartition("/")[0])  # the directory: a name is durable once that is

    def walk(self, under: str = "") -> Iterator[Entry]:
        for directory, _, names in self._directories(under, topdown=True):
            for name in sorted(names):
                with suppress(FileNotFoundError):  # another sweeper was quicker
                    status = (directory / name).lstat()
                    path = (directory / name).relative_to(self._base).as_posix()
                    yield Entry(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def remove(self, path: str) -> None:
        if self._inside(Path(self._at(path)).parent):
            Path(self._at(path)).unlink(missing_ok=True)

    def prune(self, under: str) -> None:
        for directory, _, _ in self._directories(under, topdown=False):
            with suppress(OSError):  # not empty, or gone
                directory.rmdir()

    def prune_old(self, before: datetime) -> None:
        # Their ages first: deleting a directory makes its parent young.
        old = []
        for directory, _, _ in self._directories("", topdown=True):
            with suppress(FileNotFoundError):
                if directory.stat().st_mtime < before.timestamp():
                    old.append(directory)
        for directory in reversed(old):
            with suppress(OSError):  # not empty, or gone
                if directory != Path(self._base):
                    directory.rmdir()

    def free_bytes(self) -> int | None:
        with suppress(OSError):
            status = os.statvfs(self._base)
            return status.f_bavail * status.f_frsize
        return None

    def _directories(self, under: str, *, topdown: bool) -> Iterator[tuple[Path, list[str], list[str]]]:
        top = Path(self._at(under))
        if self._inside(top):
            for directory, names, files in os.walk(top, topdown=topdown, followlinks=False):
                yield Path(directory), names, files

    def _inside(self, path: Path) -> bool:
        return path.resolve() == path  # the root is resolved: what differs goes through a symlink

    def _make_directory(self, directory: Path) -> None:
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for each in reversed(missing):
            with suppress(FileExistsError):
                each.mkdir(DIRECTORY_MODE)


class ObjectStore(Store):
    """A bucket's prefix: an object appears whole when its upload ends, and directories don't exist."""

    local = False

    def open_output(self, path: str) -> pa.NativeFile:
        return self._fs.open_output_stream(self._at(path))

    def put(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(self._at(path)) as sink:  # one write, one upload: whole or not there
            sink.write(data)

    def settle(self, path: str) -> None:
        """An upload that ended is durable."""

    def publish(self, temporary: str, path: str) -> None:
        self._fs.move(self._at(temporary), self._at(path))

    def walk(self, under: str = "") -> Iterator[Entry]:
        selector = fs.FileSelector(self._at(under), recursive=True, allow_not_found=True)
        for info in self._fs.get_file_info(selector):
            if info.type == fs.FileType.File:
                yield Entry(info.path.removeprefix(f"{self._base}/"), info.size or 0, info.mtime)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._at(path))

    def prune(self, under: str) -> None:
        # Arrow marks a directory whose last file it deletes by an empty object.
        if not any(self.walk(under)):
            with suppress(FileNotFoundError):
                self._fs.delete_dir(self._at(under))

    def prune_old(self, before: datetime) -> None:
        """Nothing is there to be empty."""

    def free_bytes(self) -> int | None:
        return None


def open_store(root: str, warehouse: str = "") -> Store:
    """The store at a path, a `file://` URI or `s3://bucket/prefix?endpoint_override=…`; there, a warehouse's own part.

    Raises ConfigError for what isn't such a place, StagingError for one that can't be reached.
    """
    if not root:
        raise ConfigError("no place for staged data is set", do="set IMPORTERS_STAGING to a directory or an s3:// URI")
    parts = urlsplit(root)
    if parts.scheme in ("", "file"):
        path = fs.FileSystem.from_uri(root)[1] if parts.scheme else root
        base = Path(path).expanduser().resolve() / warehouse
        return LocalStore(fs.LocalFileSystem(), str(base), base.as_uri())
    named = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    try:
        filesystem, base_path = fs.FileSystem.from_uri(root)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        base_path = ""
    except OSError as error:
        raise staging_error(error, named, None) from None
    if not base_path:
        raise ConfigError(
            "this isn't a place that data can be staged in",
            got=named,
            do="write a directory or s3://bucket/prefix?endpoint_override=HOST:PORT",
        )
    base_path, named = (f"{place.rstrip('/')}/{warehouse}" for place in (base_path, named))
    return ObjectStore(filesystem, base_path, named)


def temporary_beside(path: str) -> str:
    """A name for what isn't whole yet, in the same directory."""
    directory, _, name = path.rpartition("/")
    return f"{directory}/.{name}.{secrets.token_hex(8)}.tmp"
