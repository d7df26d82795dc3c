"""A Redis server as docker-compose.yaml starts it, on a free port of loopback. `apt-get install redis-server`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.services.airflow import free_port

READY = 10.0  # seconds


@contextmanager
def redis_server(service: Mapping[str, Any]) -> Iterator[int]:
    """The port of a running server; `service` is compose's. Raises RuntimeError where Redis isn't installed."""
    if not shutil.which("redis-server"):
        raise RuntimeError("there is no redis-server: apt-get install redis-server")
    port = free_port()
    *shell, script = service["command"]
    script = script.replace("redis-server -", f"redis-server - --port {port} --bind 127.0.0.1")
    environment = {"PATH": os.environ["PATH"], **service["environment"]}
    with subprocess.Popen([*shell, script], env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(server, port)
            yield port
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"Redis doesn't listen; exit code {server.poll()}")
