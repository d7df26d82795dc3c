"""TLS in front of a PostgreSQL server that is built without it, as the embedded one is: what a client sees is the same.

By the protocol's SSLRequest (https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL); nobody is let
through without. Stands in for the server's side of TLS, not for its rules in pg_hba.conf.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

GSS, TLS = 80877104, 80877103
"""The codes by which a client asks for encryption."""


@contextmanager
def encrypting(path: str, context: ssl.SSLContext) -> Iterator[int]:
    """The port on this machine where the server of a Unix socket is reached by TLS."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # whoever doesn't trust us goes away
                while (code := int.from_bytes(self.request.recv(8, socket.MSG_WAITALL)[4:])) == GSS:
                    self.request.sendall(b"N")
                if code == TLS:
                    self.request.sendall(b"S")
                    with (
                        context.wrap_socket(self.request, server_side=True) as client,
                        socket.socket(socket.AF_UNIX) as server,
                    ):
                        server.connect(path)
                        _pass_on(client, server)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield int(listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join(60)


def _pass_on(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Until one of them has closed."""
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for each in ready:
            data = each.recv(65_536)
            if not data:
                return
            (server if each is client else client).sendall(data)
