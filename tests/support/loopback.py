"""An HTTP server of this process on loopback, which answers as a test says and can be troubled."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Mapping[str, str]

    @property
    def said(self) -> dict[str, str]:
        return self.query | self.form


@dataclass
class Reply:
    """`length` is what the header says of the body; `times` how often it is sent."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    times: int = 1


class Loopback:
    """`trouble` is none, or "dead" (no answer, the connection ends) or "stalled" (no answer)."""

    def __init__(self, answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.trouble = answer, ""
        self.asked: list[Asked] = []
        self._mended, self._lock = Event(), Lock()
        here = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                here._serve(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that goes away is no news."""

        self._http = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def mend(self) -> None:
        self.trouble = ""
        self._mended.set()
        self._mended = Event()

    def hears(self, number: int) -> list[Asked]:
        """What it was asked, once that is so much: who gives up soon may be gone before it has been heard."""
        deadline = time.monotonic() + 60
        while len(self.asked) < number and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.asked

    def close(self) -> None:
        self._mended.set()
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0)).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.command, url.path, dict(parse_qsl(url.query)), dict(parse_qsl(body)), headers)
        with self._lock:
            self.asked.append(asked)
        if self.trouble == "stalled":
            self._mended.wait(30)
        if self.trouble == "dead":
            request.close_connection = True
            return
        self._send(request, self.answer(asked))

    def _send(self, request: BaseHTTPRequestHandler, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body) * reply.times if reply.length is None else reply.length))
        request.end_headers()
        for _ in range(reply.times):
            request.wfile.write(body)
        request.close_connection = request.close_connection or reply.length is not None
