from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from tests.support.loopback import Asked, Loopback, Reply

from importers.core.connection import Connection
from importers.transport.http.address import Route
from importers.transport.http.auth import ApiKey, Auth
from importers.transport.http.client import Client
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Alone

Answering = Callable[[Asked], Reply]


class System:
    """A system on loopback, clients of it, and how long they have waited without waiting."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.waited: list[float] = []
        self.shared = Alone("acme", "account")

    def serve(self, answer: Answering | list[Reply], **more: Any) -> Loopback:
        """By a function, or these replies one after another, the last one again and again."""
        if isinstance(answer, list):
            replies = list(answer)
            answer = lambda _: replies.pop(0) if len(replies) > 1 else replies[0]  # noqa: E731
        return self._stack.enter_context(closing(Loopback(answer, **more)))

    def client(self, at: Loopback, auth: Auth | None = None, **settings: Any) -> Client:
        """The connection's extras `proxy` and `tls_ca_file` stand among the settings here."""
        route = Route.of(Connection({name: settings.pop(name, None) for name in ("proxy", "tls_ca_file")}))
        auth, config = auth or ApiKey("kanarienvogel", "key"), HttpConfig(**settings)
        made = Client(at.address, config, auth, self.shared, wait=self.waited.append, route=route)
        return self._stack.enter_context(closing(made))


@pytest.fixture
def system() -> Iterator[System]:
    with ExitStack() as stack:
        yield System(stack)
