"""Spotify's Web API: https://developer.spotify.com/documentation/web-api"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, ClassVar, Literal, cast

from pydantic import Field as Setting

from importers.core.connection import Connection
from importers.core.model import Plan, Position, Stream, Window
from importers.core.source import Partition
from importers.exceptions import ConfigError, ContractError, ImporterError, TransientSourceError
from importers.sources._listed import Bounds, Listed, ListedSource
from importers.sources.audio._spotify import LIMIT, WITHHELD, of_a_user, of_the_catalogue
from importers.transport.http.address import Route, encrypted, needed
from importers.transport.http.auth import Auth
from importers.transport.http.budget import retry_after
from importers.transport.http.client import Answer, Call, Client
from importers.transport.http.consent import Consent
from importers.transport.http.oauth import OAuth2, TokenEndpoint
from importers.transport.http.paging import dig
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Shared

logger = logging.getLogger(__name__)

TOKENS = "https://accounts.spotify.com/api/token"
CONSENT = "https://accounts.spotify.com/authorize"
SCOPE = (  # of the streams that are a user's own
    "user-read-recently-played user-library-read user-top-read user-follow-read playlist-read-private "
    "playlist-read-collaborative"
)
EXHAUSTED = 900.0  # seconds until a quota is looked at again, if Spotify doesn't say


class SpotifyConfig(HttpConfig):
    """What is read of the catalogue, and by which of the API's two forms."""

    quota: Literal["development", "extended"] = Setting(
        "development", description="The app's quota mode: apps with extended quota see an older form of the API."
    )
    playlist_ids: tuple[str, ...] = Setting((), description="The playlists of the stream playlist_items.")
    track_ids: tuple[str, ...] = Setting((), description="What the stream tracks has.")
    album_ids: tuple[str, ...] = Setting((), description="What the stream albums has.")
    artist_ids: tuple[str, ...] = Setting((), description="What the stream artists has.")
    time_range: Literal["short_term", "medium_term", "long_term"] = Setting(
        "medium_term", description="Of which time the top lists are: about four weeks, six months, or a year."
    )
    page_size: int = Setting(LIMIT, ge=2, le=LIMIT, description="How many records are asked for at once.")

    @property
    def ids(self) -> Mapping[str, Sequence[str]]:
        """The objects that the streams of the catalogue are made of."""
        lists = {"tracks": self.track_ids, "albums": self.album_ids, "artists": self.artist_ids}
        return {"playlist_items": self.playlist_ids, **lists}


class Plays(Partition):
    """How many `plays` there were `after` one moment and until the other, in milliseconds since 1970."""

    after: int
    until: int
    plays: int


