"""`/healthz` for who restarts the process, `/metrics` for Prometheus. Counts and states: no row, no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from importers.core.model import JSON
from importers.core.registry import optional
from importers.server.streams import State, Status, Streams

if TYPE_CHECKING:
    from prometheus_client import Metric

_LABELS = ("tenant", "pipeline", "stream")
_log = logging.getLogger(__name__)


@contextmanager
def health_server(streams: Streams, host: str, port: int) -> Iterator[int]:
    """The port that it listens on; -1: no server at all. Raises MissingExtraError."""
    if port < 0:
        yield port
        return
    with make_server(host, port, _application(streams), _Server, _Quiet) as server:
        thread = Thread(target=server.serve_forever, name="health", daemon=True)
        thread.start()
        _log.info("http://%s:%d/healthz, /metrics", host, server.server_port)
        try:
            yield server.server_port
        finally:
            server.shutdown()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def _application(streams: Streams) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    prometheus = optional("prometheus_client", "server")
    registry = prometheus.CollectorRegistry()
    registry.register(_Collector(streams))
    metrics = prometheus.make_wsgi_app(registry)

    def answer(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if request["PATH_INFO"] == "/metrics":
            found: Iterable[bytes] = metrics(request, start)
            return found
        if request["PATH_INFO"] == "/healthz":
            healthy = all(status.healthy for status in streams.statuses)
            body = json.dumps({"healthy": healthy, "streams": [told(status) for status in streams.statuses]})
            start("200 OK" if healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [body.encode()]
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/healthz and /metrics are here\n"]

    return answer


def told(status: Status) -> dict[str, JSON]:
    """What a person is told of a stream."""
    at = status.committed_at
    return {
        "stream": str(status.name),
        "state": status.state,
        "error": status.error,
        "behind": status.total.behind,
        "rows_a_second": round(status.rows_a_second, 1),
        "last_commit": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") if at else None,
        "loaded": status.total.loaded,
        "quarantined": status.total.quarantined,
        "suppressed": status.total.suppressed,
        "failures": status.failures,
    }


class _Collector:
    """Reads the statuses when Prometheus asks, so that a micro-batch costs no more than its own counting."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        core: Any = optional("prometheus_client.core", "server")
        rows = core.CounterMetricFamily("importers_stream_rows", "Records by outcome", labels=(*_LABELS, "outcome"))
        commits = core.CounterMetricFamily("importers_stream_commits", "Transactions with rows", labels=_LABELS)
        failures = core.CounterMetricFamily("importers_stream_failures", "Times it broke off", labels=_LABELS)
        behind = core.GaugeMetricFamily("importers_stream_behind", "Records known to be unread", labels=_LABELS)
        last = core.GaugeMetricFamily(
            "importers_stream_last_commit_timestamp_seconds", "When it last committed rows", labels=_LABELS
        )
        running = core.GaugeMetricFamily("importers_stream_running", "Whether it is followed", labels=_LABELS)
        for status in self._streams.statuses:
            of = [status.name.tenant, status.name.pipeline, status.name.stream]
            for outcome in ("loaded", "quarantined", "suppressed"):
                rows.add_metric([*of, outcome], getattr(status.total, outcome))
            commits.add_metric(of, status.commits)
            failures.add_metric(of, status.failures)
            behind.add_metric(of, status.total.behind)
            running.add_metric(of, status.state is State.RUNNING)
            if status.committed_at is not None:
                last.add_metric(of, status.committed_at)
        yield from (rows, commits, failures, behind, last, running)
