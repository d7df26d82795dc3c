"""Worlds behind HTTP: a server of this process, and the trouble that one has with servers."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from tests.support.loopback import Asked, Loopback, Reply

from .world import World


class ApiWorld(World):
    """Answers from `served`; `denied` is for `answer` to heed."""

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.rows, self.more = self.records()
        self.served, self.denied = list(self.rows), False
        self.http = Loopback(self.answer)

    @abstractmethod
    def records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """`rows` and `more`."""

    @abstractmethod
    def answer(self, asked: Asked) -> Reply: ...

    def patience(self) -> dict[str, Any]:
        return {"read_timeout": 2, "retry_attempts": 1} if self.hurried else {"read_timeout": 120, "retry_attempts": 2}

    def grow(self) -> None:
        self.served = self.rows + self.more

    def vanish(self) -> None:
        self.http.close()

    def deny(self) -> None:
        self.denied = True

    def die(self) -> None:
        self.http.trouble = "dead"

    def stall(self) -> None:
        self.http.trouble = "stalled"

    def mend(self) -> None:
        self.denied = False
        self.http.mend()

    def close(self) -> None:
        self.http.close()
