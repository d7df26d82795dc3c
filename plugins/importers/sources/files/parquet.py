"""Parquet files, by row group."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types as t
from pydantic import Field

from importers.core.coded import decoded
from importers.core.exact import is_text
from importers.core.model import Batch, Stream
from importers.core.names import few
from importers.core.places import numbered, stretch
from importers.exceptions import ContractError
from importers.sources._types import storable
from importers.sources.files._columns import wanted
from importers.sources.files._declared import DeclaringFileSource, plain, shared_out, typed
from importers.sources.files._parquet_texts import read_texts, text_columns
from importers.sources.files._settings import FileConfig
from importers.sources.files._slices import Slice
from importers.sources.files._where import Comparisons, Where
from importers.transport.files import File, Files

ROWS = 64 * 1024
TEXTS = 64 << 20
"""Bytes that a batch's texts take at most: a dictionary has a text once that may be in each row. Of more than 2 GiB of
views Arrow makes strings, in silence, that begin before their buffer.
"""
_WITHIN = 12
"""Bytes that a view has room for: a longer text is elsewhere."""
_CODED = frozenset({"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"})
"""Encodings of which Arrow makes a dictionary: of texts whose lengths are deltas it says that it can't yet."""


class ParquetConfig(FileConfig):
    """Types come from the footers: no row is sampled, and `sample_rows` means nothing here.

    Files whose types have none that holds both exactly, such as numbers and texts, are read once `types` says what the
    column is: each value as it would be written. One that isn't exactly of that type (the code 007 as an `integer`)
    stops the run. A time without a zone is then taken for UTC's. A column that is null in all files is text until
    `types`, or a file, says otherwise.
    """

    where: dict[str, Comparisons] = Field(
        {},
        description="Which rows to read, by columns as the file has them, whatever `types` makes of them: all "
        "comparisons must hold. `eq`, `ne`, `lt`, `le`, `gt`, `ge` take a value, `in` and `not_in` a list; none holds "
        "for a null. Row groups that can't have such a row, by their statistics, aren't read. Other rows aren't "
        "counted, and files that are loaded aren't read again when this changes.",
        examples=[{"ms_played": {"ge": 30000}, "country": {"in": ["DE", "FR"]}}],
    )


