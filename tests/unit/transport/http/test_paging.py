"""From page to page: expected records are counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.loopback import Asked, Reply
from tests.unit.transport.http.conftest import Answering, System

from importers.exceptions import ContractError, FatalSourceError, TransientSourceError
from importers.transport.http.client import Call
from importers.transport.http.paging import ByCount, ByLink, ByOffset, ByPage, ByToken, ByWindow, pages

CALL = Call("list", "list", {"limit": 3})
OFFSET = ByOffset(("items",), ("total",), 3, (("id",),))


def read(system: System, answer: Answering, style: Any, **settings: Any) -> list[Any]:
    client = system.client(system.serve(answer), retry_attempts=1, **settings)
    return [record for page in pages(client, CALL, style) for record in page]


def by_token(asked: Asked) -> Reply:
    token = asked.query.get("cursor")
    return Reply({"items": [token or "first"], "meta": {"next": {None: "a", "a": "b", "b": ""}[token]}})


def test_a_token_leads_to_the_next_page(system: System) -> None:
    assert read(system, by_token, ByToken(("items",), ("meta", "next"), "cursor")) == ["first", "a", "b"]


def test_a_token_that_comes_again_is_an_error(system: System) -> None:
    def answer(asked: Asked) -> Reply:
        token = asked.query.get("cursor", "")
        return Reply({"items": [token], "next": {"": "a", "a": "b", "b": "a"}[token]})

    with pytest.raises(ContractError, match="given before"):
        read(system, answer, ByToken(("items",), ("next",), "cursor"))


def test_the_same_page_again_is_an_error(system: System) -> None:
    with pytest.raises(ContractError, match="given before"):
        read(
            system, lambda _: Reply({"items": [1], "pages": 3, "total": 3}), ByPage(("items",), ("pages",), ("total",))
        )


@pytest.mark.parametrize("in_header", [True, False])
def test_a_link_leads_to_the_next_page(system: System, in_header: bool) -> None:
    def answer(asked: Asked) -> Reply:
        number = int(asked.query.get("page", "1"))
        link = f"/list?page={number + 1}" if number < 3 else None
        headers = {"Link": f'</list?page=1>; rel="first", <{link}>; rel="next"'} if link and in_header else {}
        return Reply({"items": [number], "next": None if in_header else link}, headers=headers)

    assert read(system, answer, ByLink(("items",), () if in_header else ("next",))) == ["1", "2", "3"]


def test_a_link_to_another_host_is_not_followed(system: System) -> None:
    other = system.serve([Reply({"items": []})])
    with pytest.raises(FatalSourceError, match="credentials don't belong"):
        read(system, lambda _: Reply({"items": [1], "next": f"{other.address}/list"}), ByLink(("items",), ("next",)))
    assert other.asked == []


def test_numbered_pages_are_read_to_the_last(system: System) -> None:
    def answer(asked: Asked) -> Reply:
        number = int(asked.query.get("page", "1"))
        return Reply({"items": [2 * number - 1, 2 * number][: 5 - 2 * number + 2], "pages": 3, "total": 5})

    assert read(system, answer, ByPage(("items",), ("pages",), ("total",))) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    ("style", "offset"),
    [(ByCount(("items",), "page", 2), False), (ByCount(("items",), "skip", 2, step=2, begin=0), True)],
)
def test_pages_that_nobody_counts_are_read_until_one_isn_t_full(
    system: System, style: ByCount, offset: bool, count: int
) -> None:
    def answer(asked: Asked) -> Reply:
        at = int(asked.query.get("skip", 0)) if offset else 2 * (int(asked.query.get("page", 1)) - 1)
        return Reply({"items": list(range(count))[at : at + 2]})

    assert read(system, answer, style) == [str(n) for n in range(count)]


class Timed:
    """Something happens every 10 seconds, and an answer holds no more than `most` of it."""

    def __init__(self, most: int = 1000) -> None:
        self.most, self.asked = most, list[tuple[int, int]]()

    def __call__(self, asked: Asked) -> Reply:
        begin, end = int(asked.query["from"]), int(asked.query["until"])
        self.asked.append((begin, end))
        return Reply({"items": [n for n in range(0, 1000, 10) if begin <= n < end][: self.most]})


TIMES = Call("list", "list", {"from": 100, "until": 250})


def test_a_time_is_read_in_pieces(system: System) -> None:
    timed = Timed()
    client = system.client(system.serve(timed), concurrency=1)
    style = ByWindow(("items",), "from", "until", 60)
    assert [record for page in pages(client, TIMES, style) for record in page] == [str(n) for n in range(100, 250, 10)]
    assert timed.asked == [(100, 160), (160, 220), (220, 250)]


def test_a_piece_that_an_answer_doesn_t_hold_is_halved(system: System) -> None:
    """100–160 has six, of which an answer holds four; so has none of its halves."""
    timed = Timed(most=4)
    client = system.client(system.serve(timed), concurrency=1)
    style = ByWindow(("items",), "from", "until", 60, most=4)
    read = [record for page in pages(client, TIMES, style) for record in page]
    assert read == [str(n) for n in range(100, 250, 10)]
    assert {(100, 130), (130, 160), (160, 190), (190, 220)} <= set(timed.asked)


@pytest.mark.parametrize("most", [None, 5])
@pytest.mark.parametrize("start_counts", [True, False])
@pytest.mark.parametrize("end_counts", [True, False])
def test_no_record_at_a_seam_is_lost_or_doubled(
    system: System, start_counts: bool, end_counts: bool, most: int | None
) -> None:
    """Whichever end of a time the system counts in. Records stand on the seams."""

    def answer(asked: Asked) -> Reply:
        begin, end = int(asked.query["from"]), int(asked.query["until"])
        found = [n for n in range(0, 1000, 10) if begin < n < end or (n == begin and start_counts)]
        found += [end] if end_counts and end % 10 == 0 else []
        return Reply({"items": [str(n) for n in found][:most]})

    style = ByWindow(
        ("items",), "from", "until", 50, most=most, moments=lambda found: [int(n) * 1_000_000 for n in found]
    )
    read = [record for page in pages(system.client(system.serve(answer)), TIMES, style) for record in page]
    assert read == [str(n) for n in range(100, 250, 10)]


def test_more_in_a_second_than_an_answer_holds_is_told(system: System) -> None:
    client = system.client(system.serve(Timed(most=1)), concurrency=1)
    with pytest.raises(ContractError, match="can't give all of list") as told:
        list(pages(client, TIMES, ByWindow(("items",), "from", "until", 60, most=1)))
    assert "1 records in a second" in str(told.value)


def test_a_piece_of_time_has_pages_of_its_own(system: System) -> None:
    def answer(asked: Asked) -> Reply:
        begin, token = asked.query["from"], asked.query.get("cursor", "")
        return Reply({"items": [begin + token], "next": "" if token else "b"})

    client = system.client(system.serve(answer))
    style = ByWindow(("items",), "from", "until", 100, within=ByToken(("items",), ("next",), "cursor"))
    assert list(pages(client, TIMES, style)) == [["100"], ["100b"], ["200"], ["200b"]]


@pytest.mark.parametrize("omits", [False, True])
@pytest.mark.parametrize("by_page", [False, True])
def test_fewer_records_than_the_system_counts_are_an_error_unless_that_is_known(
    system: System, by_page: bool, omits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(asked: Asked) -> Reply:
        at = 3 * (int(asked.query.get("page", 1)) - 1) if by_page else int(asked.query.get("offset", 0))
        return Reply({"items": [{"id": n} for n in range(5)][at : at + 3], "pages": 2, "total": 6})

    style = ByPage(("items",), ("pages",), ("total",), omits=omits) if by_page else replace(OFFSET, omits=omits)
    if omits:
        assert len(read(system, answer, style)) == 5
        assert "counts 6 records of list and gave 5" in caplog.text
    else:
        with pytest.raises(ContractError, match="fewer records than it counts") as told:
            read(system, answer, style)
        assert "5 of 6 for list" in str(told.value)


class Moving:
    """A list of which `change` is made before the page at this offset is given."""

    def __init__(self, count: int, at: int, change: Any = None) -> None:
        self.items = [{"id": n} for n in range(count)]
        self._at, self._change = at, change

    def __call__(self, asked: Asked) -> Reply:
        offset, limit = int(asked.query.get("offset", "0")), int(asked.query["limit"])
        if self._change is not None and offset >= self._at:
            self._change(self.items)
            self._change = None
        return Reply({"items": self.items[offset : offset + limit], "total": len(self.items)})


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 20])
def test_offsets_read_each_record_once(system: System, count: int) -> None:
    moving = Moving(count, 0)
    assert read(system, moving, OFFSET) == [{"id": str(n)} for n in range(count)]


def _removed(items: list[Any]) -> None:
    del items[0]


def _replaced(items: list[Any]) -> None:
    del items[0]
    items.append({"id": 99})


def _inserted(items: list[Any]) -> None:
    items.insert(0, {"id": 99})


@pytest.mark.parametrize("change", [_removed, _replaced, _inserted])
def test_a_list_that_shifts_while_it_is_read_is_read_again(system: System, change: Any) -> None:
    """Offsets alone would lose a record by the first two, and double one by the third."""
    with pytest.raises(TransientSourceError, match="changed while it was read"):
        read(system, Moving(12, 4, change), OFFSET, concurrency=1)


def test_an_answer_without_a_list_is_told(system: System) -> None:
    with pytest.raises(ContractError, match="no list for list"):
        read(system, lambda _: Reply({"things": []}), OFFSET)
