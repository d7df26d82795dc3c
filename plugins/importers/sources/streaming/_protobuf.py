"""Messages of Protobuf of one type, each the value of a message of the broker, as columns.

Encoding: https://protobuf.dev/programming-guides/encoding. Google's protoc compiles a schema's text, Google's parser
says whether values are messages of it, and ptars, which reads some that are none, makes them Arrow's arrays.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.registry import optional
from importers.exceptions import ContractError
from importers.sources._types import loadable
from importers.sources.streaming._registered import UnfitError
from importers.transport.schema_registry import Part

MAIN = "importers/main.proto"
ALL = "importers/all.proto"
Steps = tuple[str, ...]
"""Names of fields, `[]` for what a list has, `{}` for a map's values."""
COMPILED_IN = 60.0  # seconds
TIMESTAMP = "google.protobuf.Timestamp"
TAG = 0x0A  # of field 1, with a length
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of year 1 and of the end of 9999, which a Timestamp may be: what is beyond arrives as another time."""


class ProtobufReader:
    """Decodes many messages at once. Fields that the schema lacks aren't read.

    A field without presence has its default where it is absent, as Protobuf means it; one that is `optional`, in a
    `oneof`, or a message is null then. Enums are their names, numbers that have none are digits. Times are to the
    microsecond, and wrappers what they wrap.
    """

    def __init__(self, text: str, parts: Sequence[Part], path: Sequence[int], name: str) -> None:
        """Of the type at the `path`: the first number is that of a message in the file, the next of one within that.

        Raises ContractError for a schema that isn't one, and for types that columns can't hold: those that hold
        themselves, at whatever depth, have as many fields as somebody likes.
        """
        pool = _compiled(text, parts, name)
        message = _message(pool.FindFileByName(MAIN), path, name)
        self._times, self._choices, self._maps = _looked_at(message, name)
        self._together = _together(pool, message, name)
        self._refused: type[Exception] = optional("google.protobuf.message", "kafka").DecodeError
        ptars = optional("ptars", "kafka")
        config = ptars.PtarsConfig(
            timestamp_unit="us", time_unit="us", duration_unit="us", enum_repr="string", map_value_nullable=True
        )
        self._handler = ptars.HandlerPool([message.file], config).get_for_message(message)
        self.schema = pa.schema(
            [pa.field(field.name, _nullable(loadable(field.type))) for field in self._handler.schema()]
        )

    def read(self, records: pa.Array) -> pa.RecordBatch:
        """A row for each message. Raises UnfitError if one of them isn't of the type."""
        rows = self._decoded(records)
        for path in self._times:
            times = _along(rows, path).cast(pa.int64())
            if pc.any(pc.or_(pc.less(times, FIRST), pc.greater(times, LAST))).as_py():
                raise UnfitError
        for paths in self._choices:  # the last one counts, which only the bytes tell; no encoder writes two
            if pc.any(pc.greater(_said(rows, paths), 1)).as_py():
                raise UnfitError
        if any(_along(rows, path).null_count for path in self._maps):  # nor an entry without a value
            raise UnfitError
        return rows

    def _decoded(self, records: pa.Array) -> pa.RecordBatch:
        try:
            self._together.FromString(_as_fields(records))
            rows: pa.RecordBatch = self._handler.array_to_record_batch(records)
        except (self._refused, ValueError):
            raise UnfitError from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # Rust's
                raise
            raise UnfitError from None
        return rows


