"""Spotify's Web API: https://developer.spotify.com/documentation/web-api"""

from __future__ import annotations

from typing import Any

import httpx

from importers.core.connection import Connection
from importers.core.registry import optional
from importers.hooks.connections import handed_over
from importers.hooks.http import TIMEOUT, HttpHook, TokenFirst, accepted, grant, token_of
from importers.transport.http.address import base_url, encrypted, needed

TOKENS = "https://accounts.spotify.com/api/token"


class SpotifyHook(HttpHook):
    """With a refresh token a user's own data can be read, without one only the catalogue."""

    conn_type = "spotify"
    hook_name = "Spotify"
    default_conn_name = "spotify_default"
    address = "https://api.spotify.com/v1"

    def get_conn(self) -> Any:
        """Spotipy's client, with a token for an hour. It retries nothing: who calls it knows what a wait costs."""
        said = handed_over(self.get_connection(self.conn_id))
        with self.session() as session:
            token = token_of(session.send(self._granting(said), auth=None))
        client = optional("spotipy", "spotify").Spotify(
            auth=token, retries=0, status_retries=0, requests_timeout=TIMEOUT
        )
        client.prefix = base_url(said, self.address).rstrip("/") + "/"
        return client

    def auth(self, connection: Connection) -> httpx.Auth:
        return TokenFirst(self._granting(connection))

    def _granting(self, connection: Connection) -> httpx.Request:
        tokens = encrypted(str(connection.get("token_address", TOKENS)))
        client = httpx.BasicAuth(needed(connection, "login"), needed(connection, "password"))
        return next(client.auth_flow(httpx.Request("POST", tokens, data=grant(connection))))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("search", params={"q": "a", "type": "artist", "limit": 1}))
