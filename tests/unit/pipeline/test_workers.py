"""Worker processes that are killed, at work and between two steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from importers.exceptions import TransientSourceError
from importers.pipeline import run

# Of a job only what the workers' master needs; of standard types, since a worker can't import this module.
JOB: Any = SimpleNamespace(where={"tenant": "acme"}, destination=SimpleNamespace(note=print), close=dict)
RUN: Any = SimpleNamespace(id=7)
CLOCK: Any = SimpleNamespace(tell=lambda *_: None)


def steps(begun: Path) -> tuple[run.Step, run.Step]:
    """One that works, one that dies in a worker. Made here, so that they travel to the worker as they are.

    Here work waits until a worker has `begun`, however long it takes to start one.
    """
    here = os.getpid()

    def work(_job: object, _run: object, _partition: int) -> int:
        if os.getpid() != here:
            begun.touch()
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.01)
        return os.getpid()

    def die(_job: object, _run: object, _partition: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)  # meanwhile a worker has begun another
        return 0

    return work, die


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(TransientSourceError, match=r"a worker process was killed.*Run again") as caught:
        yield
    assert caught.value.where == {"tenant": "acme", "run": 7}


def test_killed_at_work(tmp_path: Path) -> None:
    _, die = steps(tmp_path / "begun")
    with run._workers(2) as each, refused():
        each(die, JOB, RUN, range(200), "stage", CLOCK)


def test_killed_between_two_steps(tmp_path: Path) -> None:
    work, _ = steps(tmp_path / "begun")
    pids: list[int] = []
    clock: Any = SimpleNamespace(tell=lambda _step, _done, _all, rows=0: rows and pids.append(rows))
    with run._workers(2) as each:
        each(work, JOB, RUN, range(20), "stage", clock)
        os.kill(next(pid for pid in pids if pid != os.getpid()), signal.SIGKILL)
        time.sleep(0.5)  # the executor notices by itself; nothing can be asked for that
        with refused():
            each(work, JOB, RUN, range(6000), "load", CLOCK)


def test_this_process_works_too_and_every_partition_is_worked_on_once(tmp_path: Path) -> None:
    work, _ = steps(tmp_path / "begun")
    noted: list[tuple[int, int]] = []
    job = SimpleNamespace(**vars(JOB) | {"destination": SimpleNamespace(note=lambda *said: noted.append(said[-2:]))})
    with run._workers(2) as each:
        each(work, job, RUN, range(20), "stage", CLOCK)
    assert sorted(partition for _, partition in noted) == list(range(20))
    assert len({pid for pid, _ in noted}) == 2
    assert os.getpid() in {pid for pid, _ in noted}


def test_an_error_here_ends_what_the_workers_do() -> None:
    here = os.getpid()

    def fail(_job: object, _run: object, _partition: int) -> int:
        if os.getpid() == here:
            raise ValueError("not now")
        time.sleep(3600)  # whoever waited for it would end as a test that hangs
        return 0

    with run._workers(2) as each, pytest.raises(ValueError, match="not now"):
        each(fail, JOB, RUN, range(100), "stage", CLOCK)


MASTER = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from importers.pipeline import run

here = os.getpid()

def stay(_job, _run, _partition):
    if os.getpid() != here:
        Path(sys.argv[1]).touch()
    time.sleep(3600)

with run._workers(2) as each:
    job = SimpleNamespace(where={}, destination=None, close=dict)
    each(stay, job, SimpleNamespace(id=7), range(2), "stage", SimpleNamespace(tell=lambda *_: None))
"""


def test_nothing_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with subprocess.Popen([sys.executable, "-c", MASTER.replace("sys.argv[1]", repr(str(begun)))]) as master:
        children: list[psutil.Process] = []
        try:
            while not begun.exists():  # however long it takes to start a worker
                assert master.poll() is None
                time.sleep(0.05)
            children = psutil.Process(master.pid).children(recursive=True)
            master.kill()
            _, alive = psutil.wait_procs(children, timeout=60)
            assert len(children) >= 2  # a worker, and whoever tracks its resources
            assert not alive
        finally:
            master.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
