"""TikTok's API: https://developers.tiktok.com/doc/client-access-token-management"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import HttpHook, TokenFirst, grant
from importers.transport.http.address import base_url, needed


class TiktokHook(HttpHook):
    """With a refresh token a user's own videos can be read. What a client's token opens differs from app to app."""

    conn_type = "tiktok"
    hook_name = "TikTok"
    default_conn_name = "tiktok_default"
    address = "https://open.tiktokapis.com/v2"

    def auth(self, connection: Connection) -> TokenFirst:
        key, secret = needed(connection, "login"), needed(connection, "password")
        asked = grant(connection, client_key=key, client_secret=secret)
        tokens = f"{base_url(connection, self.address).rstrip('/')}/oauth/token/"
        return TokenFirst(httpx.Request("POST", tokens, data=asked))

    def ask(self, session: httpx.Client) -> None:
        """Gets the token: there is no call that every client may make."""
        if isinstance(session.auth, TokenFirst):
            session.auth.fetch(session)
