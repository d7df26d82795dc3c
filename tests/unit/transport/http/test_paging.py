"""From page to page: expected records are counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.loopback import Asked, Reply
from tests.unit.transport.http.conftest import Answering, System

from importers.exceptions import ContractError, FatalSourceError, TransientSourceError
from importers.transport.http.client import Call
from importers.transport.http.paging import ByLink, ByOffset, ByPage, ByToken, pages

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
