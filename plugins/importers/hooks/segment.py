"""Segment's API: https://docs.segmentapis.com"""

from __future__ import annotations

import httpx

from importers.core.connection import Connection
from importers.hooks.http import Bearer, HttpHook, accepted
from importers.transport.http.address import needed


class SegmentHook(HttpHook):
    """A token of the Public API. Workspaces in the EU have an address of their own."""

    conn_type = "segment"
    hook_name = "Segment"
    default_conn_name = "segment_default"
    address = "https://api.segmentapis.com"

    def auth(self, connection: Connection) -> httpx.Auth:
        return Bearer(needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        accepted(session.get(""))
