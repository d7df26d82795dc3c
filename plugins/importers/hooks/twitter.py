"""X (Twitter)'s API: https://docs.x.com/x-api"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import Bearer, HttpHook, accepted
from importers.transport.http.address import needed


class TwitterHook(HttpHook):
    """A bearer token of an app. The test asks for the usage, which costs nothing and counts as no post."""

    conn_type = "twitter"
    hook_name = "X (Twitter)"
    default_conn_name = "twitter_default"
    address = "https://api.x.com/2"

    def auth(self, connection: Connection) -> httpx.Auth:
        return Bearer(needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("usage/tweets"))