def _compiled(text: str, parts: Sequence[Part], name: str) -> Any:
    """The file and what it imports, in a pool of their own. protoc is a process, that may fail alone."""
    optional("grpc_tools.protoc", "kafka")
    descriptor_pb2 = optional("google.protobuf.descriptor_pb2", "kafka")
    descriptor_pool = optional("google.protobuf.descriptor_pool", "kafka")
    with TemporaryDirectory(prefix="importers-proto-") as directory:
        root = Path(directory)
        for part in (Part(MAIN, text), Part(ALL, ""), *parts):
            _written(root, part, name)
        out = root / "descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", "--include_imports"]
        try:
            subprocess.run(  # noqa: S603 - nothing of it is anybody's but ours
                [*command, f"--descriptor_set_out={out}", MAIN],
                check=True,
                capture_output=True,
                timeout=COMPILED_IN,
                stdin=subprocess.DEVNULL,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            raise _unusable(name, "protoc can't compile it") from None
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in found.file:
        pool.Add(file)
    return pool


def _together(pool: Any, message: Any, name: str) -> Any:
    """A type that has any number of the messages in its field 1: so the parser is asked once for all of them.

    Raises ContractError for a schema that has a type of that name.
    """
    descriptor_pb2 = optional("google.protobuf.descriptor_pb2", "kafka")
    label, kind = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    file = descriptor_pb2.FileDescriptorProto(name=ALL, package="importers_all", dependency=[MAIN])
    of = file.message_type.add(name="All").field
    of.add(name="one", number=1, label=label, type=kind, type_name=f".{message.full_name}")
    try:
        pool.Add(file)
    except TypeError:
        raise _unusable(name, "it has a type importers_all.All") from None
    found = pool.FindMessageTypeByName("importers_all.All")
    return optional("google.protobuf.message_factory", "kafka").GetMessageClass(found)


def _as_fields(records: pa.Array) -> bytes:
    """Each of them behind the tag of field 1 and its length, in five bytes of seven bits."""
    lengths = pc.binary_length(records).to_numpy().astype(np.uint32)
    heads = np.full((len(lengths), 6), TAG, np.uint8)
    for place in range(5):
        heads[:, place + 1] = (lengths >> (7 * place) & 0x7F) | (0x80 if place < 4 else 0)
    prefixes = pa.Array.from_buffers(pa.binary(6), len(lengths), [None, pa.py_buffer(heads.tobytes())])
    joined = pc.binary_join_element_wise(prefixes.cast(pa.binary()), records, b"").buffers()[2]
    return bytes(joined.to_pybytes()) if joined is not None else b""


def _written(root: Path, part: Part, name: str) -> None:
    """Under the name by which others import it. Raises ContractError for one that leads out of the directory, or that
    another has.
    """
    path = PurePosixPath(part.name)
    place = root / path
    if path.is_absolute() or ".." in path.parts or "\0" in part.name or not path.name:
        raise _unusable(name, "it refers to a file that can't be one")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(part.text)
    except (OSError, UnicodeError):
        raise _unusable(name, "it refers to files whose names or texts can't be") from None


def _message(file: Any, path: Sequence[int], name: str) -> Any:
    """The type at the path, counted as the file declares them: the types that maps are made of are nobody's."""
    among, found = list(file.message_types_by_name.values()), None
    for number in path:
        if number >= len(among):
            raise _unusable(name, "there is no such message type in it")
        found = among[number]
        among = [each for each in found.nested_types if not each.GetOptions().map_entry]
    if found is None:
        raise _unusable(name, "no message type is named")
    return found


def _looked_at(message: Any, name: str) -> tuple[list[Steps], list[list[Steps]], list[Steps]]:
    """Where times stand, the fields of each `oneof`, and maps. Raises ContractError for a type that holds itself."""
    times: list[Steps] = []
    choices: list[list[Steps]] = []
    maps: list[Steps] = []

    def look(at: Any, path: Steps, within: tuple[str, ...]) -> None:
        if at.full_name in within:
            raise _unusable(name, f"{at.full_name} holds itself")
        choices.extend([(*path, field.name) for field in oneof.fields] for oneof in at.oneofs if len(oneof.fields) > 1)
        for field in at.fields:
            here, kind = (*path, field.name), field.message_type
            if kind is None:
                continue
            if kind.GetOptions().map_entry:
                here, kind = (*here, "{}"), kind.fields_by_name["value"].message_type
                maps.append(here)
            elif field.is_repeated:
                here = (*here, "[]")
            if kind is not None and kind.full_name == TIMESTAMP:
                times.append(here)
            elif kind is not None:
                look(kind, here, (*within, at.full_name))

    look(message, (), ())
    return times, choices, maps


def _along(rows: Any, path: Steps) -> pa.Array:
    """What stands at the path in all rows, those of lists and maps one after the other."""
    found = rows.column(path[0])
    for step in path[1:]:
        if step == "[]":
            found = pc.list_flatten(found)
        else:
            found = found.items if step == "{}" else pc.struct_field(found, step)
    return found


def _said(rows: Any, paths: Sequence[Steps]) -> pa.Array:
    """How many of them each row says."""
    counts = [_along(rows, path).is_valid().cast(pa.int32()) for path in paths]
    total = counts[0]
    for count in counts[1:]:
        total = pc.add(total, count)
    return total


def _nullable(kind: pa.DataType) -> pa.DataType:
    """As columns have it: what a later schema lacks is null."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _nullable(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_nullable(kind.value_type))
    return pa.map_(kind.key_type, _nullable(kind.item_type)) if pa.types.is_map(kind) else kind


def _unusable(name: str, why: str) -> ContractError:
    return ContractError(f"{name} can't be read by: {why}", do="register a schema that columns can hold")
