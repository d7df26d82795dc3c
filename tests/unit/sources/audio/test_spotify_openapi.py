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
from importers.sources.audio.spotify_api import Spotify, SpotifyConfig

# openapi-core can't check an OAuth 2 grant; that a call has a token is looked at beside it.
pytestmark = pytest.mark.filterwarnings("ignore:Unsupported scheme type")
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


NAMES = (
    *("recently_played", "saved_tracks", "saved_albums", "playlists", "top_tracks", "top_artists", "followed_artists"),
    *("playlist_items", "tracks", "albums", "artists"),
)


@pytest.mark.parametrize(
    ("name", "source"),
    [(name, quota) for name in NAMES for quota in ("development", "extended")],
    indirect=["source"],
)
def test_a_stream_asks_and_finds_what_the_file_has(file: OpenApi, source: Spotify, name: str) -> None:
    streams = {one.name: one for one in source.streams()}
    assert tuple(streams) == NAMES
    stream = streams[name]
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


@pytest.mark.parametrize(
    ("path", "query", "told", "judged"),
    [
        ("/me/tracks", {"limit": "51"}, "maximum", "51 is greater than the maximum of 50"),
        ("/me/tracks", {"size": "5"}, "no parameter size", None),
        ("/me/following", {}, "needs type", "Missing required query parameter: type"),
        ("/me/following", {"type": "user"}, "user", "is not one of"),
        ("/me/plays", {}, "there is no GET /me/plays", "Path not found"),
    ],
)
def test_what_the_file_doesn_t_allow_is_refused(
    file: OpenApi, path: str, query: dict[str, str], told: str, judged: str | None
) -> None:
    """By our reading of the file, and by another's, but that he takes parameters which the file hasn't."""
    file.wrong.clear()
    asked = Asked("GET", path, query, {}, {"authorization": "Bearer t"})
    assert file(asked).status == 400
    assert told in file.wrong[0]
    assert [(judged or "") in each for each in file.judged(asked)] == ([True] if judged else [])


def test_an_answer_that_isn_t_as_the_file_says_is_noticed(file: OpenApi) -> None:
    asked = Asked("GET", "/me/tracks", {"limit": "50"}, {}, {"authorization": "Bearer t"})
    (told,) = file.judged(asked, b'{"items": [{"added_at": "yesterday"}], "total": "7"}')
    assert "'7' is not of type 'integer'" in told
