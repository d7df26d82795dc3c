"""The next item while the last one is worked on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar, cast

ItemT = TypeVar("ItemT")
_END = object()


def ahead(items: Iterator[ItemT]) -> Generator[ItemT, None, None]:
    """The items in their order, each made in another thread while the one before is worked on: at most one waits.

    Worth it where either side waits, or works in code that lets other threads run. Raises what making an item raises,
    where that item would be. Whoever ends early waits until the item that is being made is there.
    """
    context = copy_context()

    def made() -> ItemT | object:
        return next(items, _END)

    with ThreadPoolExecutor(1, "ahead") as maker:
        coming = maker.submit(context.run, made)
        while (item := coming.result()) is not _END:
            coming = maker.submit(context.run, made)
            yield cast("ItemT", item)
