"""Amplitude's API: https://amplitude.com/docs/apis/authentication"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import HttpHook, accepted
from importers.transport.http.address import needed


class AmplitudeHook(HttpHook):
    """A project's API key and secret key. Projects in the EU have an address of their own."""

    conn_type = "amplitude"
    hook_name = "Amplitude"
    default_conn_name = "amplitude_default"
    address = "https://amplitude.com/api"

    def auth(self, connection: Connection) -> httpx.Auth:
        return httpx.BasicAuth(needed(connection, "login"), needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get("3/cohorts"))
