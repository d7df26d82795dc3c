"""From one page to the next, in the ways that APIs have."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from importers.exceptions import ContractError, TransientSourceError
from importers.transport.http.client import Answer, Call, Client

logger = logging.getLogger(__name__)

Path: TypeAlias = tuple[str, ...]
"""Where something stands in an answer: `("meta", "next")`."""


@dataclass(frozen=True, slots=True)
class ByToken:
    """The answer's body holds what has to be sent for the next page: a cursor, or a token."""

    records: Path
    token: Path
    parameter: str

    def after(self, call: Call, answer: Answer, body: Any) -> Call | None:  # noqa: ARG002 - others look at it
        token = dig(body, self.token)
        return call.having(**{self.parameter: token}) if token not in (None, "") else None


@dataclass(frozen=True, slots=True)
class ByLink:
    """The next page's address: in the body, or in the header `Link` (RFC 8288) where no path is given."""

    records: Path
    link: Path = ()

    def after(self, call: Call, answer: Answer, body: Any) -> Call | None:
        link = dig(body, self.link) if self.link else _linked(answer.headers.get("link", ""))
        return replace(call, path=str(link), params={}) if link else None


@dataclass(frozen=True, slots=True)
class ByCount:
    """One after the other until a page holds fewer than `size`: the answer doesn't say how many there are.

    `step` is 1 where pages are counted, and the size where records are. A list that changes while it is read may lose
    or double a record unseen: nothing in the answers tells.
    """

    records: Path
    parameter: str
    size: int
    step: int = 1
    begin: int = 1

    def after(self, call: Call, answer: Answer, body: Any) -> Call | None:  # noqa: ARG002 - others look at it
        if len(dig(body, self.records) or ()) < self.size:
            return None
        return call.having(**{self.parameter: int(call.said(self.parameter, self.begin)) + self.step})


@dataclass(frozen=True, slots=True)
class ByPage:
    """Numbered from 1. The answer says how many there are.

    Pages share nothing: a list that changes is noticed by its total, by records that are missing in the end, and by its
    first page, which is asked for once more after the last where `identity` tells two records apart. What isn't noticed
    is a change behind the first page by which as many came as went. `omits` is for systems that are known to count
    records which they don't give, `counts` for those that give records which they don't count: these are left out.
    """

    records: Path
    pages: Path
    total: Path
    parameter: str = "page"
    omits: bool = False
    counts: Callable[[Any], bool] | None = None
    identity: tuple[Path, ...] = ()

    def named(self, page: list[Any]) -> list[list[Any]]:
        return [[dig(record, path) for path in self.identity] for record in page]

    def rest(self, call: Call, body: Any) -> Iterator[Call]:
        for number in range(2, int(dig(body, self.pages) or 0) + 1):
            yield call.having(**{self.parameter: number})

    def joined(self, before: list[Any], page: list[Any]) -> list[Any] | None:  # noqa: ARG002 - pages share nothing
        return self.counted(page)

    def counted(self, page: list[Any]) -> list[Any]:
        return page if self.counts is None else [record for record in page if self.counts(record)]


@dataclass(frozen=True, slots=True)
class ByOffset:
    """So many from there on. Each page begins with the last record of the one before.

    That shows a list that has shifted between two calls even where its total is the same as before, because one record
    came and another went. `identity` is what tells two records of the list apart. `omits` is for systems that are known
    to count records which they don't give.
    """

    records: Path
    total: Path
    limit: int
    identity: tuple[Path, ...]
    omits: bool = False
    parameter: str = "offset"

    def rest(self, call: Call, body: Any) -> Iterator[Call]:
        total = int(dig(body, self.total) or 0)
        for offset in range(self.limit - 1, max(total - 1, 0), self.limit - 1):
            yield call.having(**{self.parameter: offset})

    def counted(self, page: list[Any]) -> list[Any]:
        return page

    def joined(self, before: list[Any], page: list[Any]) -> list[Any] | None:
        """What is new in the page; None if it doesn't continue the one before."""
        if len(before) < self.limit:  # records were left out: nothing says where the page ends
            return page
        same = page and [dig(before[-1], path) for path in self.identity] == [
            dig(page[0], path) for path in self.identity
        ]
        return page[1:] if same else None


Chained: TypeAlias = ByToken | ByLink | ByCount
Counted: TypeAlias = ByPage | ByOffset


