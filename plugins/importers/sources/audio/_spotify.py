"""What Spotify's objects hold, as far as it is read: https://developer.spotify.com/documentation/web-api"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from importers.core.model import Column, PersonalData
from importers.sources._api import TIME, Field
from importers.sources._listed import Listed, Since
from importers.transport.http.paging import ByOffset, ByToken

ARTISTS = pa.list_(pa.struct([("id", pa.string()), ("name", pa.string())]))
USER = Column("user_id", pa.string(), PersonalData.ONLINE_ID)
POSITION = Field("position", ("position",), pa.int64())
ADDED = Field("added_at", ("added_at",), TIME)
LIMIT = 50  # records a page, at most


def track(*at: str, older: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """A track's columns, which stand at the path. Only apps with extended quota see its popularity."""

    def field(name: str, *below: str, kind: pa.DataType = pa.string()) -> Field:  # noqa: B008 - a value
        return Field(name, (*at, *below), kind, older=(*older, *below) if older else ())

    return (
        field("track_id", "id"),
        field("track_uri", "uri"),
        field("track", "name"),
        field("artists", "artists", kind=ARTISTS),
        field("album_id", "album", "id"),
        field("album", "album", "name"),
        field("release_date", "album", "release_date"),
        field("isrc", "external_ids", "isrc"),
        field("duration_ms", "duration_ms", kind=pa.int64()),
        field("explicit", "explicit", kind=pa.bool_()),
        field("popularity", "popularity", kind=pa.int64()),
    )


def album(*at: str) -> tuple[Field, ...]:
    return (
        Field("album_id", (*at, "id")),
        Field("album", (*at, "name")),
        Field("album_type", (*at, "album_type")),
        Field("artists", (*at, "artists"), ARTISTS),
        Field("release_date", (*at, "release_date")),
        Field("total_tracks", (*at, "total_tracks"), pa.int64()),
        Field("upc", (*at, "external_ids", "upc")),
        Field("label", (*at, "label")),
    )


ARTIST = (
    Field("artist_id", ("id",)),
    Field("artist", ("name",)),
    Field("genres", ("genres",), pa.list_(pa.string())),
    Field("popularity", ("popularity",), pa.int64()),
)
PLAYLIST = (
    Field("playlist_id", ("id",)),
    Field("name", ("name",), personal=PersonalData.FREE_TEXT),
    Field("description", ("description",), personal=PersonalData.FREE_TEXT),
    Field("owner_id", ("owner", "id"), personal=PersonalData.ONLINE_ID),
    Field("owner_name", ("owner", "display_name"), personal=PersonalData.CONTACT),
    Field("public", ("public",), pa.bool_()),
    Field("collaborative", ("collaborative",), pa.bool_()),
    Field("snapshot_id", ("snapshot_id",)),
    Field("items", ("items", "total"), pa.int64(), older=("tracks", "total")),
)
PLAYLIST_ITEM = (
    Field("playlist_id", ("playlist_id",)),
    POSITION,
    ADDED,
    Field("added_by", ("added_by", "id"), personal=PersonalData.ONLINE_ID),
    Field("type", ("item", "type"), older=("track", "type")),
    *track("item", older=("track",)),
)
PLAY = (
    Field("played_at", ("played_at",), TIME),
    Field("context_type", ("context", "type")),
    Field("context_uri", ("context", "uri"), personal=PersonalData.ONLINE_ID),
    *track("track"),
)


PLAYS = ByToken(("items",), ("cursors", "after"), "after")
FOLLOWED = ByToken(("artists", "items"), ("artists", "cursors", "after"), "after")


def of_a_user(size: int, time_range: str) -> Mapping[str, Listed]:
    """What needs a user's token, in pages of so many. Of the time a top list is."""
    here: dict[str, Any] = {"params": {"limit": size}, "whose": USER}
    top: dict[str, Any] = {"params": {"limit": size, "time_range": time_range}, "whose": USER, "place": "position"}
    followed: dict[str, Any] = {"params": {"limit": size, "type": "artist"}, "whose": USER}
    tracks, albums = (ADDED, *track("track")), (ADDED, *album("album"))
    by_track, by_album = _by(size, ("added_at",), ("track", "uri")), _by(size, ("added_at",), ("album", "id"))
    playlists, by_id = _by(size, ("id",), omits=True), _by(size, ("id",))
    path, once, new = "me/player/recently-played", ("played_at", "track_id"), Since("after")
    return {
        "recently_played": Listed(path, PLAY, once, PLAYS, since=new, whose=USER),
        "saved_tracks": Listed("me/tracks", tracks, ("track_uri",), by_track, **here),
        "saved_albums": Listed("me/albums", albums, ("album_id",), by_album, **here),
        "playlists": Listed("me/playlists", PLAYLIST, ("playlist_id",), playlists, **here),
        "top_tracks": Listed("me/top/tracks", (POSITION, *track()), ("position",), by_id, **top),
        "top_artists": Listed("me/top/artists", (POSITION, *ARTIST), ("position",), by_id, **top),
        "followed_artists": Listed("me/following", ARTIST, ("artist_id",), FOLLOWED, **followed),
    }


def of_the_catalogue(size: int, items: str, ids: Mapping[str, Sequence[str]]) -> Mapping[str, Listed]:
    """What is asked for by id, for each stream those. `items` is what the API's form calls a playlist's."""
    by_item = _by(size, ("added_at",), ("item", "uri"), ("track", "uri"))
    key = ("playlist_id", "position")
    said: dict[str, Any] = {"of": "playlist_id", "place": "position", "subject": "added_by"}
    where = f"playlists/{{}}/{items}"
    lists = {
        "playlist_items": Listed(where, PLAYLIST_ITEM, key, by_item, {"limit": size}, **said),
        "tracks": Listed("tracks/{}", track(), ("track_id",), None),
        "albums": Listed("albums/{}", album(), ("album_id",), None),
        "artists": Listed("artists/{}", ARTIST, ("artist_id",), None),
    }
    return {name: replace(listed, ids=ids[name]) for name, listed in lists.items() if ids[name]}


def _by(size: int, *identity: tuple[str, ...], omits: bool = False) -> ByOffset:
    """`omits`: Spotify counts playlists of its own, and doesn't give them (since November 2024)."""
    return ByOffset(("items",), ("total",), size, identity, omits)


CLOSED = (
    "Spotify gives it only to apps that had extended quota before it closed it to others (November 2024, February "
    "2026); leave the stream out"
)
WITHHELD = dict.fromkeys(
    (
        "audio_features",
        "audio_analysis",
        "recommendations",
        "related_artists",
        "artist_top_tracks",
        "new_releases",
        "featured_playlists",
        "users",
    ),
    CLOSED,
)
