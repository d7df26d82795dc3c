"""A stream of Redis: its entries in the order of their ids, and how it stands. Needs Redis 7.0.

https://redis.io/docs/latest/develop/data-types/streams/
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from importers.exceptions import ContractError, FatalSourceError
from importers.transport.redis import RedisServer

if TYPE_CHECKING:
    from redis import Redis

Fields: TypeAlias = Mapping[bytes, bytes]
Entry: TypeAlias = tuple[str, Fields]
"""An id, `MILLISECONDS-NUMBER`, and what the entry has."""
ACKNOWLEDGED = 10_000  # at once
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """The `last` id that was given, how many entries were ever `added`, how many there are, the `oldest` of these, and
    the `first` one that was asked for, both None where there is none. Of those that somebody `deleted` by their ids the
    greatest: trimming leaves that as it is.
    """

    last: str
    added: int
    length: int
    oldest: str | None
    first: str | None
    deleted: str

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

    def misses(self, due: str, added: int, *, may: bool) -> bool:
        """Whether the entry that was due, before which so many had been `added`, was trimmed: that begins with the
        oldest. One that somebody deleted, and it alone, is no loss.

        Raises ContractError then, unless entries `may` be missed; and if that was another stream.
        """
        is_another = order(self.last) < order(due)
        # Nothing behind it was ever deleted, so that what isn't there was before the oldest.
        it_alone = self.deleted == due and self.added - self.length == added + 1
        was_trimmed = self._begins_after(due) and not it_alone
        if is_another or (was_trimmed and not may):
            raise ContractError(
                "entries were trimmed while they were read",
                got=f"entry {due} comes next, and isn't there",
                do="start a new run; keep the stream longer",
            )
        return was_trimmed

    def _begins_after(self, number: str) -> bool:
        return self.oldest is None or order(self.oldest) > order(number)


class RedisStream:
    """The stream under a key. Each call raises FatalSourceError or TransientSourceError."""

    def __init__(self, server: RedisServer, key: str) -> None:
        self._server, self._key = server, key

    def close(self) -> None:
        self._server.close()

    def standing(self, start: str = "-") -> Standing:
        """At one moment, with the first entry from `start` on, as XRANGE takes it. Raises FatalSourceError if there is
        no such stream.
        """
        with self._server.asked() as client:
            asked: Any = client.pipeline(transaction=True)
            asked.exists(self._key).xinfo_stream(self._key).xrange(self._key, start, "+", 1)
            is_there, *answers = asked.execute(raise_on_error=False)
            if not is_there:
                raise FatalSourceError(f"there is no stream '{self._key}'", do="correct `key`")
            for refusal in (each for each in answers if isinstance(each, Exception)):
                raise refusal
        about, found = answers
        oldest, first = about["first-entry"], _entries(found)
        return Standing(
            about["last-generated-id"].decode(),
            about["entries-added"],
            about["length"],
            oldest[0].decode() if oldest else None,
            first[0][0] if first else None,
            about["max-deleted-entry-id"].decode(),
        )

    def newest(self, count: int) -> list[Entry]:
        with self._server.asked() as client:
            return _entries(client.xrevrange(self._key, count=count))

    def pages(self, first: str, to: str, size: int, added: int, *, skip: bool) -> Iterator[tuple[list[Entry], int]]:
        """The entries of a range, so many at a time, and how many had been `added` up to the last of them, without
        those that were deleted among them: fewer are known to be read, not more.

        Each call asks for one entry more than it takes: the next has to begin with that one. Raises ContractError if
        some were trimmed meanwhile, unless it is to `skip` them: then that is logged.
        """
        while True:
            with self._server.asked() as client:
                found = _entries(client.xrange(self._key, first, to, size + 1))
            if (not found or found[0][0] != first) and self.standing().misses(first, added, may=skip):
                _log.warning("%s: entries from %s on were trimmed while they were read", self._key, first)
            added += len(found[:size])
            if found:
                yield found[:size], added
            if len(found) <= size:
                return
            first = found[size][0]

    def comes(self, after: str, added: int, seconds: float) -> bool:
        """Whether there is an entry after that one, with which so many had been `added`; waited for so long at most.

        Raises FatalSourceError or ContractError if the stream is gone, or another by now: none would ever come.
        """
        with self._server.asked() as client:
            found = bool(client.xread({self._key: after}, count=1, block=max(1, round(seconds * 1000))))
        if not found:
            self.standing().lost(after, added)
        return found

    def acknowledge(self, group: str, last: str) -> None:
        """Entries up to that one, whoever they were given to. The group goes on after it."""
        with self._server.asked() as client:
            self._acknowledge(client, group, last)

    def _acknowledge(self, client: Redis, group: str, last: str) -> None:
        if not any(each["name"] == group.encode() for each in client.xinfo_groups(self._key)):
            client.xgroup_create(self._key, group, last)
        while pending := client.xpending_range(self._key, group, "-", last, ACKNOWLEDGED):
            client.xack(self._key, group, *(each["message_id"] for each in pending))
        client.xgroup_setid(self._key, group, last)


def order(number: str) -> tuple[int, int]:
    """What ids are sorted by."""
    moment, _, sequence = number.partition("-")
    return int(moment), int(sequence or 0)


def _entries(found: Any) -> list[Entry]:
    return [(number.decode(), fields) for number, fields in found]
