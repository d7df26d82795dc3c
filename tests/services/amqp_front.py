"""TLS before a broker of plain AMQP 1.0, and frames with all their fields.

AMQP lets whoever writes a performative leave out the last fields that are null (1.4 of its types), and Proton does.
Microsoft's client reads them by number and fails; its own service writes them all. So does this,
with what it relays.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from pathlib import Path

FIELDS = {0x10: 10, 0x11: 8, 0x12: 14, 0x13: 11, 0x14: 11, 0x15: 6, 0x16: 3, 0x17: 1, 0x18: 1}
"""open, begin, attach, flow, transfer, disposition, detach, end, close (AMQP 1.0, 2.7)."""
EMPTY, LIST8, LIST32, NULL = 0x45, 0xC0, 0xD0, b"\x40"


def complete(frame: bytes) -> bytes:
    """The frame, its performative's list with all fields that there are."""
    begin = frame[4] * 4
    if frame[5] or len(frame) < begin + 4:  # SASL's, or an empty one that says that somebody is there
        return frame
    code, kind = frame[begin + 2], frame[begin + 3]
    if kind == EMPTY:
        count, fields, rest = 0, b"", frame[begin + 4 :]
    elif kind == LIST8:
        size, count = frame[begin + 4], frame[begin + 5]
        fields, rest = frame[begin + 6 : begin + 5 + size], frame[begin + 5 + size :]
    else:
        size, count = struct.unpack_from(">II", frame, begin + 4)
        fields, rest = frame[begin + 12 : begin + 8 + size], frame[begin + 8 + size :]
    fields += NULL * (FIELDS[code] - count)
    performative = struct.pack(">BII", LIST32, len(fields) + 4, FIELDS[code]) + fields
    whole = frame[4 : begin + 3] + performative + rest
    return struct.pack(">I", len(whole) + 4) + whole


async def serve(port: int, behind: int, certificate: Path) -> None:
    """Until it is cancelled."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", behind)
        try:
            await asyncio.wait(
                [asyncio.ensure_future(_asked(reader, back)), asyncio.ensure_future(_answered(there, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            back.close()
            writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", port, ssl=context) as server:
        await server.serve_forever()


async def _asked(reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            back.write(data)
            await back.drain()


async def _answered(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await there.readexactly(8)
            if head[:4] != b"AMQP":  # else the protocol's header, which is 8 bytes
                head = complete(head + await there.readexactly(int.from_bytes(head[:4]) - 8))
            writer.write(head)
            await writer.drain()
