"""Airflow's processes as children of this one: started together, watched, and ended with everything they started."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SERVER = "api-server"
OPTIONS = {
    # Logs are files here, which the API server reads itself; the servers for them would listen on every interface.
    "scheduler": ["--skip-serve-logs"],
    "triggerer": ["--skip-serve-logs"],
}
PATIENCE = 15.0
"""Seconds that a process gets to end by itself."""


class AirflowError(RuntimeError):
    """A process of Airflow ended, or isn't ready in time; says where its log is."""


class AirflowProcesses:
    """`airflow api-server`, and its siblings once they are started, in `environment`; each has a log in `logs`.

    Each is the leader of its own session, so that Ctrl-C reaches us alone and they are ended in order. The descriptors
    `pass_fds` stay open in each of them.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        logs: Path,
        port: int,
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._environment = {**environment, **_addresses(port), **_secrets()}
        self._logs, self._pass_fds = logs, tuple(pass_fds)
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self.start(SERVER, "--host", "127.0.0.1", "--port", str(self._port))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start(self, command: str, *arguments: str) -> None:
        """Start one more."""
        with (self._logs / f"{command}.log").open("wb") as log:
            self._running[command] = subprocess.Popen(
                [sys.executable, "-m", "airflow", command, *arguments, *OPTIONS.get(command, [])],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._pass_fds,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = [member for process in self._running.values() for member in _family(process.pid)]
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        _, stubborn = psutil.wait_procs(family, timeout=PATIENCE)
        for member in stubborn:  # a task that is running too: its run is fenced, and goes on at the next start
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(stubborn, timeout=PATIENCE)
        for process in self._running.values():
            process.wait()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def check(self) -> None:
        """Raises AirflowError if a process has ended."""
        for command, process in self._running.items():
            if process.poll() is not None:
                log = self._logs / f"{command}.log"
                raise AirflowError(f"airflow {command} ended with {process.returncode}; its log: {log}")

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Raises AirflowError after `seconds`, or as soon as a process has ended."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise AirflowError(f"Airflow isn't ready after {seconds:.0f} s; its logs are in {self._logs}")
            time.sleep(0.2)


def free_port(preferred: int = 0) -> int:
    """The preferred port of this machine if nobody has it, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _addresses(port: int) -> dict[str, str]:
    return {
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}/",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _secrets() -> dict[str, str]:
    """The same for all of them; new at each start, since nothing that they sign outlives it."""
    return {
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(24),
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
