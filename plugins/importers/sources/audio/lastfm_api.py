"""What a user listens to, by Last.fm's API: https://www.last.fm/api, errors: https://www.last.fm/api/errorcodes"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field as Setting

from importers.core.model import Column, PersonalData
from importers.sources._api import TIME, Codes, Field
from importers.sources._listed import Listed, ListedSource, Since
from importers.transport.http.auth import ApiKey
from importers.transport.http.client import Call, Client
from importers.transport.http.paging import ByPage, dig
from importers.transport.http.settings import RATE, RATE_LIMIT, HttpConfig

USER = Column("user", pa.string(), PersonalData.ONLINE_ID)
TRACK, ARTIST, BY = Field("track", ("name",)), Field("artist", ("artist", "#text")), Field("artist", ("artist", "name"))
SEEN = (Field("url", ("url",)), Field("mbid", ("mbid",)))
RANKED = (Field("playcount", ("playcount",), pa.int64()), Field("rank", ("@attr", "rank"), pa.int64()), *SEEN)
PLAYED, LOVED = (Field(name, ("date", "uts"), TIME, epoch="s") for name in ("played_at", "loved_at"))
PLAY = (PLAYED, ARTIST, TRACK, Field("album", ("album", "#text")), *SEEN)
PLAYING = ("@attr", "nowplaying")  # such a play is on every page and in no total
ALBUMS, ARTISTS = (BY, Field("album", ("name",)), *RANKED), (Field("artist", ("name",)), *RANKED)


class LastfmConfig(HttpConfig):
    """Whose listening is read."""

    user: str = Setting(min_length=1, description="The listener's name at Last.fm.", examples=["RJ"])
    period: Literal["overall", "7day", "1month", "3month", "6month", "12month"] = Setting(
        "overall", description="Of which time the top lists are."
    )
    page_size: int = Setting(200, ge=1, le=200, description="How many records are asked for at once.")
    rate_limit: str | None = Setting("5/s", pattern=RATE, description=RATE_LIMIT)


class Lastfm(ListedSource[LastfmConfig]):
    """What is playing at the moment isn't read: it comes when it has been played. A run ends at the newest play; plays
    that reach Last.fm later and are older are found by `load.lookback`, in seconds.

    Pages share no record. A list that changes while they are read is read again if its total or its first page shows
    it; a change behind that by which as many records came as went isn't seen until the next run.
    """

    title: ClassVar[str] = "Last.fm"
    config_model = LastfmConfig
    address: ClassVar[str] = "https://ws.audioscrobbler.com/2.0/"
    connection_type: ClassVar[str | None] = "lastfm"
    environment: ClassVar[Mapping[str, str]] = {"password": "LASTFM_API_KEY"}
    permitted_use: ClassVar[str] = "Non-commercial, with credit to Last.fm and no sublicensing, unless Last.fm agrees."
    shown = ApiKey.under("api_key")
    codes = Codes(("error",), frozenset({"8", "11", "16", "29"}), dict.fromkeys(("6", "17"), "correct `user`"))

    def greet(self, client: Client) -> str:
        client.ask(Call("", "user.getInfo", form=self._asked("user.getInfo")))
        return "the key is good, and there is such a user"

    def owner(self, _client: Client) -> str:
        return self.config.user

    def listed(self) -> Mapping[str, Listed]:
        new = {"since": Since.in_seconds("from", "to"), "moment": PLAYED, "newest": {"limit": 1}}
        return {
            "recent_tracks": self._list("RecentTracks", "track", PLAY, "played_at", "artist", "track", **new),
            "loved_tracks": self._list("LovedTracks", "track", (LOVED, BY, TRACK, *SEEN), "artist", "track"),
            "top_tracks": self._list("TopTracks", "track", (BY, TRACK, *RANKED), "artist", "track"),
            "top_artists": self._list("TopArtists", "artist", ARTISTS, "artist"),
            "top_albums": self._list("TopAlbums", "album", ALBUMS, "artist", "album"),
            "weekly_track_chart": self._list("WeeklyTrackChart", "track", (ARTIST, TRACK, *RANKED), "artist", "track"),
        }

    def _list(self, name: str, inner: str, fields: Sequence[Field], *key: str, **more: Any) -> Listed:
        told, said = name.lower(), self._asked(f"user.get{name}") | {"limit": self.config.page_size}
        counted = (told, "@attr", "totalPages"), (told, "@attr", "total")
        style = ByPage((told, inner), *counted, counts=lambda record: dig(record, PLAYING) != "true")
        said |= {"period": self.config.period} if name.startswith("Top") else {}
        return Listed("", fields, key, style, said, form=True, whose=USER, **more)

    def _asked(self, method: str) -> dict[str, Any]:
        return {"method": method, "user": self.config.user, "format": "json"}
