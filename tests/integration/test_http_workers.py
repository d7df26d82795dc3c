"""What the workers of an account share through a real Redis: its rate, its token, what was answered."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Lock
from typing import Any

import pytest
import redis
from tests.services.redis import redis_server
from tests.support.loopback import Asked, Loopback, Reply

from importers.core.connection import Connection
from importers.exceptions import TransientSourceError
from importers.transport.http.client import Call, Client
from importers.transport.http.oauth import OAuth2, TokenEndpoint
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import shared

pytestmark = pytest.mark.services

WORKERS = 4
SECRET = "kanarienvogel"
PLAIN = {"command": ["sh", "-c", "exec redis-server - <<EOF\nrequirepass wort\nsave ''\nEOF\n"], "environment": {}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server of its own, or of IMPORTERS_TEST_REDIS."""
    if said := os.environ.get("IMPORTERS_TEST_REDIS"):
        yield said
        return
    with redis_server(PLAIN) as port:
        yield f"redis://:wort@127.0.0.1:{port}/0"


@pytest.fixture
def account() -> dict[str, Any]:
    """Another for each test, so that none meets what another has left."""
    return {"login": "me", "password": f"{SECRET}-{time.time_ns()}"}


class Granting:
    """Answers with what was asked, grants tokens, and notes when."""

    def __init__(self, **more: Any) -> None:
        self.more, self.grants, self.arrivals, self._lock = more, list[dict[str, str]](), list[float](), Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self._lock:
            if asked.path == "/token":
                self.grants.append(asked.form)
                number = len(self.grants)
                return Reply(
                    {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": 3600} | self.more
                )
            self.arrivals.append(time.monotonic())
            good = asked.headers["authorization"] == f"Bearer token-{len(self.grants)}"
        return Reply({"who": "ada@example.org"}, 200 if good else 401)


@pytest.fixture
def served() -> Iterator[tuple[Granting, str]]:
    granting = Granting()
    with closing(Loopback(granting)) as http:
        yield granting, http.address


def client(url: str, account: dict[str, Any], address: str, tenant: str = "acme", **settings: Any) -> Client:
    among = shared(tenant, Connection(account), {"REDIS_URL": url})
    config = HttpConfig(retry_attempts=1, **settings)
    auth = OAuth2(TokenEndpoint(f"{address}/token", ("me", str(account["password"])), config), among)
    return Client(address, config, auth, among)


def work(url: str, account: dict[str, Any], address: str, calls: int, rate: str) -> None:
    """A worker's life, in a process of its own."""
    with closing(client(url, account, address, rate_limit=rate)) as mine:
        for number in range(calls):
            mine.ask(Call("things", "things", {"n": number}))


def test_four_workers_keep_one_rate_with_one_token(
    url: str, account: dict[str, Any], served: tuple[Granting, str]
) -> None:
    """24 calls at 8 in 3 seconds take 6 seconds; each worker alone would be within its rate and done at once."""
    granting, address = served
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(url, account, address, 6, "8/3s")) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert len(granting.arrivals) == 6 * WORKERS
    assert granting.arrivals[-1] - granting.arrivals[0] >= 4  # the first may be noted late
    assert granting.grants == [{"grant_type": "client_credentials"}]


def test_what_one_worker_is_told_all_heed(url: str, account: dict[str, Any]) -> None:
    asked = list[str]()

    def answer(said: Asked) -> Reply:
        asked.append(said.path)
        if said.path == "/token":
            return Reply({"access_token": "t", "token_type": "Bearer"})
        return Reply(b"", 429, {"Retry-After": "86400"})

    with closing(Loopback(answer)) as http, ExitStack() as stack:
        first, second = (stack.enter_context(closing(client(url, account, http.address))) for _ in range(2))
        for one in (first, second):
            with pytest.raises(TransientSourceError) as told:
                one.ask(Call("things", "things"))
            assert told.value.retry_after == pytest.approx(86_400, abs=600)
    assert asked == ["/token", "/things"]


def test_an_answer_is_kept_for_its_tenant_and_nobody_reads_it_in_redis(
    url: str, account: dict[str, Any], served: tuple[Granting, str]
) -> None:
    granting, address = served
    with ExitStack() as stack:
        mine, again = (stack.enter_context(closing(client(url, account, address, cache_ttl=60))) for _ in range(2))
        assert mine.ask(Call("things", "a")).json() == again.ask(Call("things", "a")).json()
        assert len(granting.arrivals) == 1
        theirs = stack.enter_context(closing(client(url, account, address, tenant="zeta", cache_ttl=60)))
        granting.grants.clear()
        theirs.ask(Call("things", "a"))
        assert len(granting.arrivals) == 2
    with closing(redis.Redis.from_url(url)) as store:
        keys = [key.decode() for key in store.scan_iter("importers:*:http:*")]
        assert keys
        assert {key.split(":")[1] for key in keys} <= {"acme", "zeta"}
        kept = repr([store.get(key) for key in keys])
        assert all(store.pttl(key) > 0 for key in keys), "what is kept has an end"
    assert "ada@" not in kept
    assert "token-" not in kept
    assert SECRET not in "".join(keys)


def test_a_replaced_refresh_token_outlives_its_worker(url: str, account: dict[str, Any]) -> None:
    granting = Granting(refresh_token="second", expires_in=1)
    with closing(Loopback(granting)) as http:
        for _ in range(2):
            among = shared("acme", Connection(account), {"REDIS_URL": url})
            OAuth2(TokenEndpoint(f"{http.address}/token", ("me", SECRET), HttpConfig()), among, "first").token()
    assert [grant["refresh_token"] for grant in granting.grants] == ["first", "second"]


def test_without_its_redis_a_rate_cannot_be_kept(account: dict[str, Any], served: tuple[Granting, str]) -> None:
    granting, address = served
    mine = client("redis://:wort@127.0.0.1:9/0", account, address, rate_limit="5/s")
    with closing(mine), pytest.raises(TransientSourceError, match="Redis can't be used now") as told:
        mine.ask(Call("things", "things"))
    assert "wort" not in str(told.value)
    assert granting.arrivals == []
