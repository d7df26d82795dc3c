"""SoundCloud's API: https://developers.soundcloud.com/docs/api/guide"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import HttpHook, TokenFirst, accepted
from importers.transport.http.address import encrypted, needed

TOKENS = "https://secure.soundcloud.com/oauth/token"


class SoundcloudHook(HttpHook):
    """An application's own token: refresh tokens there are good for one use, so a connection can't hold them."""

    conn_type = "soundcloud"
    hook_name = "SoundCloud"
    default_conn_name = "soundcloud_default"
    address = "https://api.soundcloud.com"

    def auth(self, connection: Connection) -> httpx.Auth:
        tokens = encrypted(str(connection.get("token_address", TOKENS)))
        client = httpx.BasicAuth(needed(connection, "login"), needed(connection, "password"))
        request = httpx.Request("POST", tokens, data={"grant_type": "client_credentials"})
        return TokenFirst(next(client.auth_flow(request)), word="OAuth")

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("tracks", params={"q": "a", "limit": 1}))
