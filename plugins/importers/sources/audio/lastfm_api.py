"""What a user listens to, by Last.fm's API: https://www.last.fm/api, errors: https://www.last.fm/api/errorcodes"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import pyarrow as pa
from pydantic import Field as Setting

from importers.core.connection import Connection
from importers.core.model import Column, LoadMode, PersonalData, Plan, Position, Reads, Stream, Window
from importers.exceptions import ConfigError, FatalSourceError, ImporterError, TransientSourceError
from importers.sources._api import TIME, Field, seconds
from importers.sources._listed import Listed, ListedSource, Since
from importers.transport.http.address import needed
from importers.transport.http.auth import ApiKey, Auth
from importers.transport.http.client import Answer, Call, Client
from importers.transport.http.paging import ByPage, dig, records
from importers.transport.http.settings import RATE, RATE_LIMIT, HttpConfig
from importers.transport.http.shared import Shared

USER = Column("user", pa.string(), PersonalData.ONLINE_ID)
TRACK, ARTIST, BY = Field("track", ("name",)), Field("artist", ("artist", "#text")), Field("artist", ("artist", "name"))
SEEN = (Field("url", ("url",)), Field("mbid", ("mbid",)))
RANKED = (Field("playcount", ("playcount",), pa.int64()), Field("rank", ("@attr", "rank"), pa.int64()), *SEEN)
PLAYED, LOVED = (Field(name, ("date", "uts"), TIME, epoch="s") for name in ("played_at", "loved_at"))
PLAY = (PLAYED, ARTIST, TRACK, Field("album", ("album", "#text")), *SEEN)


def _listed(method: str, inner: str, fields: Sequence[Field], *key: str, since: Since | None = None) -> Listed:
    told = method.removeprefix("user.get").lower()
    identity = tuple(field.path for field in fields if field.name in key)
    told_pages, told_total = (told, "@attr", "totalPages"), (told, "@attr", "total")
    style = ByPage((told, inner), told_pages, told_total, counts=_played, identity=identity)
    return Listed("", fields, key, style, {"method": method, "format": "json"}, form=True, since=since)


def _played(record: Any) -> bool:
    """What is playing now is on every page and in no total."""
    return bool(dig(record, ("@attr", "nowplaying")) != "true")


STREAMS = {
    "recent_tracks": _listed(
        "user.getRecentTracks", "track", PLAY, "played_at", "artist", "track", since=Since("from", "to")
    ),
    "loved_tracks": _listed("user.getLovedTracks", "track", (LOVED, BY, TRACK, *SEEN), "artist", "track"),
    "top_tracks": _listed("user.getTopTracks", "track", (BY, TRACK, *RANKED), "artist", "track"),
    "top_artists": _listed("user.getTopArtists", "artist", (Field("artist", ("name",)), *RANKED), "artist"),
    "top_albums": _listed("user.getTopAlbums", "album", (BY, Field("album", ("name",)), *RANKED), "artist", "album"),
    "weekly_track_chart": _listed("user.getWeeklyTrackChart", "track", (ARTIST, TRACK, *RANKED), "artist", "track"),
}


class LastfmConfig(HttpConfig):
    """Whose listening is read."""

    user: str = Setting(min_length=1, description="The listener's name at Last.fm.", examples=["RJ"])
    period: Literal["overall", "7day", "1month", "3month", "6month", "12month"] = Setting(
        "overall", description="Of which time the top lists are."
    )
    page_size: int = Setting(200, ge=1, le=200, description="How many records are asked for at once.")
    lookback_days: int = Setting(0, ge=0, description="So much is read again, for plays that reach Last.fm late.")
    rate_limit: str | None = Setting("5/s", pattern=RATE, description=RATE_LIMIT)


class Lastfm(ListedSource[LastfmConfig]):
    """What is playing at the moment isn't read: it comes when it has been played.

    Pages share no record. A list that changes while they are read is read again if its total or its first page shows
    it; a change behind that by which as many records came as went isn't seen until the next run.
    """

    title: ClassVar[str] = "Last.fm"
    config_model = LastfmConfig
    address: ClassVar[str] = "https://ws.audioscrobbler.com/2.0/"
    connection_type: ClassVar[str | None] = "lastfm"
    environment: ClassVar[Mapping[str, str]] = {"password": "LASTFM_API_KEY"}
    permitted_use: ClassVar[str] = "Non-commercial, with credit to Last.fm and no sublicensing, unless Last.fm agrees."

    def auth(self, connection: Connection, shared: Shared) -> Auth:  # noqa: ARG002 - nothing to share
        return ApiKey(needed(connection, "password"), "api_key")

    def greet(self, client: Client) -> str:
        client.ask(
            Call("", "user.getInfo", form={"method": "user.getInfo", "user": self.config.user, "format": "json"})
        )
        return "the key is good, and there is such a user"

    def judge(self, answer: Answer) -> ImporterError | None:
        code = dig(answer.json(), ("error",)) if b'"error"' in answer.body[:200] else None
        if code is None:
            return None
        if code in ("8", "11", "16", "29"):
            return TransientSourceError("Last.fm can't answer now", got=f"error {code}", do="try again later")
        do = "correct `user`" if code in ("6", "17") else "correct the connection's key"
        return FatalSourceError("Last.fm refuses", got=f"error {code}", do=do)

    def whose(self) -> Mapping[Column, str]:
        return {USER: self.config.user}

    def listed(self) -> Mapping[str, Listed]:
        said = {"user": self.config.user, "limit": self.config.page_size}
        period = {"period": self.config.period}
        return {
            name: replace(kind, params={**kind.params, **said, **(period if name.startswith("top_") else {})})
            for name, kind in STREAMS.items()
        }

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        if stream.reads is Reads.SNAPSHOT:
            return Plan([{}])
        if window.bounded:  # `from` counts and `to` doesn't, as with ours
            return Plan([{"from": seconds(window.start), "to": seconds(window.end)}])
        if self.config.lookback_days and stream.load_mode is LoadMode.APPEND:
            raise ConfigError("what is read again would be doubled", do="merge, or leave out `lookback_days`")
        after = cast("int", position.get("", 0))
        call = self.call(stream.name, {"from": after}).having(limit=1)
        with closing(self.client()) as client:
            newest = records(client.ask(call).json(), ("recenttracks", "track"), call, client)
        end = max((int(play["date"]["uts"]) + 1 for play in newest if "date" in play), default=after)
        begin = max(0, after - self.config.lookback_days * 86_400)
        return Plan([{"from": begin, "to": end}], {"": end}) if end > after else Plan([])