class Spotify(ListedSource[SpotifyConfig]):
    """With a user's refresh token in the connection, the user's library and listening; without, only the catalogue.

    Offset pages overlap by one record, so that a list that changes while it is read is read again. A change that takes
    one record away and puts one in at the same place isn't seen until the next run. Of the plays Spotify keeps
    the latest 50.
    """

    title: ClassVar[str] = "Spotify"
    config_model = SpotifyConfig
    partition_model: ClassVar[Any] = ListedSource.partition_model | Plays
    address: ClassVar[str] = "https://api.spotify.com/v1"
    connection_type: ClassVar[str | None] = "spotify"
    environment: ClassVar[Mapping[str, str]] = {"login": "SPOTIFY_CLIENT_ID", "password": "SPOTIFY_CLIENT_SECRET"}
    environment_besides: ClassVar[Mapping[str, str]] = {"refresh_token": "SPOTIFY_REFRESH_TOKEN"}
    withheld: ClassVar[Mapping[str, str]] = WITHHELD
    permitted_use: ClassVar[str] = (
        "Not to train models, not to be sold, kept no longer than the app needs it, deleted when a user disconnects "
        "(https://developer.spotify.com/terms)."
    )

    def auth(self, connection: Connection, shared: Shared) -> Auth:
        return OAuth2(self._tokens(connection), shared, str(connection.get("refresh_token", "")))

    def consent(self) -> Consent:
        connection = self.connection or Connection({})
        return Consent(encrypted(str(connection.get("authorize_address", CONSENT))), self._tokens(connection, SCOPE))

    def greet(self, client: Client) -> str:
        client.ask(Call("search", "search", {"q": "a", "type": "artist", "limit": 1}))
        return "a user's token is good" if self._has_user else "the app's token is good"

    def judge(self, answer: Answer) -> ImporterError | None:
        if answer.status != 429 or b"QUOTA_EXCEEDED" not in answer.body:
            return None
        told = retry_after(answer.headers) or EXHAUSTED
        do = "wait, or lower `rate_limit`: it is one for all apps of a developer"
        return TransientSourceError("Spotify's quota is used up", got="HTTP 429", do=do, retry_after=told)

    def listed(self) -> Mapping[str, Listed]:
        size, items = self.config.page_size, "items" if self.config.quota == "development" else "tracks"
        mine = of_a_user(size, self.config.time_range) if self._has_user else {}
        return {**mine, **of_the_catalogue(size, items, self.config.ids)}

    def named(self) -> Sequence[str]:
        return ()  # what there is depends on whom the connection is for

    def streams(self) -> Sequence[Stream]:
        if not self.listed():
            what = "without a user's refresh token Spotify has only what is asked for by id"
            raise ConfigError(what, do="set track_ids, album_ids, artist_ids or playlist_ids, or fill in refresh_token")
        return super().streams()

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        plays = stream.name == "recently_played"
        return self._plays(window, position) if plays else super().plan(stream, window, position)

    def found(self, client: Client, name: str, part: Bounds) -> Generator[Sequence[Any], None, None]:
        if name == "recently_played":
            yield self._played(client, part)
        else:
            yield from super().found(client, name, part)

    def _plays(self, window: Window, position: Position) -> Plan:
        """Sealed at the newest play, with how many there are: they may have gone when they are read."""
        if window.bounded:
            raise ConfigError("Spotify keeps the latest 50 plays", do="run it without an interval")
        after = cast("int", position.get("", 0))
        with closing(self.client()) as client:
            body = self._latest(client, after)
        plays = dig(body, ("items",)) or []
        if not plays:
            return Plan([])
        if len(plays) == LIMIT and after:
            logger.warning(
                "Spotify keeps the latest 50 plays, and there were 50: older ones may be lost; run it oftener"
            )
        until = max(_milliseconds(play) for play in plays)
        return Plan([{"after": after, "until": until, "plays": len(plays)}], {"": until})

    def _played(self, client: Client, part: Mapping[str, Any]) -> Sequence[Any]:
        plays = dig(self._latest(client, part["after"]), ("items",)) or []
        found = [play for play in plays if _milliseconds(play) <= part["until"]]
        if len(found) < part["plays"]:
            got = f"{len(found)} of {part['plays']} plays"
            raise ContractError(
                "plays were pushed out before they were read", got=got, do="start a new run, and oftener"
            )
        return found

    def _latest(self, client: Client, after: int) -> Any:
        return client.ask(self.call("recently_played", {"from": after}).having(limit=LIMIT)).json()

    def owner(self, client: Client) -> str:
        me = client.ask(Call("me", "me")).json()
        user = dig(me, ("account_id",)) or dig(me, ("id",))
        if not isinstance(user, str):
            raise ContractError("Spotify doesn't say whose token it is", do="see whether the API has changed")
        return user

    def _tokens(self, connection: Connection, scope: str | None = None) -> TokenEndpoint:
        tokens = encrypted(str(connection.get("token_address", TOKENS)))
        client = needed(connection, "login"), needed(connection, "password")
        return TokenEndpoint(tokens, client, self.config, Route.of(connection), scope)

    @property
    def _has_user(self) -> bool:
        return "refresh_token" in (self.connection or {})


def _milliseconds(play: Any) -> int:
    """When it was played, since 1970. Raises ContractError for a play that doesn't say."""
    try:
        return round(datetime.fromisoformat(play["played_at"]).timestamp() * 1000)
    except (TypeError, KeyError, ValueError):
        what = "Spotify doesn't say when something was played"
        raise ContractError(what, do="see whether the API has changed") from None