class Parquet(DeclaringFileSource[ParquetConfig]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64, days beside times,
    one zone beside another), and all null: as pandas writes a column without a value, which is of any type.

    Times of the old type INT96, as Spark, Hive and Impala write them, are read to the microsecond, 0001-01-01 and
    9999-12-31 too. Days before 1582-10-15 are taken for Gregorian ones; Spark before 3.0 wrote Julian ones.
    """

    title: ClassVar[str] = "Parquet files"
    config_model = ParquetConfig
    dense = 4

    def schema(self, files: Sequence[File]) -> pa.Schema:
        if self.config.where:  # a mistake in it is told before anything is read
            Where(self.config.where, pa.schema({f.name: f.type for file in files for f in self.declared(file)}))
        return super().schema(files)

    def cut(self, file: File, pieces: int) -> list[Slice]:
        where = self._where(file)
        with _read(self.files, file) as parquet:
            found = [parquet.metadata.row_group(i) for i in range(parquet.num_row_groups)]
            weights = [group.total_byte_size for group in found]
            if sum(group.num_rows for group in found) != parquet.metadata.num_rows:
                raise _not_whole(file)
        possible = frozenset(self._possible(where, file, range(len(weights))))
        groups: list[Slice] = [
            {"start": n, "end": n + 1, "weight": weight if n in possible else 0} for n, weight in enumerate(weights)
        ]
        return shared_out(groups, sum(group["weight"] for group in groups) / pieces)

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target, where = wanted(stream, schema), self._where(file)
        names = list(dict.fromkeys([*target.names, *(where.columns if where else ())]))
        possible = self._possible(where, file, range(part["start"], part["end"]))
        with _whole(self.files, file) as raw:
            parquet = _opened(raw)
            sizes = [parquet.metadata.row_group(group).num_rows for group in range(part["end"])]
            together = _neighbours(possible, sizes)
            alone = possible if all(len(groups) == 1 for groups in together) else ()
            reading = _Reading(raw, parquet, names, alone, said={*stream.primary_key, stream.cursor, stream.subject})
            for groups in together:
                number = 1 + sum(sizes[: groups[0]])
                for rows in reading.batches(groups):
                    if where is None:
                        yield Batch(typed(rows, target, file.shown), places=stretch(f"{file.shown}:row ", number))
                    elif len(kept := where.rows(values := decoded(rows))):
                        found = plain(values, target).take(pa.array(kept))
                        places = numbered(f"{file.shown}:row ", kept + number)
                        yield Batch(typed(found, target, file.shown), places=places)
                    number += rows.num_rows
                if number != 1 + sum(sizes[: groups[-1] + 1]):  # of a damaged page the reader may make no row at all
                    raise _not_whole(file)

    def _where(self, file: File) -> Where | None:
        return Where(self.config.where, self.declared(file)) if self.config.where else None

    def _possible(self, where: Where | None, file: File, groups: range) -> list[int]:
        """Of the row groups those that may have rows which are wanted."""
        if where is None:
            return list(groups)
        with _whole(self.files, file) as raw:
            possible = where.groups(raw)
        return [group for group in groups if group in possible]

    def declared(self, file: File) -> pa.Schema:
        with _read(self.files, file) as parquet:
            found = parquet.schema_arrow.remove_metadata()
        twice = {name for name in found.names if found.names.count(name) > 1}
        if twice:
            raise ContractError(f"the file '{file.shown}' has several columns called {few(sorted(twice))}")
        return _storable(found)


def _storable(schema: pa.Schema) -> pa.Schema:
    """Texts are strings, whatever room a writer had for them: a batch's are small."""
    kinds = ((field.name, storable(field.type)) for field in schema)
    return pa.schema([(name, pa.string() if t.is_large_string(kind) else kind) for name, kind in kinds])


