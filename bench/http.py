"""What a call costs beyond the same call by the bare client, and what an answer from the cache does.

The server is a process of its own on loopback, and so is Redis; both ways take turns within one run.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection as Pipe
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import numpy as np

from importers.core.connection import Connection
from importers.core.model import Window
from importers.sources.audio.spotify_api import Spotify, SpotifyConfig
from importers.transport.http.auth import ApiKey
from importers.transport.http.client import Call, Client
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import shared

LIBRARY = 5_000  # saved tracks
ANSWERING = 0.1  # seconds that the system takes for a page of them, as Spotify's API does


@dataclass(frozen=True)
class Measured:
    """Milliseconds a call, of the wall and of this process's processor; `library` is tracks a minute into Arrow rows.

    What other programs on the machine take shows in the wall's time only.
    """

    bare: float
    ours: float
    own_cost: float
    own_cost_cpu: float
    cached_p95: float
    cached_cpu: float
    library: float


def serve(pipe: Pipe) -> None:
    """A page of tracks, or a page of things; sends the port that it listens on."""
    track = {"id": "t", "uri": "spotify:track:t", "name": "n" * 20, "artists": [{"id": "a", "name": "b"}]}
    track |= {"album": {"id": "l", "name": "m", "release_date": "1999"}, "duration_ms": 1, "explicit": False}
    things = json.dumps({"things": [track] * 50}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = things
            if url.path == "/me":
                body = b'{"id": "ada"}'
            elif url.path == "/me/tracks":
                time.sleep(ANSWERING)
                asked = parse_qs(url.query)
                begin, limit = int(asked.get("offset", ["0"])[0]), int(asked["limit"][0])
                numbers = range(begin, min(begin + limit, LIBRARY))
                items = [
                    {"added_at": "2026-02-23T13:28:26Z", "track": track | {"uri": f"spotify:{n}"}} for n in numbers
                ]
                body = json.dumps({"items": items, "total": LIBRARY}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        pipe.send(http.server_port)
        http.serve_forever()


@contextmanager
def serving() -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()


@contextmanager
def redis() -> Iterator[str]:
    """The one that REDIS_URL names, or one for the bench alone."""
    if said := os.environ.get("REDIS_URL"):
        yield said
        return
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("there is no redis-server: apt-get install redis-server, or set REDIS_URL")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            time.sleep(0.5)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def measure(calls: int, rounds: int) -> Measured:
    """The medians of all rounds. The budget is wide, so that what is measured is what keeping it costs."""
    with serving() as address, redis() as url:
        secret = Connection({"password": f"bench-{time.time_ns()}"})
        among = shared("bench", secret, {"REDIS_URL": url})
        config, cached = HttpConfig(rate_limit="100000/s"), HttpConfig(rate_limit="100000/s", cache_ttl=600)
        call = Call("things", "things")
        with (
            httpx2.Client() as plain,
            closing(Client(address, config, ApiKey("k", "key"), among)) as ours,
            closing(Client(address, cached, ApiKey("k", "key"), among)) as keeping,
        ):
            ways: list[Callable[[], Any]] = [
                lambda: plain.get(f"{address}/things", params={"key": "k"}).content,
                lambda: ours.ask(call).body,
                lambda: keeping.ask(call).body,
            ]
            taken = np.array([[[_taken(way) for _ in range(calls)] for way in ways] for _ in range(rounds)]) * 1000
        (bare, ours, cached), (bare_cpu, ours_cpu, cached_cpu) = np.median(taken, axis=(0, 2)).T
        p95 = float(np.percentile(taken[:, 2, :, 0], 95))
        own, own_cpu = float(ours - bare), float(ours_cpu - bare_cpu)
        return Measured(float(bare), float(ours), own, own_cpu, p95, float(cached_cpu), _library(address))


def show(measured: Measured) -> str:
    return "\n".join(
        (
            f"a call, bare:         {measured.bare:8.2f} ms",
            f"a call, ours:         {measured.ours:8.2f} ms",
            f"our own cost:         {measured.own_cost:8.2f} ms   on the CPU {measured.own_cost_cpu:.2f}   (limit 2)",
            f"a cached GET, p95:    {measured.cached_p95:8.2f} ms   on the CPU {measured.cached_cpu:.2f}   (limit 2)",
            f"{LIBRARY:,} saved tracks:   {measured.library:8,.0f} a minute at {ANSWERING} s a page   (limit 10,000)",
        )
    )


def as_record(measured: Measured) -> dict[str, Any]:
    return asdict(measured)


def _taken(way: Callable[[], Any]) -> tuple[float, float]:
    begun, worked = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - begun, time.process_time() - worked


def _library(address: str) -> float:
    """Tracks a minute, of a whole library by its overlapping pages."""
    said = {"host": address, "login": "me", "password": "s", "refresh_token": "r", "token_address": f"{address}/token"}
    source = Spotify(SpotifyConfig(concurrency=8), tenant="bench", connection=Connection(said))
    (stream,) = [stream for stream in source.streams() if stream.name == "saved_tracks"]
    begun = time.perf_counter()
    (part,) = source.plan(stream, Window(), {}).partitions
    read = sum(batch.rows.num_rows for batch in source.read(stream, part))
    if read != LIBRARY:
        raise SystemExit(f"{read:,} of {LIBRARY:,} tracks were read")
    return read / (time.perf_counter() - begun) * 60
