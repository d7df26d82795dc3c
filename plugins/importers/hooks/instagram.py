"""Instagram's API: https://developers.facebook.com/docs/instagram-platform"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import Bearer, HttpHook, accepted
from importers.transport.http.address import needed


class InstagramHook(HttpHook):
    """The access token of a professional account."""

    conn_type = "instagram"
    hook_name = "Instagram"
    default_conn_name = "instagram_default"
    address = "https://graph.instagram.com/v25.0"

    def auth(self, connection: Connection) -> httpx.Auth:
        return Bearer(needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("me", params={"fields": "id"}))
