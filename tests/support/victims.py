"""Processes to be killed. Python's imports cost seconds, so each is the fork of one that has made them already.

As a script this is that process. It reads requests, one JSON object a line, and answers each: `start` forks a child
that imports a `Site` or is `importers` itself, and `wait` says how it ended. It never starts a thread, so that a fork
of it is safe.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from unittest import mock

HUNG = 300.0  # seconds


@dataclass(frozen=True)
class Death:
    """How a victim ended: by a signal, by an error, or well."""

    signal: int = 0
    error: str = ""
    message: str = ""
    rows_loaded: int = -1


class Victims:
    """A helper process and the children that it forks."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._asked = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **(environment or {})},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # at the end of its input it ends, and its children with it

    def start(self, site: Any, key: str, **request: Any) -> int:
        """The child's process (and group) id.

        `at` names a point, `do` what to do there: die, or stop. `processes` share its partitions, no file that it
        writes grows beyond `file_size` bytes, and the file `progress` gets a line for each sign of progress. `replay`
        makes it a replay of quarantine.
        """
        return int(self._ask(do="start", site=_encoded(site), key=key, request=request)["pid"])

    def command(self, *words: str, at: str) -> Death:
        """`importers WORDS…` in the caller's directory and environment, killed at a point; rows are swept by pages."""
        asked = self._ask(do="start", words=words, at=at, directory=str(Path.cwd()), environment=dict(os.environ))
        return self.wait(int(asked["pid"]))

    def wait(self, pid: int, seconds: float = HUNG) -> Death:
        return Death(**self._ask(do="wait", pid=pid, seconds=seconds))

    def run(self, site: Any, key: str, **request: Any) -> Death:
        return self.wait(self.start(site, key, **request))

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._asked += 1
        self._process.stdin.write(json.dumps({"number": self._asked, **request}) + "\n")
        self._process.stdin.flush()
        while True:
            number, answer = json.loads(self._process.stdout.readline())
            if number == self._asked:  # a test that timed out has left its answer
                return dict(answer)


def stopped(pid: int, seconds: float = 180.0) -> None:
    """Wait until the process has stopped itself."""
    deadline = time.monotonic() + seconds
    while _state(pid) != "T":
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} is {_state(pid)}, not stopped")
        time.sleep(0.01)


def is_over(pid: int) -> bool:
    """Whether it has ended; nobody needs to have waited for it."""
    return _state(pid) in ("Z", "gone")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def _encoded(site: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(site).items()}


# -- the helper process


def _serve() -> None:
    import crash_points  # noqa: F401 - what the children need, imported once
    import import_site  # noqa: F401
    import pyarrow as pa

    import importers.cli.main
    import importers.quality.vocabulary  # noqa: F401

    pa.array([0])  # a process's first imports pandas

    children: set[int] = set()
    mock.patch.object(os, "fsync", return_value=None).start()  # no test is a machine's end
    gc.collect()
    gc.freeze()  # else each child's first collection copies the pages of all that is imported
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if not pid:
                _live(request)
            children.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        else:
            answer = _wait(request["pid"], request["seconds"])
            children.discard(request["pid"])
        print(json.dumps([request["number"], answer]), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _live(request: dict[str, Any]) -> None:
    """The child's whole life. It leads a group of its own, so that it can be killed with its workers."""
    os.setsid()
    sys.stdin.close()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if "words" in request:
        _command(request)
    asked = request["request"]
    if "file_size" in asked:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_size"], asked["file_size"]))
    outcome = _import(request["site"], request["key"], asked)
    _outcome(os.getpid()).write_text(json.dumps(outcome))
    os._exit(0)


def _command(request: dict[str, Any]) -> NoReturn:
    import crash_points

    from importers.cli.main import main
    from importers.destinations import _expiring

    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    with mock.patch.object(_expiring, "STRETCH", 1), crash_points.ALL[request["at"]].armed(crash_points.die):
        main(request["words"])
    os._exit(0)


def _import(values: dict[str, Any], key: str, asked: dict[str, Any]) -> dict[str, Any]:
    import crash_points
    import import_site

    from importers.core.model import LoadMode
    from importers.exceptions import ImporterError

    paths = {name: Path(values[name]) for name in ("root", "data")}
    cls: Any = import_site.Site
    if "topic" in values:
        from kafka_site import KafkaSite as cls
    if "reached" in values:
        from event_hub_site import EventHubSite as cls
    if "streamed" in values:
        from stream_site import StreamSite as cls
    if "source" in values:
        from cdc_site import CdcSite as cls
    site = cls(**values | paths | {"mode": LoadMode(values["mode"])})
    do = getattr(crash_points, asked.get("do", "die"))
    armed = crash_points.ALL[asked["at"]].armed(do) if "at" in asked else nullcontext()
    told = Path(asked.get("progress", os.devnull))
    with import_site.cut_small(), armed, told.open("a", buffering=1) as progress:
        try:
            processes = asked.get("processes", 1)
            result = (
                site.replay(key, processes=processes)
                if asked.get("replay")
                else site.run(key, processes=processes, watch=lambda p: print(p.step, p.done, file=progress))
            )
        except ImporterError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except BaseException as error:
            return {"error": type(error).__name__, "message": f"not one of ours: {error}"}
    return {"rows_loaded": result.rows_loaded}


def _outcome(pid: int) -> Path:
    return Path(os.environ["VICTIMS"]) / str(pid)


def _wait(pid: int, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"error": "TimeoutError", "message": "the victim hung"}
        time.sleep(0.005)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    path = _outcome(pid)
    outcome: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return outcome


if __name__ == "__main__":
    _serve()
