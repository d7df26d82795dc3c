"""One thread makes what another works on; who waits for whom is told by events, not by clocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from contextvars import ContextVar
from threading import Event

import pytest

from importers.core.ahead import ahead

LONG = 30.0  # seconds: for what would never come


def test_items_come_in_their_order_and_end() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([None, None]))) == [None, None]
    assert list(ahead(iter([]))) == []


def test_the_next_is_made_while_one_is_worked_on_and_none_beyond_it() -> None:
    begun = [Event() for _ in range(4)]

    def made() -> Iterator[int]:
        for number in range(3):
            begun[number].set()
            yield number

    with closing(ahead(made())) as items:
        assert next(items) == 0
        assert begun[1].wait(LONG)  # though nobody has asked for it
        assert not begun[2].wait(0.05)
        assert next(items) == 1
        assert begun[2].wait(LONG)


def test_what_fails_fails_in_its_place() -> None:
    def made() -> Iterator[int]:
        yield 0
        raise LookupError("mine")

    items = ahead(made())
    assert next(items) == 0
    with pytest.raises(LookupError, match="mine"):
        next(items)


def test_who_ends_early_leaves_nobody_at_work() -> None:
    going_on, over = Event(), Event()

    def made() -> Iterator[int]:
        yield 0
        going_on.wait(LONG)
        over.set()
        yield 1

    items = ahead(made())
    next(items)
    going_on.set()
    items.close()
    assert over.is_set()


def test_it_is_made_in_its_reader_s_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nobody's")
    variable.set("mine")
    assert list(ahead(variable.get() for _ in range(3))) == ["mine"] * 3
