"""What is said of an address: never a piece of its password, wherever libpq or a parser would cut it."""

from __future__ import annotations

from pathlib import Path

import pytest

from importers.exceptions import ConfigError, ImporterError
from importers.keys.keyring import Keyring
from importers.pipeline.installation import Installation
from importers.transport.postgres import connect, safe_url

PIECES = ("hun", "ter2")
BROKEN = (
    "postgresql://u:hun/ter2@127.0.0.1",
    "postgresql://u:hu@hun/ter2@db",
    "postgresql://u:hun%zzter2@db/music",
    "host=db password=hun ter2",
)


@pytest.mark.parametrize("url", BROKEN)
def test_an_address_that_cannot_be_parsed_is_not_quoted(url: str) -> None:
    assert safe_url(url) == "an address that can't be parsed"
    with pytest.raises(ConfigError, match="POSTGRES_URL") as failed:
        connect(url)
    assert not any(piece in str(failed.value) for piece in PIECES)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hun%2Fter2@db:5433/music", "db:5433/music"),
        ("host=db port=5433 dbname=music user=u password=hunter2", "db:5433/music"),
        ("postgresql:///?host=db&password=hunter2&dbname=music", "db/music"),
        ("postgresql://u:hunter2@[::1]/music", "::1/music"),
    ],
)
def test_host_port_and_database_are_said(url: str, said: str) -> None:
    assert safe_url(url) == said


def installation(warehouse: str) -> Installation:
    return Installation(Path(), warehouse, False, "staging", "quarantine")


@pytest.mark.parametrize("url", ["hunter2", "u:hun/ter2@db", "hun/ter2@db://db", "mysql+hunter2://u:ter2@db"])
def test_what_no_destination_serves_is_not_quoted(url: str) -> None:
    with pytest.raises(ConfigError, match=r"postgresql://") as failed:
        installation(url).open_destination("plays", Keyring([bytes(32)]).tenant("acme"))
    assert not any(piece in str(failed.value) for piece in PIECES)


def test_an_address_as_libpq_has_it_is_served() -> None:
    at = installation("host=127.0.0.1 port=1 password=hunter2").open_destination(
        "plays", Keyring([bytes(32)]).tenant("acme")
    )
    health = at.check()
    assert "127.0.0.1:1" in health.detail
    assert "hunter2" not in health.detail
    with pytest.raises(ImporterError):
        at.warehouse_id()
