"""Last.fm's recent tracks: an answer as the cassettes of tests/unit/sources/audio have it, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from importers.core.model import Reads
from tests.support.loopback import Asked, Reply

from .world_api import ApiWorld

KEY = "kanarienvogel-5f2b"
LISTENER = "listener-ada-1815"


def play(uts: int, artist: str, track: str, album: str | None) -> dict[str, Any]:
    at = datetime.fromtimestamp(uts, UTC)
    url = f"https://www.last.fm/music/{uts}"
    return {"user": LISTENER, "played_at": at, "artist": artist, "track": track, "album": album, "url": url, "mbid": ""}


class Lastfm(ApiWorld):
    """Newest first, with what is playing at the moment on top of every page, as Last.fm does it."""

    wrong: ClassVar[dict[str, Any]] = {"page_size": 201}
    reads = Reads.POSITION
    stream = "recent_tracks"
    key = ("user", "played_at", "artist", "track")
    policy: ClassVar[dict[str, Any]] = {
        "user": "pseudonymise",
        **dict.fromkeys(("played_at", "artist", "track", "album", "url", "mbid"), "keep"),
    }
    subject: ClassVar[dict[str, str]] = {"column": "user", "domain": "listener"}
    unclassified = None
    secrets = (KEY,)
    values = (LISTENER, "cødé")

    def records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return [play(1_581_780_986 + n, f"artist {n}", f"ünï, cødé {n}", None if n else "album") for n in range(3)], [
            play(1_581_790_000, "artist 1", 'a "quoted"\ntitle', "later")
        ]

    def config(self) -> dict[str, Any]:
        return {"user": LISTENER, "page_size": 2, "rate_limit": "1000/s"} | self.patience()

    def connection(self) -> dict[str, Any]:
        return {"host": self.http.address, "password": KEY}

    def answer(self, asked: Asked) -> Reply:
        said = asked.said
        if self.denied or said.get("api_key") != KEY:
            return Reply({"error": 10, "message": f"Invalid API key {said.get('api_key')}"}, 403)
        if said["method"] == "user.getInfo":
            return Reply({"user": {"name": said["user"]}})
        within = range(int(said.get("from", 0)), int(said.get("to", 1 << 40)))
        plays = sorted(
            ((int(row["played_at"].timestamp()), row) for row in self.served), key=lambda one: one[0], reverse=True
        )
        plays = [one for one in plays if one[0] in within]
        size, number = int(said["limit"]), int(said.get("page", 1))
        page = [_json(*one) for one in plays[size * (number - 1) : size * number]]
        playing = {"artist": {"#text": "now"}, "name": "now", "@attr": {"nowplaying": "true"}}
        pages = -(-len(plays) // size)
        attr = {"user": said["user"], "page": str(number), "perPage": str(size), "totalPages": str(pages)}
        return Reply({"recenttracks": {"track": [playing, *page], "@attr": attr | {"total": str(len(plays))}}})


def _json(uts: int, row: dict[str, Any]) -> dict[str, Any]:
    artist = {"mbid": "", "#text": row["artist"]}
    when = {"uts": str(uts), "#text": row["played_at"].strftime("%d %b %Y, %H:%M")}
    album = {"mbid": ""} if row["album"] is None else {"mbid": "", "#text": row["album"]}
    return {"artist": artist, "name": row["track"], "album": album, "url": row["url"], "mbid": "", "date": when}
