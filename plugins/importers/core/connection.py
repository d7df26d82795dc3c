"""How a system is reached, its credentials included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from importers.core.model import JSON


class Connection(Mapping[str, JSON]):
    """`host`, `port`, `schema`, `login` and `password`, as far as they are said, and what else a system needs by name.

    Shows names, never values: it lies in the fields of what may be printed, logged or part of a traceback.
    """

    def __init__(self, values: Mapping[str, JSON]) -> None:
        self._values = {name: value for name, value in values.items() if value not in (None, "")}

    def __getitem__(self, name: str) -> JSON:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Connection with {', '.join(sorted(self)) or 'nothing'}>"
