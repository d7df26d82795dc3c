"""Formats whose files declare their columns and types: no row is sampled to know them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import pyarrow as pa

from importers.core.names import shown_type
from importers.exceptions import ContractError
from importers.sources.files._columns import akin
from importers.sources.files._files import FileSource
from importers.sources.files._odd import Inferred
from importers.sources.files._settings import FilesT
from importers.sources.files._slices import Slice
from importers.transport.files import File


class DeclaringFileSource(FileSource[FilesT]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64)."""

    sampled = frozenset()

    @abstractmethod
    def declared(self, file: File) -> pa.Schema:
        """The file's columns with types that can be loaded. Raises ContractError if it isn't whole."""

    _last: tuple[File, pa.Schema] | None = None

    def _declared(self, file: File) -> pa.Schema:
        """As `declared`; a plan asks twice of each file, one after the other."""
        if self._last is None or self._last[0] != file:
            self._last = file, self.declared(file)
        return self._last[1]

    def inferred(self, files: Sequence[File]) -> Inferred:
        return Inferred(self.schema(files))

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The types that hold those of the first and the last file. Raises ContractError if there are none."""
        first, last = self.declared(files[0]), self.declared(files[-1])
        akin(files[-1].shown, last.names, first.names)
        return _widest(files[-1], first, last)

    def names(self, file: File) -> Sequence[str]:
        return list(self._declared(file).names)

    def fits(self, file: File, schema: pa.Schema) -> None:
        own = self._declared(file)
        said = self.config.types
        expected = pa.schema([field for field in schema if field.name in own.names and field.name not in said])
        own = pa.schema([own.field(field.name) for field in expected])
        if _widest(file, expected, own) != expected:
            raise ContractError(
                f"the file '{file.shown}' has wider types than the first and the last file",
                got=f"{told(own)}, expected {told(expected)}",
                do="set `types`, such as `{amount: decimal}`, or give it a pipeline of its own",
            )


def shared_out(parts: Iterable[Slice], share: float) -> list[Slice]:
    """Neighbours put together until each slice weighs about a share."""
    slices: list[Slice] = []
    for part in parts:
        if slices and slices[-1]["weight"] + part["weight"] / 2 <= share:
            slices[-1] |= {"end": part["end"], "weight": slices[-1]["weight"] + part["weight"]}
        else:
            slices.append(part)
    return slices


def unfit(path: str, rows: pa.Schema, target: pa.Schema) -> ContractError:
    """A value isn't of the type that the tenant gave its column."""
    return ContractError(
        f"a value of the file '{path}' doesn't fit its column's type",
        got=f"{told(rows)}, expected {told(target)}",
        do="correct `types`",
    )


def told(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {shown_type(field.type)}" for field in schema)


def _widest(file: File, one: pa.Schema, other: pa.Schema) -> pa.Schema:
    try:
        return pa.unify_schemas([one, other], promote_options="permissive")
    except pa.ArrowException:
        raise ContractError(
            f"the file '{file.shown}' has types that don't go with those of the files before it",
            got=f"{told(other)}, expected {told(one)}",
            do="give it a pipeline of its own",
        ) from None