@dataclass(frozen=True, slots=True)
class ByWindow:
    """A time in pieces of so many seconds, for a system that doesn't give more of it at once.

    The first call says the whole time by its parameters `start` and `end`, in seconds since 1970, the end not included;
    `written` is how the system wants to read them. A piece that holds `most` records, which is all that an answer
    holds, is asked for again in halves: what was beyond them was left out. `within` is how a piece goes on from page
    to page.

    `moments` says of records when they were, in microseconds since 1970, or None. Then a piece is asked for with a
    second more at each end, and of its records those count that were within it: whichever end a system counts in, none
    is lost at a seam or comes twice. Without it the system is trusted to count in the start only.
    """

    records: Path
    start: str
    end: str
    seconds: int
    most: int | None = None
    within: Chained | Counted | None = None
    written: Callable[[int], Any] = int
    moments: Callable[[list[Any]], list[int | None]] | None = None

    def pieces(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        for at in range(begin, end, self.seconds):
            yield at, min(at + self.seconds, end)

    def call(self, first: Call, begin: int, end: int) -> Call:
        more = 0 if self.moments is None else 1
        return first.having(**{self.start: self.written(max(0, begin - more)), self.end: self.written(end + more)})

    def within_piece(self, found: list[Any], begin: int, end: int) -> list[Any]:
        """Without what belongs to the pieces beside; what has no moment stays, to be refused by whoever needs it."""
        if self.moments is None:
            return found
        times = self.moments(found)
        return [each for each, at in zip(found, times, strict=True) if at is None or begin <= at / 1_000_000 < end]


Style: TypeAlias = Chained | Counted | ByWindow


def pages(client: Client, first: Call, style: Style) -> Generator[list[Any], None, None]:
    """Every page's records, in order; those of a counted list are asked for several at once.

    Raises ContractError where the system goes round in a circle, gives fewer records than it counts or hasn't what
    `style` says, TransientSourceError where a list changed while it was read, and what `client` raises.
    """
    if isinstance(style, ByWindow):
        return _windowed(client, first, style)
    return _counted(client, first, style) if isinstance(style, ByPage | ByOffset) else _chained(client, first, style)


def _windowed(client: Client, first: Call, style: ByWindow) -> Generator[list[Any], None, None]:
    pieces = style.pieces(int(first.said(style.start)), int(first.said(style.end)))
    if style.within is not None:
        for piece in pieces:
            for page in pages(client, style.call(first, *piece), style.within):
                yield style.within_piece(page, *piece)
        return
    ahead, asked = itertools.tee(pieces)
    answers = client.ask_all(style.call(first, *piece) for piece in ahead)
    for piece, answer in zip(asked, answers, strict=True):
        yield from _whole(client, first, style, piece, answer)


def _whole(client: Client, first: Call, style: ByWindow, piece: tuple[int, int], answer: Answer) -> Iterator[list[Any]]:
    """A piece's records: in halves, and those in halves, where an answer doesn't hold them all."""
    found = records(answer.json(), style.records, first, client)
    begin, end = piece
    if style.most is None or len(found) < style.most:
        yield style.within_piece(found, begin, end)
        return
    if end - begin < 2:
        got = f"{len(found):,} records in a second, which is all that it gives"
        raise ContractError(f"{client.host} can't give all of {first.label}", got=got, do="read it another way")
    middle = (begin + end) // 2
    for half in ((begin, middle), (middle, end)):
        yield from _whole(client, first, style, half, client.ask(style.call(first, *half)))


def _chained(client: Client, first: Call, style: Chained) -> Generator[list[Any], None, None]:
    call: Call | None = first
    seen = set()
    before = None
    while call is not None:
        asked = (call.path, repr(sorted({**call.params, **(call.form or {})}.items())))
        if asked in seen:
            raise _repeated(client, call)
        seen.add(asked)
        answer = client.ask(call)
        if answer.body == before:
            raise _repeated(client, call)
        before, body = answer.body, answer.json()
        yield records(body, style.records, call, client)
        call = style.after(call, answer, body)


def _counted(client: Client, first: Call, style: Counted) -> Generator[list[Any], None, None]:
    answer = client.ask(first)
    body = answer.json()
    total, before = dig(body, style.total), answer.body
    head = last = style.counted(records(body, style.records, first, client))
    read = len(last)
    yield last
    for answer in client.ask_all(style.rest(first, body)):
        if answer.body == before:
            raise _repeated(client, first)
        before, body = answer.body, answer.json()
        page = records(body, style.records, first, client)
        new = style.joined(last, page)
        if new is None or dig(body, style.total) != total:
            raise _changed(client, first)
        read, last = read + len(new), page
        yield new
    if isinstance(style, ByPage) and style.identity and last is not head:
        again = style.counted(records(client.ask(first).json(), style.records, first, client))
        if style.named(head) != style.named(again):
            raise _changed(client, first)
    _complete(client, first, style, read, int(total or 0))


def _complete(client: Client, first: Call, style: Counted, read: int, total: int) -> None:
    """Raises ContractError for a list that came short, unless it is known to."""
    if read >= total:
        return
    if not style.omits:
        what, got = f"{client.host} gives fewer records than it counts", f"{read:,} of {total:,} for {first.label}"
        raise ContractError(what, got=got, do="read it again; if that stays, leave the stream out")
    logger.warning("%s counts %d records of %s and gave %d, as it is known to", client.host, total, first.label, read)


def dig(value: Any, path: Path) -> Any:
    """What stands at the path in an object, None where nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def records(body: Any, path: Path, call: Call, client: Client) -> list[Any]:
    """The list that stands at the path. Raises ContractError where none does."""
    found = dig(body, path)
    if isinstance(found, Mapping):  # an API that was made of XML has no lists of one
        return [found]
    if not isinstance(found, list):
        what = f"{client.host} doesn't answer as its API does"
        raise ContractError(what, got=f"no list for {call.label}", do="see whether the API has changed")
    return found


def _changed(client: Client, call: Call) -> TransientSourceError:
    what = f"{client.host}'s list changed while it was read"
    return TransientSourceError(what, got=call.label, do="read it again")


def _repeated(client: Client, call: Call) -> ContractError:
    what = f"{client.host} gives a page that it has given before"
    return ContractError(what, got=call.label, do="see whether the API has changed how it pages")


def _linked(header: str) -> str | None:
    found = re.search(r'<([^>]*)>\s*;[^,]*\brel="?next\b', header)
    return found[1] if found else None
