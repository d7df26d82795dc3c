"""Mixpanel's API: https://developer.mixpanel.com/reference/service-accounts"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import HttpHook, accepted
from importers.transport.http.address import needed


class MixpanelHook(HttpHook):
    """A service account. Projects in the EU and in India have addresses of their own."""

    conn_type = "mixpanel"
    hook_name = "Mixpanel"
    default_conn_name = "mixpanel_default"
    address = "https://mixpanel.com/api"

    def auth(self, connection: Connection) -> httpx.Auth:
        return httpx.BasicAuth(needed(connection, "login"), needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("app/me"))
