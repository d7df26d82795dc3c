"""An S3 server for tests: the one that IMPORTERS_TEST_S3 names, else moto in an environment of its own.

moto can't share our lock (it pins another python-dateutil). It takes any credentials and any checksum, so nothing here
shows that wrong ones are refused. `moto.txt` is `uv pip compile --generate-hashes --no-emit-index-url --no-header` of
`moto[server,s3]`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import free_port

LOCK = Path(__file__).with_name("moto.txt")
REPOSITORY = Path(__file__).parents[2]


@contextmanager
def s3_endpoint() -> Iterator[str]:
    """`HOST:PORT` of a running server that speaks plain HTTP."""
    given = os.environ.get("IMPORTERS_TEST_S3")
    if given:
        yield given
        return
    command = _environment() / "bin" / "moto_server"
    port = free_port()
    started = time.monotonic()
    with subprocess.Popen(
        [command, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(server, port)
            print(f"moto took {time.monotonic() - started:.1f} s to start")
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def _environment() -> Path:
    """Built once for each content of the lock, outside the checkout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "importers-test"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"moto-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / name / "built").exists():
            _build(cache / name)
            (cache / name / "built").touch()
    return cache / name


def _build(directory: Path) -> None:
    own = REPOSITORY / ".tools" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is neither in .tools/bin nor on PATH: run make")
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, directory], check=True)
    python = directory / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", LOCK], check=True)


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Until it listens. Raises RuntimeError if it ends before, or takes three minutes."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{server.args!r} doesn't listen; exit code {server.poll()}")
