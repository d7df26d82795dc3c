"""Spotify's recorded answers, in both forms of the API; expected values are read from the recordings by eye."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.loopback import Asked, Loopback, Reply

from importers.core.connection import Connection
from importers.core.model import Plan, Stream, Window
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ContractError, TransientSourceError
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.sources.audio.spotify_api import Spotify, SpotifyConfig

RECORDED = Path(__file__).parent / "spotify"


def recorded(name: str, form: str = "responses-2026") -> Any:
    return json.loads((RECORDED / form / f"{name}.json").read_text())


class Web:
    """Spotify's Web API, of which these paths were recorded."""

    def __init__(self, http: Loopback) -> None:
        self.http = http
        self.paths: dict[str, Any] = {"/me": recorded("current_user")}

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            return Reply({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
        found = self.paths.get(asked.path)
        return found if isinstance(found, Reply) else Reply(found or {}, 200 if found else 404)

    def source(self, *, user: bool = True, **config: Any) -> Spotify:
        said = {
            "host": self.http.address,
            "login": "me",
            "password": "s",
            "token_address": f"{self.http.address}/token",
        }
        connection = Connection(said | ({"refresh_token": "r"} if user else {}))
        return Spotify(SpotifyConfig(retry_attempts=1, **config), tenant="acme", connection=connection)

    def stream(self, source: Spotify, name: str) -> Stream:
        (found,) = [stream for stream in source.streams() if stream.name == name]
        return found

    def rows(self, name: str, *, user: bool = True, **config: Any) -> list[dict[str, Any]]:
        source = self.source(user=user, **config)
        stream = self.stream(source, name)
        plan: Plan = source.plan(stream, Window(), {})
        batches = (batch for part in plan.partitions for batch in source.read(stream, part))
        found = []
        for batch in batches:
            assert batch.rejects == ()
            found += batch.rows.to_pylist()
        return found

    def queries(self, path: str) -> list[dict[str, str]]:
        return [asked.query for asked in self.http.asked if asked.path == path]


@pytest.fixture
def web() -> Iterator[Web]:
    with closing(Loopback(lambda asked: made.answer(asked))) as http:
        made = Web(http)
        yield made


def test_saved_tracks(web: Web) -> None:
    web.paths["/me/tracks"] = recorded("saved_tracks") | {"total": 48}  # of 5320, the first 48 were recorded
    rows = web.rows("saved_tracks", page_size=48)
    assert len(rows) == 48
    assert rows[0] == {
        "user_id": "1112264649",
        "added_at": datetime(2026, 2, 23, 13, 28, 26, tzinfo=UTC),
        "track_id": "0Y0PdrwwWtYTFhCY5Kj0iv",
        "track_uri": "spotify:track:0Y0PdrwwWtYTFhCY5Kj0iv",
        "track": "Cold Silver",
        "artists": [{"id": "61jrgPBUklDAQV9DptCc8u", "name": "Starbenders"}],
        "album_id": "1X0ak6iQZOYqdVXzj8Tfbz",
        "album": "Cold Silver",
        "release_date": "2025-10-08",
        "isrc": "USYFZ2565101",
        "duration_ms": 222_242,
        "explicit": True,
        "popularity": 36,
    }


def test_a_library_that_changes_while_it_is_read_is_read_again(web: Web) -> None:
    """Its first track was removed and another added, so that the total stayed: offsets alone would have lost one."""
    first = recorded("saved_tracks") | {"total": 95}
    second = first | {"offset": 47, "items": first["items"][1:]}

    web.http.answer = lambda asked: (
        Reply(second if asked.query.get("offset") else first) if asked.path == "/me/tracks" else web.answer(asked)
    )
    with pytest.raises(TransientSourceError, match="changed while it was read"):
        web.rows("saved_tracks", page_size=48)


def test_a_token_lives_as_long_as_its_source(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no Redis keeps it: the health check, the plan and each partition have clients of their own."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    web.paths["/me/tracks"] = {"items": [], "total": 0}
    web.paths["/search"] = {"artists": {"items": []}}
    source = web.source()
    stream = web.stream(source, "saved_tracks")
    assert source.check().ok
    for _ in range(2):
        list(source.read(stream, {}))
    assert len(web.queries("/me/tracks")) == 2
    assert len(web.queries("/token")) == 1


def test_plays_are_sealed_at_the_newest_and_position_goes_there(web: Web) -> None:
    body = recorded("recently_played_tracks")
    web.paths["/me/player/recently-played"] = body
    source = web.source()
    stream = web.stream(source, "recently_played")
    plan = source.plan(stream, Window(), {})
    assert plan.partitions == [{"after": 0, "until": 1_772_050_520_497, "plays": 48}]
    assert plan.position == {"": int(body["cursors"]["after"])}
    later = body["items"][0] | {"played_at": "2026-02-26T00:00:00.000Z"}
    web.paths["/me/player/recently-played"] = body | {"items": [later, *body["items"]]}
    (batch,) = source.read(stream, plan.partitions[0])
    assert batch.rows.num_rows == 48
    assert batch.rows.column("played_at")[0].as_py() == datetime(2026, 2, 25, 20, 15, 20, 497_000, tzinfo=UTC)
    assert batch.rows.column("context_type")[0].as_py() == "album"
    web.paths["/me/player/recently-played"] = body | {"items": [later, *body["items"][:-1]]}
    with pytest.raises(ContractError, match="47 of 48 plays"):
        list(source.read(stream, plan.partitions[0]))


def test_plays_go_on_from_their_position_and_have_no_past(web: Web) -> None:
    web.paths["/me/player/recently-played"] = recorded("recently_played_tracks") | {"items": [], "cursors": None}
    source = web.source()
    stream = web.stream(source, "recently_played")
    assert source.plan(stream, Window(), {"": 1_772_050_520_497}).partitions == []
    assert web.queries("/me/player/recently-played") == [{"limit": "50", "after": "1772050520497"}]
    with pytest.raises(ConfigError, match="latest 50"):
        source.plan(stream, Window("2026-01-01T00:00:00Z", None), {})


def test_playlists_of_both_forms(web: Web) -> None:
    web.paths["/me/playlists"] = recorded("current_user_playlist_1") | {"total": 48}
    new = web.rows("playlists", page_size=48)
    web.paths["/me/playlists"] = recorded("my-playlists", "responses-extended-quota") | {"total": 2}
    old = web.rows("playlists", quota="extended")
    assert (len(new), new[0]["playlist_id"], new[0]["owner_id"]) == (48, "1Cp6VQCKf2VL4sP09jN9oX", "1112264649")
    assert new[0]["items"] == 1
    assert [(row["owner_id"], row["items"]) for row in old[:1]] == [("wizzler", 30)]


def test_playlist_items_of_both_forms(web: Web) -> None:
    web.paths["/playlists/p1/items"] = recorded("playlist_items")
    web.paths["/playlists/p1/tracks"] = recorded("user-playlist-tracks", "responses-extended-quota") | {"total": 5}
    (new,) = web.rows("playlist_items", user=False, playlist_ids=["p1"])
    old = web.rows("playlist_items", user=False, playlist_ids=["p1"], quota="extended")
    assert (new["playlist_id"], new["position"], new["added_by"], new["track"]) == ("p1", 0, "1112264649", "All I Need")
    assert [row["position"] for row in old] == [0, 1, 2, 3, 4]
    assert (old[0]["track"], old[0]["popularity"], old[0]["added_by"]) == ("Just Dance", 66, None)


def test_followed_artists_go_on_by_a_cursor(web: Web) -> None:
    first = recorded("followed_artists")
    last = {"artists": first["artists"] | {"items": first["artists"]["items"][:3], "cursors": {"after": None}}}
    web.http.answer = lambda asked: (
        Reply(last if asked.query.get("after") else first) if asked.path == "/me/following" else web.answer(asked)
    )
    assert len(web.rows("followed_artists")) == 48 + 3
    assert web.queries("/me/following")[1]["after"] == "7CajNmpbOovFoOoasH2HaY"


def test_the_top_has_its_order(web: Web) -> None:
    web.paths["/me/top/tracks"] = recorded("top_tracks") | {"total": 48}
    rows = web.rows("top_tracks", page_size=48, time_range="short_term")
    assert [row["position"] for row in rows] == list(range(48))
    assert (rows[0]["track"], rows[0]["popularity"]) == ("My Sanctuary", 37)
    assert web.queries("/me/top/tracks")[0]["time_range"] == "short_term"


def test_the_catalogue_by_id(web: Web) -> None:
    web.paths["/tracks/7EjyzZcbLxW7PaaLua9Ksb"] = recorded("track", "responses-extended-quota")
    web.paths["/albums/3IqzqH6ShrRtie9Yd2ODyG"] = recorded("get_album")
    web.paths["/artists/0TnOYISbd1XYRBk9myaseg"] = recorded("artist")
    ids = {
        "track_ids": ["7EjyzZcbLxW7PaaLua9Ksb"],
        "album_ids": ["3IqzqH6ShrRtie9Yd2ODyG"],
        "artist_ids": ["0TnOYISbd1XYRBk9myaseg"],
    }
    (track,), (album,), (artist,) = (web.rows(name, user=False, **ids) for name in ("tracks", "albums", "artists"))
    assert (track["track"], track["popularity"]) == ("Surfin' Bird", 53)
    assert (album["album"], album["label"], album["upc"], album["total_tracks"]) == (
        "SINGLARITY",
        "Smihilism Records",
        "195916707034",
        11,
    )
    assert (artist["artist"], artist["genres"]) == ("Pitbull", [])


def test_without_a_user_there_is_only_what_is_named(web: Web) -> None:
    assert [stream.name for stream in web.source(user=False, album_ids=["a"]).streams()] == ["albums"]
    with pytest.raises(ConfigError, match="refresh_token"):
        web.source(user=False).streams()


def test_what_is_closed_says_why(web: Web, tmp_path: Path) -> None:
    pipeline = {"importer": "spotify_api", "config": {"track_ids": ["t"]}, "streams": {"audio_features": {}}}
    tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})
    where = Installation(tmp_path, "postgresql://nowhere", False, str(tmp_path), str(tmp_path))
    with pytest.raises(ConfigError, match=r"no stream 'audio_features'.*extended quota"):
        jobs(where, tenant, "listening", connection=web.source().connection)


def test_a_used_up_quota_is_waited_for_elsewhere(web: Web) -> None:
    body = {"error": {"status": 429, "message": "of ada@example.org", "reason": "QUOTA_EXCEEDED"}}
    web.paths["/me/tracks"] = Reply(body, 429)
    with pytest.raises(TransientSourceError, match="quota is used up") as told:
        web.rows("saved_tracks")
    assert told.value.retry_after == 900
    web.paths["/me/tracks"] = Reply(body, 429, {"Retry-After": "86400"})
    with pytest.raises(TransientSourceError) as told:
        web.rows("saved_tracks")
    assert told.value.retry_after == 86_400


def test_all_columns_of_persons_are_classified(web: Web) -> None:
    """Personal data that Spotify's documentation names: ids, names and texts of users, who added, contexts."""
    everything: dict[str, Any] = {name: ["x"] for name in ("track_ids", "album_ids", "artist_ids", "playlist_ids")}
    found = {
        (stream.name, column.name): str(column.personal)
        for stream in web.source(**everything).streams()
        for column in stream.columns
        if str(column.personal) != "none"
    }
    mine = ["recently_played", "saved_tracks", "saved_albums", "playlists", "top_tracks", "top_artists"]
    mine.append("followed_artists")
    assert found == {
        **{(name, "user_id"): "online_id" for name in mine},
        ("recently_played", "context_uri"): "online_id",
        ("playlists", "name"): "free_text",
        ("playlists", "description"): "free_text",
        ("playlists", "owner_id"): "online_id",
        ("playlists", "owner_name"): "contact",
        ("playlist_items", "added_by"): "online_id",
    }
