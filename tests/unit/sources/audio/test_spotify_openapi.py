"""Every stream of Spotify against its API as an OpenAPI file has it (May 2026): what is asked, and what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.loopback import Asked, Loopback, Reply
from tests.support.openapi import OpenApi

from importers.core.connection import Connection
from importers.core.model import Window
from importers.sources.audio._spotify import KINDS
from importers.sources.audio.spotify_api import Spotify, SpotifyConfig

IDS = {"playlist_ids": ["p1"], "track_ids": ["t1", "t2"], "album_ids": ["a1"], "artist_ids": ["r1"]}
LACKING: dict[str, set[str]] = {}
"""Columns that the file has no value for."""


@pytest.fixture(scope="module")
def file() -> OpenApi:
    return OpenApi(Path(__file__).parent / "spotify" / "open-api.yml")


@pytest.fixture
def source(file: OpenApi, request: pytest.FixtureRequest) -> Iterator[Spotify]:
    file.wrong.clear()
    token = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}

    def answer(asked: Asked) -> Reply:
        return Reply(token) if asked.path == "/token" else file(asked)

    with closing(Loopback(answer)) as http:
        said = {"host": http.address, "token_address": f"{http.address}/token"}
        connection = Connection(said | {"login": "me", "password": "s", "refresh_token": "r"})
        config: dict[str, Any] = {"retry_attempts": 1, "quota": getattr(request, "param", "development"), **IDS}
        yield Spotify(SpotifyConfig(**config), tenant="acme", connection=connection)


@pytest.mark.parametrize(
    ("name", "source"),
    [(name, quota) for name in KINDS for quota in ("development", "extended")],
    indirect=["source"],
)
def test_a_stream_asks_and_finds_what_the_file_has(file: OpenApi, source: Spotify, name: str) -> None:
    (stream,) = [one for one in source.streams() if one.name == name]
    plan = source.plan(stream, Window(), {})
    batches = [batch for part in plan.partitions for batch in source.read(stream, part)]
    assert file.wrong == []
    assert [batch.rejects for batch in batches] == [()] * len(batches)
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    assert rows
    empty = {column for column in rows[0] if all(row[column] is None for row in rows)}
    assert empty == LACKING.get(name, set())


def test_the_health_check_asks_what_the_file_has(file: OpenApi, source: Spotify) -> None:
    assert source.check().ok
    assert file.wrong == []


def test_what_the_file_doesn_t_allow_is_refused(file: OpenApi) -> None:
    signed = {"authorization": "Bearer t"}
    for path, query, told in (
        ("/me/tracks", {"limit": "51"}, "maximum"),
        ("/me/tracks", {"size": "5"}, "no parameter size"),
        ("/me/following", {}, "needs type"),
        ("/me/following", {"type": "user"}, "user"),
        ("/me/plays", {}, "there is no GET /me/plays"),
    ):
        file.wrong.clear()
        assert file(Asked("GET", path, query, {}, signed)).status == 400
        assert told in file.wrong[0]
