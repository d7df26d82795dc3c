"""Worker processes that are killed, at work and between two steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from importers.exceptions import TransientSourceError
from importers.pipeline import run

# Of a job only what the workers' master needs; of standard types, since a worker can't import this module.
JOB: Any = SimpleNamespace(where={"tenant": "acme"}, destination=SimpleNamespace(note=print), close=dict)
RUN: Any = SimpleNamespace(id=7)
CLOCK: Any = SimpleNamespace(tell=lambda *_: None, add=lambda *_: None)


def steps() -> tuple[run.Step, run.Step]:
    """One that works, one that dies. Made here, so that they travel to the worker as they are."""

    def work(_job: object, _run: object, _partition: int) -> int:
        time.sleep(0.05)
        return os.getpid()

    def die(_job: object, _run: object, _partition: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return work, die


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(TransientSourceError, match=r"a worker process was killed.*Run again") as caught:
        yield
    assert caught.value.where == {"tenant": "acme", "run": 7}


def test_killed_at_work() -> None:
    _, die = steps()
    with run._workers(2) as each, refused():
        each(die, JOB, RUN, range(3), "stage", CLOCK)


def test_killed_between_two_steps() -> None:
    work, _ = steps()
    pids: list[int] = []
    clock: Any = SimpleNamespace(tell=lambda _step, _done, _all, rows=0: rows and pids.append(rows), add=CLOCK.add)
    with run._workers(2) as each:
        each(work, JOB, RUN, range(4), "stage", clock)
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(0.5)  # the executor notices by itself; nothing can be asked for that
        with refused():
            each(work, JOB, RUN, range(4), "load", CLOCK)
