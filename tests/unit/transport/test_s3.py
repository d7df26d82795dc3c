"""Who asks for a bucket: whom the connection names, and the process's own identity only where it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from tests.support.loopback import Loopback, Reply

from importers.core.connection import Connection
from importers.exceptions import ConfigError, FatalSourceError
from importers.transport.s3 import Bucket

KEYS = {"login": "tenant", "password": "kanarienvogel"}


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has an identity of its own, as compose gives it for staging."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "zeisig")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with closing(Loopback(lambda _: Reply(b"", 403))) as server:
        yield server


def asks(server: Loopback, said: Mapping[str, Any]) -> str:
    """As whom, by the server's side: SigV4 has `Credential=KEY/DATE/…`."""
    more = {"endpoint_url": server.address, "region_name": "eu-west-1"}
    with pytest.raises(FatalSourceError, match="not for these credentials"):
        Bucket(Connection({**said, **more})).list("s3://plays/a.csv")
    return server.asked[0].headers["authorization"].partition("Credential=")[2].partition("/")[0]


def test_the_connection_s_keys_ask(server: Loopback) -> None:
    assert asks(server, KEYS) == "tenant"


def test_the_worker_asks_where_the_connection_says_so(server: Loopback) -> None:
    assert asks(server, {"ambient": True}) == "worker"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "doesn't say who asks"),
        ({"ambient": "false"}, "doesn't say who asks"),
        ({"login": "tenant"}, "doesn't say who asks"),
        ({"role_arn": "arn:aws:iam::1:role/r"}, "`role_arn`"),
        ({"role_arn": "arn:aws:iam::1:role/r", "ambient": True}, "`role_arn`"),
        ({"role_arn": "arn:aws:iam::1:role/r", **KEYS}, "`role_arn`"),  # the role may be allowed less than they are
        ({"profile_name": "plays"}, "`profile_name`"),
    ],
)
def test_nobody_asks_in_another_s_place(server: Loopback, said: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Bucket(Connection({**said, "endpoint_url": server.address})).list("s3://plays/a.csv")
    assert server.asked == []


def test_without_a_connection_nobody_asks() -> None:
    with pytest.raises(ConfigError, match="doesn't say who asks"):
        Bucket(None).list("s3://plays/a.csv")
