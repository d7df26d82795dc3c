"""Redis servers on free ports of loopback: as docker-compose.yaml starts one, and with users and TLS for the sources.

`apt-get install redis-server`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from redis import Redis as Client

from tests.services.ports import free_port

READY = 180.0  # seconds


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


USER, PASSWORD = "app", "kanarienvogel-of-redis"


@dataclass
class Redis:
    """A server that speaks TLS only, and writes each command to disk before it answers. `app` may use keys `app:…`."""

    port: int
    home: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def authority(self) -> str:
        return str(self.home / "authority.pem")

    def administrator(self) -> Client:
        """A client that may do everything; to be closed."""
        return Client.from_url(f"rediss://root:{PASSWORD}@localhost:{self.port}", ssl_ca_certs=self.authority)

    def start(self) -> None:
        """Again, or for the first time; what runs or was paused goes on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            return
        settings = {"port": 0, "tls-port": self.port, "bind": "127.0.0.1", "dir": self.home, "save": ""}
        settings |= {"tls-cert-file": self.home / "server.pem", "tls-key-file": self.home / "key.pem"}
        settings |= {"tls-ca-cert-file": self.authority, "tls-auth-clients": "no", "aclfile": self.home / "users.acl"}
        settings |= {"appendonly": "yes", "appendfsync": "always"}
        words = [f"{word}" for name, said in settings.items() for word in (f"--{name}", said)]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        _wait(self._process, self.port)

    def pause(self) -> None:
        """It keeps its connections and answers nobody, until `start`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None


@contextmanager
def redis_with_users() -> Iterator[Redis]:
    """Raises RuntimeError where Redis isn't installed."""
    if not shutil.which("redis-server"):
        raise RuntimeError("there is no redis-server: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="importers-redis-") as name:
        server = Redis(free_port(), Path(name))
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(server.home / "key.pem"))
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(str(server.home / "server.pem"), append=True)
        authority.cert_pem.write_to_path(server.authority)
        (server.home / "users.acl").write_text(
            f"user default off\nuser root on >{PASSWORD} ~* &* +@all\n"
            f"user {USER} on >{PASSWORD} ~app:* +@all -@dangerous\n"
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()


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
