"""A stream of Redis: its entries in the order of their ids, and how it stands. Needs Redis 7.0.

https://redis.io/docs/latest/develop/data-types/streams/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, TypeAlias

from importers.core.model import JSON, Pace
from importers.exceptions import ContractError, FatalSourceError
from importers.transport.redis import redis_client

if TYPE_CHECKING:
    from redis import Redis

Fields: TypeAlias = Mapping[bytes, bytes]
Entry: TypeAlias = tuple[str, Fields]
"""An id, `MILLISECONDS-NUMBER`, and what the entry has."""
BEGINNING = "0-0"
ACKNOWLEDGED = 10_000  # at once


@dataclass(frozen=True, slots=True)
class Standing:
    """The `last` id that was given, how many entries were ever `added`, how many there are, the `oldest` of these."""

    last: str
    added: int
    length: int
    oldest: str | None

    def lost(self, read: str, added: int) -> int:
        """How many entries were trimmed unread, since the one called `read`, when so many had been `added`: as many as
        were added since and aren't there.

        Raises ContractError if that was another stream.
        """
        since = self.added - added
        unread = self._begins_after(read)  # nothing is there that was read, so that all there is counts
        if order(self.last) < order(read) or since < 0 or (unread and since < self.length):
            raise ContractError(
                "the stream isn't the one that was read: it was made anew", got=self.last, do="read it into a new table"
            )
        return since - self.length if unread else 0

    def misses(self, due: str) -> bool:
        """Whether an entry that isn't there was trimmed: that begins with the oldest, and one alone is deleted."""
        return self._begins_after(due) or order(self.last) < order(due)

    def _begins_after(self, number: str) -> bool:
        return self.oldest is None or order(self.oldest) > order(number)


class RedisStream:
    """The stream under a key, and a client to ask for it."""

    def __init__(self, client: Redis, key: str) -> None:
        self._client: Any = client
        self._key = key

    def standing(self) -> Standing:
        """Raises FatalSourceError if there is no such stream."""
        if not self._client.exists(self._key):
            raise FatalSourceError(f"there is no stream '{self._key}'", do="correct `key`")
        return _standing(self._client.xinfo_stream(self._key))

    def newest(self, count: int) -> list[Entry]:
        return _entries(self._client.xrevrange(self._key, count=count))

    def first(self, start: str, to: str) -> str | None:
        """The id of the first entry of a range, as XRANGE takes it."""
        found = _entries(self._client.xrange(self._key, start, to, 1))
        return found[0][0] if found else None

    def pages(self, start: str, to: str, due: str | None, size: int) -> Iterator[list[Entry]]:
        """The entries of a range, the first of which is `due`, so many at a time.

        Each call asks for one entry more than it takes: the next has to begin with that one. Raises ContractError if
        some were trimmed meanwhile.
        """
        while True:
            found = _entries(self._client.xrange(self._key, start, to, size + 1))
            if due is not None and (not found or found[0][0] != due) and self.standing().misses(due):
                raise ContractError(
                    "entries were trimmed while they were read",
                    got=f"entry {due} comes next, and isn't there",
                    do="start a new run; keep the stream longer",
                )
            if found:
                yield found[:size]
            if len(found) <= size:
                return
            start = due = found[size][0]

    def come(self, after: str, size: int, pace: Pace) -> tuple[list[Entry], Standing] | None:
        """What comes after an id, and how the stream stood then, in one transaction; None for `pace.idle` seconds."""
        if not self._client.xread({self._key: after}, count=1, block=max(1, round(pace.idle * 1000))):
            return None
        sleep(pace.linger)
        asked = self._client.pipeline(transaction=True).xrange(self._key, f"({after}", "+", size)
        found, about = asked.xinfo_stream(self._key).execute()
        return _entries(found), _standing(about)

    def acknowledge(self, group: str, last: str) -> None:
        """Entries up to that one, whoever they were given to. The group goes on after it."""
        if not any(each["name"] == group.encode() for each in self._client.xinfo_groups(self._key)):
            self._client.xgroup_create(self._key, group, last)
        while pending := self._client.xpending_range(self._key, group, "-", last, ACKNOWLEDGED):
            self._client.xack(self._key, group, *(each["message_id"] for each in pending))
        self._client.xgroup_setid(self._key, group, last)


@contextmanager
def redis_stream(said: Mapping[str, JSON], key: str, *, timeout: float, extra: str) -> Iterator[RedisStream]:
    """As `redis_client` does it."""
    with redis_client(said, timeout=timeout, extra=extra) as client:
        yield RedisStream(client, key)


def order(number: str) -> tuple[int, int]:
    """What ids are sorted by."""
    moment, _, sequence = number.partition("-")
    return int(moment), int(sequence or 0)


def _entries(found: list[tuple[bytes, Fields]]) -> list[Entry]:
    return [(number.decode(), fields) for number, fields in found]


def _standing(about: Mapping[str, Any]) -> Standing:
    first = about["first-entry"]
    oldest = first[0].decode() if first else None
    return Standing(about["last-generated-id"].decode(), about["entries-added"], about["length"], oldest)
