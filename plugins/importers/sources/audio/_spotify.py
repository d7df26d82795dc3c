"""What Spotify's objects hold, as far as it is read: https://developer.spotify.com/documentation/web-api"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from importers.core.model import Column, PersonalData, Reads, Stream
from importers.sources._api import TIME, Field, columns
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


@dataclass(frozen=True, slots=True)
class Kind:
    """A stream: the path that is asked, its columns and key.

    `paging` is how a list goes on, and None where single objects are asked for by id. What is `mine` needs a user's
    token, and its rows say whose they are. What is `ranked` has its order as a column. What `omits` counts records that
    it doesn't give: Spotify's own playlists, since November 2024.
    """

    path: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    identity: tuple[tuple[str, ...], ...] | None = None
    paging: ByToken | None = None
    mine: bool = False
    ranked: bool = False
    omits: bool = False

    def stream(self, name: str) -> Stream:
        reads = Reads.POSITION if name == "recently_played" else Reads.SNAPSHOT
        whose = (USER,) if self.mine else ()
        subject = USER.name if self.mine else "added_by" if name == "playlist_items" else None
        key = (USER.name, *self.key) if self.mine else self.key
        return Stream(name, (*whose, *columns(self.fields)), reads, key, subject=subject)

    def style(self, limit: int) -> ByOffset | ByToken:
        return self.paging or ByOffset(("items",), ("total",), limit, self.identity or (), self.omits)


FOLLOWED = ByToken(("artists", "items"), ("artists", "cursors", "after"), "after")
KINDS: Mapping[str, Kind] = {
    "recently_played": Kind("me/player/recently-played", PLAY, ("played_at", "track_id"), mine=True),
    "saved_tracks": Kind(
        "me/tracks", (ADDED, *track("track")), ("track_uri",), (("added_at",), ("track", "uri")), mine=True
    ),
    "saved_albums": Kind(
        "me/albums", (ADDED, *album("album")), ("album_id",), (("added_at",), ("album", "id")), mine=True
    ),
    "playlists": Kind("me/playlists", PLAYLIST, ("playlist_id",), (("id",),), mine=True, omits=True),
    "top_tracks": Kind("me/top/tracks", (POSITION, *track()), ("position",), (("id",),), mine=True, ranked=True),
    "top_artists": Kind("me/top/artists", (POSITION, *ARTIST), ("position",), (("id",),), mine=True, ranked=True),
    "followed_artists": Kind("me/following", ARTIST, ("artist_id",), paging=FOLLOWED, mine=True),
    "playlist_items": Kind(
        "playlists",
        PLAYLIST_ITEM,
        ("playlist_id", "position"),
        (("added_at",), ("item", "uri"), ("track", "uri")),
        ranked=True,
    ),
    "tracks": Kind("tracks", track(), ("track_id",)),
    "albums": Kind("albums", album(), ("album_id",)),
    "artists": Kind("artists", ARTIST, ("artist_id",)),
}
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
