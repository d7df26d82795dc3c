"""A broker that speaks AMQP 1.0 by Apache Qpid's Proton, with what Azure Event Hubs adds to it. A program of its own.

`python amqp_broker.py DIRECTORY PORT PORT KEY`: the ports of TLS and behind it, and the shared access key. It isn't
Event Hubs: AMQP is Proton's, and the additions are what Microsoft's client asks for and expects.

A directory in DIRECTORY is a hub: `partitions` says how many it has, `made` when (in milliseconds since 1970),
`forbidden` that nobody may use it, `N.begin` which sequence number partition N begins with; events are in `N.log`.

- `$cbs`: `put-token`, whose shared access signature is looked at
- `$management`: READ of `com.microsoft:eventhub` and of `com.microsoft:partition`
- `HUB/ConsumerGroups/GROUP/Partitions/N`: its events from where the link's filter says, annotated
- `HUB`, `HUB/Partitions/N`: takes events, one a message
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

from amqp_front import serve
from proton import Condition, Message, symbol, timestamp
from proton.handlers import MessagingHandler
from proton.reactor import Container

FILTER = re.compile(r"amqp\.annotation\.x-opt-(?P<what>sequence-number|offset|enqueued-time) (?P<how>>=?) '(?P<at>.*)'")
FOUND = {"sequence-number": 0, "offset": 0, "enqueued-time": 1}
UNAUTHORISED, ABSENT = "amqp:unauthorized-access", "amqp:not-found"


class Partition:
    """Events as they came: when, in milliseconds since 1970, and as they were encoded."""

    def __init__(self, hub: Path, number: str) -> None:
        self._log, self._begin = hub / f"{number}.log", hub / f"{number}.begin"
        self.events: list[tuple[int, bytes]] = []
        raw = self._log.read_bytes() if self._log.exists() else b""
        at = 0
        while at < len(raw):
            moment, size = struct.unpack_from(">QI", raw, at)
            self.events.append((moment, raw[at + 12 : at + 12 + size]))
            at += 12 + size

    @property
    def begin(self) -> int:
        return int(self._begin.read_text()) if self._begin.exists() else 0

    def append(self, encoded: bytes) -> None:
        moment = max(time.time_ns() // 1_000_000, self.events[-1][0] if self.events else 0)
        with self._log.open("ab") as log:
            log.write(struct.pack(">QI", moment, len(encoded)) + encoded)
        self.events.append((moment, encoded))

    def first(self, asked: str) -> int:
        """The sequence number of the first event that a filter lets through, as if each were looked at."""
        found = FILTER.fullmatch(asked)
        if found is None:
            raise ValueError(asked)
        if found["at"] in ("-1", "@latest"):
            return self.begin if found["at"] == "-1" else len(self.events)
        wanted, inclusive = int(found["at"]), found["how"] == ">="
        for number in range(self.begin, len(self.events)):
            value = (number, self.events[number][0])[FOUND[found["what"]]]
            if value > wanted or (inclusive and value == wanted):
                return number
        return max(wanted + (not inclusive), self.begin) if FOUND[found["what"]] == 0 else len(self.events)


class Broker(MessagingHandler):
    def __init__(self, home: Path, port: int, key: str) -> None:
        super().__init__(prefetch=100, auto_accept=True)
        self._home, self._port, self._key = home, port, key
        self._partitions: dict[tuple[Path, str], Partition] = {}
        self._granted: dict[Any, set[str]] = {}
        self._readers: dict[Any, list[Any]] = {}  # link → [its partition, the next sequence number]

    def on_start(self, event: Any) -> None:
        event.container.listen(f"amqp://127.0.0.1:{self._port}")
        event.container.schedule(0.05, self)

    def on_timer_task(self, event: Any) -> None:
        """Whoever reads a hub that is gone or forbidden by now is sent away."""
        for link in list(self._readers):
            if why := self._refused(link, link.remote_source.address):
                self._dismiss(link, why)
        event.container.schedule(0.05, self)

    def on_connection_closed(self, event: Any) -> None:
        self._forget(event.connection)

    def on_disconnected(self, event: Any) -> None:
        self._forget(event.connection)

    def _forget(self, connection: Any) -> None:
        self._granted.pop(connection, None)
        for link in [link for link in self._readers if link.connection == connection]:
            del self._readers[link]

    # -- links

    def on_link_opening(self, event: Any) -> None:
        link = event.link
        link.source.address, link.target.address = link.remote_source.address, link.remote_target.address
        address = link.source.address if link.is_sender else link.target.address
        if address in ("$cbs", "$management"):
            return
        if why := self._refused(link, address):
            link.open()
            self._dismiss(link, why)
        elif link.is_sender:
            hub, number = self._place(address)
            asked = link.remote_source.filter
            asked.rewind()
            partition = self._partition(hub, str(number))
            (selector,) = asked.get_object().values() if asked.next() is not None else ()
            text = selector.value if isinstance(selector.value, str) else bytes(selector.value).decode()
            self._readers[link] = [partition, partition.first(text)]

    def on_link_closing(self, event: Any) -> None:
        self._readers.pop(event.link, None)

    def _dismiss(self, link: Any, why: str) -> None:
        self._readers.pop(link, None)
        link.condition = Condition(why, "the test says so")
        link.close()

    def _refused(self, link: Any, address: str) -> str:
        hub, number = self._place(address)
        if not (hub / "partitions").exists() or (number is not None and int(number) >= self._count(hub)):
            return ABSENT
        is_granted = hub.name in self._granted.get(link.connection, ())
        return "" if is_granted and not (hub / "forbidden").exists() else UNAUTHORISED

    def on_sendable(self, event: Any) -> None:
        self._send(event.link)

    def _send(self, link: Any) -> None:
        if link not in self._readers:
            return
        partition, number = self._readers[link]
        number = max(number, partition.begin)
        while link.credit > 0 and number < len(partition.events):
            moment, encoded = partition.events[number]
            message = Message()
            message.decode(encoded)
            said = {
                "x-opt-sequence-number": number,
                "x-opt-offset": str(number),
                "x-opt-enqueued-time": timestamp(moment),
            }
            kept = message.annotations or {}
            message.annotations = {**kept, **{symbol(name): value for name, value in said.items()}}
            link.send(message).settle()
            number += 1
        self._readers[link][1] = number

    # -- messages

    def on_message(self, event: Any) -> None:
        address = event.receiver.target.address
        if address == "$cbs":
            self._answer(event, *self._put_token(event))
        elif address == "$management":
            self._answer(event, *self._read(event.message.properties, event.connection))
        else:
            hub, number = self._place(address)
            if number is None:
                key = dict(event.message.annotations or {}).get("x-opt-partition-key") or str(time.time_ns())
                number = str(zlib.crc32(str(key).encode()) % self._count(hub))
            partition = self._partition(hub, number)
            partition.append(event.message.encode())
            for link, (read, _) in list(self._readers.items()):
                if read is partition:
                    self._send(link)

    def _answer(self, event: Any, code: int, said: str, body: Any = None) -> None:
        """By the link that the request wants it on, else the one of the same address."""
        links, link = [], event.connection.link_head(0)
        while link is not None:
            links.append(link)
            link = link.next(0)
        address = event.receiver.target.address
        senders = [link for link in links if link.is_sender and link.source.address == address]
        wanted = [link for link in senders if link.remote_target.address == event.message.reply_to]
        message = Message(body=body, correlation_id=event.message.id)
        message.properties = {"status-code": code, "status-description": said}
        (wanted or senders)[0].send(message).settle()

    def _put_token(self, event: Any) -> tuple[int, str]:
        """Microsoft: Generate a shared access signature token; the audience is a hub, or all of them."""
        said = parse_qs(str(event.message.body).removeprefix("SharedAccessSignature "), strict_parsing=True)
        audience, (expires,), (signature,) = said["sr"][0], said["se"], said["sig"]
        signed = f"{quote_plus(audience)}\n{expires}".encode()
        right = base64.b64encode(hmac.digest(self._key.encode(), signed, hashlib.sha256)).decode()
        if not hmac.compare_digest(signature, right) or int(expires) < time.time():
            return 401, "InvalidSignature: The token has an invalid signature."
        hub = urlsplit(audience).path.strip("/").partition("/")[0]
        self._granted.setdefault(event.connection, set()).add(hub)
        return 202, "Accepted"

    def _read(self, asked: dict[str, Any], connection: Any) -> tuple[int, str, Any]:
        hub = self._home / asked["name"]
        if not (hub / "partitions").exists():
            return 404, "The messaging entity could not be found.", None
        if (hub / "forbidden").exists() or hub.name not in self._granted.get(connection, ()):
            return 401, "Unauthorized access. 'Listen' claim(s) are required to perform this operation.", None
        if asked["type"] == "com.microsoft:eventhub":
            made = timestamp(int((hub / "made").read_text()))
            ids = [str(number) for number in range(self._count(hub))]
            return 200, "OK", {"name": hub.name, "created_at": made, "partition_count": len(ids), "partition_ids": ids}
        partition = self._partition(hub, asked["partition"])
        last = len(partition.events) - 1
        return (
            200,
            "OK",
            {
                "name": hub.name,
                "partition": asked["partition"],
                "begin_sequence_number": partition.begin,
                "last_enqueued_sequence_number": last,
                "last_enqueued_offset": str(last),
                "last_enqueued_time_utc": timestamp(partition.events[-1][0] if partition.events else 0),
                "is_partition_empty": partition.begin > last,
            },
        )

    # -- hubs

    def _place(self, address: str) -> tuple[Path, str | None]:
        """The hub, and the partition if one is named."""
        hub, *rest = urlsplit(address).path.strip("/").split("/")
        return self._home / hub, rest[-1] if rest else None

    def _count(self, hub: Path) -> int:
        return int((hub / "partitions").read_text())

    def _partition(self, hub: Path, number: str) -> Partition:
        if (hub, number) not in self._partitions:
            self._partitions[hub, number] = Partition(hub, number)
        return self._partitions[hub, number]


if __name__ == "__main__":
    directory, secret = Path(sys.argv[1]), sys.argv[4]
    front, behind = map(int, sys.argv[2:4])
    tls = serve(front, behind, directory / "server.pem")
    threading.Thread(target=asyncio.run, args=(tls,), daemon=True).start()
    Container(Broker(directory, behind, secret)).run()
