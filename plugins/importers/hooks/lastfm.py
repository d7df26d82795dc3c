"""Last.fm's API: https://www.last.fm/api"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from importers.core.connection import Connection
from importers.core.registry import optional
from importers.hooks.connections import handed_over
from importers.hooks.http import HttpHook, accepted, json_of, refused
from importers.transport.http.address import base_url, needed


class LastfmHook(HttpHook):
    """The key goes in the body: an address is what servers and proxies write down."""

    conn_type = "lastfm"
    hook_name = "Last.fm"
    default_conn_name = "lastfm_default"
    address = "https://ws.audioscrobbler.com/2.0/"

    def get_conn(self) -> Any:
        """Pylast's network, which keeps to Last.fm's five calls a second. It speaks TLS only, whatever the address."""
        said = handed_over(self.get_connection(self.conn_id))
        network = optional("pylast", "lastfm").LastFMNetwork(api_key=needed(said, "password"))
        address = urlsplit(base_url(said, self.address))
        network.ws_server = address.netloc, address.path or "/"
        network.enable_rate_limit()
        return network

    def auth(self, connection: Connection) -> httpx.Auth:
        return _KeyInBody(needed(connection, "password"))

    def ask(self, session: httpx.Client) -> None:
        response = session.post("", data={"method": "chart.getTopArtists", "limit": 1, "format": "json"})
        if response.status_code in (400, 403) or accepted(response).is_success:
            body = json_of(response)
            if "error" in body:  # 10 is a wrong key, 26 one that was blocked
                raise refused(response, body)


class _KeyInBody(httpx.Auth):
    requires_request_body = True

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        said = dict(parse_qsl(request.content.decode()))
        headers = {"User-Agent": request.headers["User-Agent"]}
        data = {**said, "api_key": self._key}
        yield httpx.Request("POST", request.url, headers=headers, data=data, extensions=request.extensions)
