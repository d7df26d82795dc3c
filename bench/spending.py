"""What a piece of work costs: seconds, processor time of ours and of the server, and memory at its highest."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from importers.transport.embedded import start_postgres

LOOK_AT_MEMORY, LOOK_FOR_PROCESSES = 0.05, 1.0  # seconds
SETTLED = 0.3  # seconds after which the server has noticed that a session of it has ended


@dataclass(slots=True)
class Spent:
    """Seconds by the clock, CPU seconds, and MB resident: of the largest of our processes, and of all together."""

    seconds: float = 0.0
    cpu: float = 0.0
    server_cpu: float = 0.0
    mb_one: float = 0.0
    mb_all: float = 0.0


class Till:
    """Counts what work costs this process, its children, and the server whose data are in a directory."""

    def __init__(self, data: Path) -> None:
        self._server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))

    @contextmanager
    def counting(self) -> Iterator[Spent]:
        spent, stop = Spent(), threading.Event()
        before, server_before, started = _cpu(), self._server_cpu(), time.perf_counter()
        watch = threading.Thread(target=_watch, args=(spent, stop), daemon=True)
        watch.start()
        try:
            yield spent
        finally:
            spent.seconds, spent.cpu = time.perf_counter() - started, _cpu() - before
            stop.set()
            watch.join()
            time.sleep(SETTLED)
            spent.server_cpu = self._server_cpu() - server_before

    def _server_cpu(self) -> float:
        mine = self._server.cpu_times()
        total = mine.user + mine.system + mine.children_user + mine.children_system
        for process in self._server.children():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _watch(spent: Spent, stop: threading.Event) -> None:
    """Looking for processes takes ten milliseconds, which would be a fifth of a core at each look at their memory."""
    me, ours, looked = psutil.Process(), [], 0.0
    while not stop.wait(LOOK_AT_MEMORY):
        if time.monotonic() - looked > LOOK_FOR_PROCESSES:
            ours, looked = [me, *_workers(me)], time.monotonic()
        sizes = []
        for process in ours:
            with suppress(psutil.NoSuchProcess):
                sizes.append(process.memory_info().rss / 1e6)
        spent.mb_one, spent.mb_all = max(spent.mb_one, *sizes), max(spent.mb_all, sum(sizes))


def _workers(me: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in me.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if "postgres" not in process.name() else []
    return found


@contextmanager
def warehouse() -> Iterator[tuple[Path, str, Till]]:
    """A new directory with an embedded server in it, the server's URL, and who counts."""
    with tempfile.TemporaryDirectory(prefix="importers-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server, which may be another user, reads files there
        os.environ |= {"IMPORTERS_HOME": str(directory / "home")}
        os.environ.pop("POSTGRES_URL", None)
        url = start_postgres(directory / "home")
        yield directory, url, Till(directory / "home" / "postgres")


def least(rounds: list[Spent]) -> Spent:
    """The round that took the fewest seconds: noise only adds."""
    return min(rounds, key=lambda spent: spent.seconds)