def _neighbours(groups: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Row groups that follow each other, together as far as they make one batch. `sizes`: how many rows each has."""
    together: list[list[int]] = []
    rows = 0
    for group in groups:
        rows += sizes[group]
        if together and together[-1][-1] == group - 1 and rows <= ROWS:
            together[-1].append(group)
        else:
            together.append([group])
            rows = sizes[group]
    return together


class _Reading:
    """Reads row groups, batch by batch: texts by polars as far as it may, as views; the rest by Arrow, few texts as
    numbers.
    """

    def __init__(
        self,
        raw: pa.NativeFile,
        parquet: pq.ParquetFile,
        names: Sequence[str],
        alone: Sequence[int],
        said: Collection[str | None],
    ) -> None:
        """`alone`: the row groups that are read, if each is by itself; else batches would end where dictionaries do.
        `said`: the columns that say whose row it is and which, of which each step looks at every value.
        """
        self._raw, self._metadata, self._names = raw, parquet.metadata, names
        leaves = text_columns(parquet) if alone else {}
        texts = {name: leaves[name] for name in names if name in leaves}
        coded = [name for name in _of_few_texts(self._metadata, alone, texts) if name not in said]
        self._texts = {name: leaf for name, leaf in texts.items() if name not in coded}
        self._parquet = _opened(raw, metadata=self._metadata, read_dictionary=coded, page_checksum_verification=True)

    def batches(self, groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
        texts = read_texts(self._raw, self._metadata, groups[0], self._texts) if self._texts else {}
        others = [name for name in self._names if name not in texts]
        at = 0
        for rows in self._others(groups, others):
            columns = dict(zip(others, rows.columns, strict=True))
            columns |= {name: found.slice(at, rows.num_rows) for name, found in texts.items()}
            packed = pa.RecordBatch.from_arrays([columns[name] for name in self._names], names=list(self._names))
            yield from self._sized(packed)
            at += rows.num_rows

    def _others(self, groups: Sequence[int], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """What Arrow reads; rows without columns, where it reads none."""
        if names:
            yield from self._parquet.iter_batches(ROWS, row_groups=groups, columns=names, use_threads=False)
            return
        rows = sum(self._metadata.row_group(group).num_rows for group in groups)
        for start in range(0, rows, ROWS):
            nothing = pa.StructArray.from_arrays([pa.nulls(min(ROWS, rows - start))], names=["nothing"])
            yield pa.RecordBatch.from_struct_array(nothing).select([])

    def _sized(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """In halves where texts would take too much, and with no dictionary that takes more than it saves. Raises
        ArrowIndexError for a place that a damaged file's dictionary lacks: only here somebody looks.
        """
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        left = TEXTS
        for name, column in columns.items():
            left -= _bytes_of_texts(column)
            if left < 0 and rows.num_rows > 1:
                half = rows.num_rows // 2
                yield from self._sized(rows.slice(0, half))
                yield from self._sized(rows.slice(half))
                return
            if t.is_dictionary(column.type):
                columns[name] = _looked_up(column) if _pays(column) else column.dictionary_decode()
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _of_few_texts(metadata: pq.FileMetaData, groups: Sequence[int], texts: Mapping[str, int]) -> list[str]:
    """Columns whose texts come from a small dictionary: what has less than the 4 bytes of a length for each value.

    To make them of it once they are read takes a third of the time that Arrow takes to do so.
    """
    found = list(texts)
    for group in groups:
        chunks = {name: metadata.row_group(group).column(texts[name]) for name in found}
        coded = {name: chunk for name, chunk in chunks.items() if _CODED.issuperset(chunk.encodings)}
        found = [name for name, chunk in coded.items() if chunk.total_uncompressed_size < 4 * chunk.num_values]
    return found


def _bytes_of_texts(column: pa.Array) -> int:
    """How many bytes the texts of views, of a dictionary's numbers, or of long offsets will be, at most."""
    if t.is_string_view(column.type):  # each is 16 bytes, of which the first four say its length
        _, views, *texts = column.buffers()
        if not texts:
            return _WITHIN * len(column)
        lengths = np.frombuffer(views, np.int32, 4 * len(column), 16 * column.offset)[::4]
        most = len(column) * int(lengths.max())  # in half the time
        return most if most < TEXTS // 16 else int(lengths.sum(dtype=np.int64))
    if t.is_large_string(column.type):
        return int(column.nbytes)
    if t.is_dictionary(column.type) and is_text(column.type.value_type):
        lengths = pc.binary_length(column.dictionary)
        most = len(column) * (pc.max(lengths).as_py() or 0)
        return most if most < TEXTS // 16 else pc.sum(lengths.take(column.indices)).as_py() or 0
    return 0


def _pays(column: pa.DictionaryArray) -> bool:
    """Whether it stays one: the dictionary is in each batch that is cut of a row group."""
    return bool(column.dictionary.nbytes <= column.indices.nbytes)


def _looked_up(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """As it is. Raises ArrowIndexError for a place that its dictionary lacks."""
    return pa.DictionaryArray.from_arrays(column.indices, column.dictionary)


def _opened(raw: pa.NativeFile, **how: Any) -> pq.ParquetFile:
    """Arrow reads INT96 as nanoseconds, unless told otherwise: times beyond 1677 to 2262 become others, in silence."""
    return pq.ParquetFile(raw, coerce_int96_timestamp_unit="us", **how)


@contextmanager
def _read(files: Files, file: File) -> Iterator[pq.ParquetFile]:
    with _whole(files, file) as raw, _opened(raw) as parquet:
        yield parquet


@contextmanager
def _whole(files: Files, file: File) -> Iterator[pa.NativeFile]:
    with files.opened(file) as raw:
        try:
            yield raw
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            raise _not_whole(file) from None


def _not_whole(file: File) -> ContractError:
    return ContractError(
        f"the file '{file.shown}' isn't a whole Parquet file",
        got=f"{file.size:,} bytes",
        do="have it written again; let writers rename a finished file into place",
    )
