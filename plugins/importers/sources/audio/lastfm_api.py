"""What a user listens to, by Last.fm's API: https://www.last.fm/api, errors: https://www.last.fm/api/errorcodes"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar, Literal, cast

import pyarrow as pa
from pydantic import Field as Setting

from importers.core.connection import Connection
from importers.core.model import JSON, Batch, Column, LoadMode, PersonalData, Plan, Position, Reads, Stream, Window
from importers.exceptions import ConfigError, FatalSourceError, ImporterError, TransientSourceError
from importers.sources._api import TIME, ApiSource, Field, Listed, Rows, columns, seconds
from importers.transport.http.address import needed
from importers.transport.http.auth import ApiKey, Auth
from importers.transport.http.client import Answer, Call, Client
from importers.transport.http.paging import ByPage, dig, pages, records
from importers.transport.http.settings import RATE, RATE_LIMIT, HttpConfig
from importers.transport.http.shared import Shared

USER = Column("user", pa.string(), PersonalData.ONLINE_ID)
TRACK, ARTIST, BY = Field("track", ("name",)), Field("artist", ("artist", "#text")), Field("artist", ("artist", "name"))
SEEN = (Field("url", ("url",)), Field("mbid", ("mbid",)))
RANKED = (Field("playcount", ("playcount",), pa.int64()), Field("rank", ("@attr", "rank"), pa.int64()), *SEEN)
PLAYED, LOVED = (Field(name, ("date", "uts"), TIME, epoch="s") for name in ("played_at", "loved_at"))
PLAY = (PLAYED, ARTIST, TRACK, Field("album", ("album", "#text")), *SEEN)

STREAMS = {
    "recent_tracks": Listed("user.getRecentTracks", ("recenttracks", "track"), PLAY, ("played_at", "artist", "track")),
    "loved_tracks": Listed(
        "user.getLovedTracks", ("lovedtracks", "track"), (LOVED, BY, TRACK, *SEEN), ("artist", "track")
    ),
    "top_tracks": Listed("user.getTopTracks", ("toptracks", "track"), (BY, TRACK, *RANKED), ("artist", "track")),
    "top_artists": Listed(
        "user.getTopArtists", ("topartists", "artist"), (Field("artist", ("name",)), *RANKED), ("artist",)
    ),
    "top_albums": Listed(
        "user.getTopAlbums", ("topalbums", "album"), (BY, Field("album", ("name",)), *RANKED), ("artist", "album")
    ),
    "weekly_track_chart": Listed(
        "user.getWeeklyTrackChart", ("weeklytrackchart", "track"), (ARTIST, TRACK, *RANKED), ("artist", "track")
    ),
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


class Lastfm(ApiSource[LastfmConfig]):
    """What is playing at the moment isn't read: it comes when it has been played."""

    title: ClassVar[str] = "Last.fm"
    config_model = LastfmConfig
    address: ClassVar[str] = "https://ws.audioscrobbler.com/2.0/"
    connection_type: ClassVar[str | None] = "lastfm"
    environment: ClassVar[Mapping[str, str]] = {"password": "LASTFM_API_KEY"}
    permitted_use: ClassVar[str] = "Non-commercial, with credit to Last.fm and no sublicensing, unless Last.fm agrees."

    def auth(self, connection: Connection, shared: Shared) -> Auth:  # noqa: ARG002 - nothing to share
        return ApiKey(needed(connection, "password"), "api_key")

    def greet(self, client: Client) -> str:
        client.ask(self._call("user.getInfo"))
        return "the key is good, and there is such a user"

    def judge(self, answer: Answer) -> ImporterError | None:
        code = dig(answer.json(), ("error",)) if b'"error"' in answer.body[:200] else None
        if code is None:
            return None
        if code in ("8", "11", "16", "29"):
            return TransientSourceError("Last.fm can't answer now", got=f"error {code}", do="try again later")
        do = "correct `user`" if code in ("6", "17") else "correct the connection's key"
        return FatalSourceError("Last.fm refuses", got=f"error {code}", do=do)

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(
                name,
                (USER, *columns(kind.fields)),
                Reads.POSITION if name == "recent_tracks" else Reads.SNAPSHOT,
                ("user", *kind.key),
                subject="user",
            )
            for name, kind in STREAMS.items()
        ]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        if stream.reads is Reads.SNAPSHOT:
            return Plan([{}])
        if window.bounded:  # `from` counts and `to` doesn't, as with ours
            return Plan([{"from": seconds(window.start), "to": seconds(window.end)}])
        if self.config.lookback_days and stream.load_mode is LoadMode.APPEND:
            raise ConfigError("what is read again would be doubled", do="merge, or leave out `lookback_days`")
        after = cast("int", position.get("", 0))
        call = self._call(STREAMS[stream.name].call, **{"from": after, "limit": 1})
        with closing(self.client()) as client:
            newest = records(client.ask(call).json(), STREAMS[stream.name].records, call, client)
        end = max((int(play["date"]["uts"]) + 1 for play in newest if "date" in play), default=after)
        begin = max(0, after - self.config.lookback_days * 86_400)
        return Plan([{"from": begin, "to": end}], {"": end}) if end > after else Plan([])

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        kind = STREAMS[stream.name]
        part = cast("Mapping[str, Any]", partition)
        rows, told = Rows(kind.fields, stream, {USER.name: self.config.user}), kind.records[0]
        style = ByPage(kind.records, (told, "@attr", "totalPages"), (told, "@attr", "total"), counts=_played)
        period = {"period": self.config.period} if "Top" in kind.call else {}
        first = self._call(kind.call, limit=self.config.page_size, **period, **part)
        with closing(self.client()) as client:
            for number, page in enumerate(pages(client, first, style), 1):
                yield rows.batch(page, f"page {number}")

    def _call(self, method: str, **more: Any) -> Call:
        said = {"method": method, "user": self.config.user, "format": "json", **more}
        return Call("", method, form={name: value for name, value in said.items() if value is not None})


def _played(record: Any) -> bool:
    return bool(dig(record, ("@attr", "nowplaying")) != "true")
