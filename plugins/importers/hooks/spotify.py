"""Spotify's Web API: https://developer.spotify.com/documentation/web-api"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import HttpHook, TokenFirst, accepted, grant
from importers.transport.http.address import encrypted, needed

TOKENS = "https://accounts.spotify.com/api/token"


class SpotifyHook(HttpHook):
    """With a refresh token a user's own data can be read, without one only the catalogue."""

    conn_type = "spotify"
    hook_name = "Spotify"
    default_conn_name = "spotify_default"
    address = "https://api.spotify.com/v1"

    def auth(self, connection: Connection) -> httpx.Auth:
        tokens = encrypted(str(connection.get("token_address", TOKENS)))
        client = httpx.BasicAuth(needed(connection, "login"), needed(connection, "password"))
        request = httpx.Request("POST", tokens, data=grant(connection))
        return TokenFirst(next(client.auth_flow(request)))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("search", params={"q": "a", "type": "artist", "limit": 1}))
