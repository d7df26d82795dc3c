"""Messages of Protobuf, written by Google's own encoder from a schema's text, in Confluent's wire format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc


def message_types(text: str, imported: Mapping[str, str] | None = None) -> Any:
    """The classes of a schema's messages, by their full names."""
    includes = str(Path(protoc.__file__).parent / "_proto")
    with TemporaryDirectory() as directory:
        for name, each in {"main.proto": text, **(imported or {})}.items():
            Path(directory, name).write_text(each)
        out = Path(directory, "out")
        said = ["", f"-I{directory}", f"-I{includes}", "--include_imports", f"--descriptor_set_out={out}", "main.proto"]
        assert protoc.main(said) == 0
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in found.file:
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name for file in found.file], pool)


def encoded(cls: Any, row: Mapping[str, Any]) -> bytes:
    """As ProtoJSON has it; a field without a value is left out."""
    said = {name: each for name, each in row.items() if each is not None}
    return bytes(json_format.ParseDict(said, cls()).SerializeToString())


def framed(schema: int, path: Sequence[int], record: bytes) -> bytes:
    """Confluent's serializers write `[0]` as one zero."""
    indexes = b"\0" if list(path) == [0] else b"".join(map(_zigzag, [len(path), *path]))
    return struct.pack(">bI", 0, schema) + indexes + record


def _zigzag(number: int) -> bytes:
    left, out = number << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])
