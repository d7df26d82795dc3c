"""The format of rows at rest between steps: Arrow, in frames that are encrypted one by one.

    60 bytes        the file's key, sealed by the run's key for the file's path
    frames          4 bytes: its length, little-endian; ciphertext and tag, by AES-256-GCM under the file's key

What is encrypted is an Arrow stream of one batch; in the last frame, nothing. A frame's nonce is its number, in 11
bytes, and whether it is the last, in one: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015).
So a frame that is changed, moved, left out or cut off doesn't open, and a file that is moved, renamed or swapped
neither. A file's key is used for that file only, so that no nonce comes twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from importers.core.coded import decoded
from importers.keys.keyring import RunKey

ROWS_A_BATCH = 65_536
BYTES_A_BATCH = 8 << 20
_SMALL = 16_384
"""Rows of a batch that is put together with the next: each batch costs every later step something."""
_KEY_BITS, _TAG, _LENGTH = 256, 16, 4
_SEALED_KEY = 12 + _KEY_BITS // 8 + _TAG
Damaged = pa.ArrowInvalid
"""What `read` raises for bytes that aren't what was written; its text holds none of them."""


class FramesWriter:
    """Writes batches of one schema, once they are `decoded`, to `sink`, and closes it. Holds at most one frame."""

    def __init__(self, sink: pa.NativeFile, schema: pa.Schema, key: RunKey, path: str, *, compress: bool) -> None:
        """`compress` costs more than it saves on a local disk, and less on a network. Raises OSError."""
        secret = AESGCM.generate_key(_KEY_BITS)
        self.schema, self.rows = schema, 0
        self.head = key.seal(secret, path.encode())
        self.bytes = sink.write(self.head)
        self._sink, self._cipher = sink, AESGCM(secret)
        self._options = pa.ipc.IpcWriteOptions(compression="lz4" if compress else None, use_threads=False)
        self._frames = 0
        self._plain, self._frame = bytearray(), bytearray()  # used again: fresh memory costs as much as encryption
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Raises OSError."""
        batch = batch if batch.num_rows >= _SMALL else decoded(batch)  # dictionaries aren't put together
        if self._held and not batch.schema.equals(self._held[0].schema):
            self._flush()
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        full = self._held_rows >= ROWS_A_BATCH or self._held_bytes >= BYTES_A_BATCH
        if full or (len(self._held) == 1 and batch.num_rows >= _SMALL):
            self._flush()

    def close(self) -> None:
        """Raises OSError."""
        self._flush()
        self._seal(b"", last=True)
        self._sink.close()

    def abandon(self) -> None:
        """Let go of a file that nobody will read."""
        self._held.clear()
        with suppress(OSError):
            self._sink.close()

    def _flush(self) -> None:
        if not self._held:
            return
        table = pa.Table.from_batches([b.replace_schema_metadata(None) for b in self._held])
        table = table.combine_chunks() if len(self._held) > 1 else table
        for batch in table.to_batches(max_chunksize=ROWS_A_BATCH):
            self._seal(self._encoded(batch), last=False)
        self.rows += self._held_rows
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def _encoded(self, batch: pa.RecordBatch) -> memoryview:
        if self._options.compression:
            sink = pa.BufferOutputStream()
            self._encode(batch, sink)
            return memoryview(sink.getvalue()).cast("B")
        counted = pa.MockOutputStream()
        self._encode(batch, counted)
        self._plain = _roomy(self._plain, counted.size())
        view = memoryview(self._plain)[: counted.size()]
        self._encode(batch, pa.FixedSizeBufferWriter(pa.py_buffer(view)))
        return view

    def _encode(self, batch: pa.RecordBatch, sink: pa.NativeFile) -> None:
        with pa.ipc.new_stream(sink, batch.schema, options=self._options) as stream:
            stream.write_batch(batch)

    def _seal(self, plain: memoryview | bytes, *, last: bool) -> None:
        length = len(plain) + _TAG
        self._frame = _roomy(self._frame, _LENGTH + length)
        frame = memoryview(self._frame)[: _LENGTH + length]
        frame[:_LENGTH] = length.to_bytes(_LENGTH, "little")
        self._cipher.encrypt_into(_nonce(self._frames, last), plain, None, frame[_LENGTH:])
        self._frames += 1
        self.bytes += self._sink.write(frame)


def _roomy(buffer: bytearray, size: int) -> bytearray:
    return buffer if len(buffer) >= size else bytearray(size + size // 8)


def read(source: pa.NativeFile, key: RunKey, path: str, *, prefetch: bool) -> Iterator[pa.RecordBatch]:
    """A file's batches, `decoded`, in memory one at a time; `prefetch` reads in few large requests.

    Raises PrivacyError for another key or path, `Damaged`, OSError.
    """
    source.seek(0)
    size = source.size()
    source = pa.BufferedInputStream(source, BYTES_A_BATCH) if prefetch else source
    cipher = AESGCM(key.open(bytes(source.read(_SEALED_KEY)), path.encode()))
    number, last, buffer = 0, False, bytearray()
    while not last:
        length = int.from_bytes(source.read(_LENGTH), "little")
        buffer = _roomy(buffer, min(length, size))
        frame = memoryview(buffer)[:length]
        last = source.readinto(frame) == _TAG
        plain = bytearray(max(len(frame) - _TAG, 0))
        try:
            cipher.decrypt_into(_nonce(number, last), frame, None, plain)
        except (InvalidTag, ValueError):  # ValueError: too short to have a tag
            raise Damaged(f"frame {number} isn't what was written") from None
        if not last:
            yield from map(decoded, pa.ipc.open_stream(pa.py_buffer(plain)))
        number += 1
    if source.read(1):
        raise Damaged("there is something behind the last frame")


def head(source: pa.NativeFile) -> str:
    """SHA-256 of a file's sealed key. As that key opens this file's frames only, it stands for all of the file."""
    return digest(bytes(source.read_at(_SEALED_KEY, 0)))


def digest(sealed_key: bytes) -> str:
    """What `head` is to be for a file that begins with it."""
    return hashlib.sha256(sealed_key).hexdigest()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
