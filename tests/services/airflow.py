"""A whole deployment of Airflow on loopback: processes, ports, databases and a home of its own.

    with Airflow(metadata_url, warehouse_url) as airflow:
        airflow.describe("acme", "tenant: acme …")
        run = airflow.trigger("acme.orders")
        airflow.wait_for_run("acme.orders", run, {"success"})

To leave processes out or to add some, give `processes`; to add one later, `start`. A subclass may change `environment`.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from importers.pipeline.lint import lint
from tests.services.ports import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FOREIGN = ("AIRFLOW", "IMPORTERS_", "POSTGRES_URL", "ENCRYPTION_KEY", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""Settings of whoever runs the tests. Without bytecode each process would take many seconds longer to start."""
PROCESSES: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
NEED_SERVER = frozenset({"scheduler"})
"""Started later: a task that can't reach the API server fails, and is tried again."""
DONE = frozenset({"success", "failed"})
T = TypeVar("T")


class Airflow:
    """`metadata` and `warehouse` are URLs of two empty PostgreSQL databases.

    `settings` are environment variables over ours. `dags` is a directory of its own, which begins with the project's.
    """

    def __init__(
        self,
        metadata: str,
        warehouse: str,
        *,
        settings: Mapping[str, str] | None = None,
        processes: Mapping[str, tuple[str, ...]] = PROCESSES,
    ) -> None:
        self.metadata, self.warehouse = metadata, warehouse
        self.settings = dict(settings or {})
        self.processes = processes
        self.home = Path(tempfile.mkdtemp(prefix="importers-airflow-"))
        self.tenants, self.dags = self.home / "tenants", self.home / "dags"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.user, self.password = "admin", secrets.token_urlsafe(16)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()
        self._secrets = {
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        self._token = ""
        self._touched = 0.0

    def __enter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        self._stack.callback(self._end_all)
        with self._stack.pop_all() as stack:  # a failed start ends what it has started
            self.prepare()
            for name in sorted(self.processes, key=lambda name: name in NEED_SERVER):
                if name in NEED_SERVER:
                    self.wait_for_server()
                self.start(name, *(argument.format(port=self.port) for argument in self.processes[name]))
            self.wait_for_health()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """What has to be there before the processes start."""
        (self.home / "logs").mkdir()
        self.tenants.mkdir(exist_ok=True)
        shutil.copytree(ROOT / "dags", self.dags, ignore=shutil.ignore_patterns("__pycache__"))
        (self.home / "passwords.json").write_text(json.dumps({self.user: self.password}))
        self.cli("db", "migrate")

    def environment(self, process: str = "") -> dict[str, str]:
        """What a process sees; without a name, what the command line does."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {
            **ours,
            **self._secrets,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__EXECUTOR": "importers.executors.local.PreloadingLocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.metadata,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # else reading takes half of all the time
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
            "IMPORTERS_HOME": str(self.home / "importers"),
            "IMPORTERS_TENANTS": str(self.tenants),
            "POSTGRES_URL": self.warehouse,
            **self.settings,
        }

    # -- processes

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """`airflow ARGUMENTS` in a process group of its own, which ends with us; what it prints goes to its log."""
        with self._log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [BIN / "airflow", *arguments],
                cwd=ROOT,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        return self.running[name]

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM, seconds: float = 15) -> None:
        """End a process and its group; what doesn't end in time is killed."""
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name, *(argument.format(port=self.port) for argument in self.processes[name]))
        self.wait_for_health()

    def _end_all(self) -> None:
        for process in self.running.values():  # all at once: each takes seconds to end
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        for name in list(self.running):
            self.stop(name, seconds=max(0.1, deadline - time.monotonic()))
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """Processes with our home in their environment: tasks that have left their worker's group."""
        ours = f"AIRFLOW_HOME={self.home}\0".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if ours in environment.read_bytes() + b"\0":
                    found.append(int(environment.parent.name))
        return found

    # -- what a person does

    def cli(self, *arguments: str, seconds: float = 300, check: bool = True) -> str:
        """What `airflow ARGUMENTS` prints to either stream."""
        done = subprocess.run(
            [BIN / "airflow", *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said = done.stdout + done.stderr
        if check and done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{said[-4000:]}")
        return said

    def api(self, method: str, path: str, body: Any = None, *, check: bool = True, **query: Any) -> Any:
        """The JSON that `path`, such as `/dags`, of the public API answers; None where it answers nothing."""
        url = f"{self.url}/api/v2{path}"
        answer = httpx.request(method, url, json=body, params=query or None, headers=self.bearer(), timeout=60)
        if check and answer.is_error:
            raise RuntimeError(f"{method} {path} was answered {answer.status_code}: {answer.text[:2000]}")
        return answer.json() if answer.content else None

    def bearer(self) -> dict[str, str]:
        """The headers by which the API server knows the user."""
        if not self._token:
            login = {"username": self.user, "password": self.password}
            self._token = httpx.post(f"{self.url}/auth/token", json=login, timeout=60).json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}

    def describe(self, tenant: str, text: str, *dags: str) -> None:
        """Write a tenant's file, and wait until its `dags` are there; then switch them on."""
        path = self.tenants / f"{tenant}.yaml"
        path.write_text(text)
        for finding in lint(path):
            raise finding
        for dag_id in dags:
            self.wait_for_dag(dag_id)
            self.unpause(dag_id)

    def unpause(self, dag_id: str, *, paused: bool = False) -> None:
        self.api("PATCH", f"/dags/{dag_id}", {"is_paused": paused})

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Start a run by hand, without dates unless `logical_date` is given; returns its id."""
        made = self.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, **body})
        return str(made["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances, as the API tells them."""
        found = self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)
        return list(found["task_instances"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The DAG's runs, in the order of their making, as the API tells them."""
        return list(self.api("GET", f"/dags/{dag_id}/dagRuns", limit=1000, order_by="id")["dag_runs"])

    # -- waiting

    def until(self, what: str, probe: Callable[[], T | None], seconds: float) -> T:
        """The probe's answer as soon as it isn't empty. Raises TimeoutError with the processes' logs."""
        deadline = time.monotonic() + seconds
        while True:
            self._check_alive()
            found = None
            with suppress(httpx.TimeoutException):  # on a busy machine an answer may take a minute
                found = probe()
            if found:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:.0f} s: {what}\n{self.said()}")
            time.sleep(0.25)

    def wait_for_server(self, seconds: float = 300) -> None:
        def answers() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/api/v2/version", timeout=60).is_success
            return False

        if "api-server" in self.running:
            self.until("the API server doesn't answer", answers, seconds)

    def wait_for_health(self, seconds: float = 300) -> None:
        wanted = {HEALTH[name] for name in self.running if name in HEALTH} | {"metadatabase"}

        def healthy() -> bool:
            with suppress(httpx.TransportError, KeyError):
                told = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=60).json()
                return all(told[name]["status"] == "healthy" for name in wanted)
            return False

        if "api-server" in self.running:
            self.until(f"{', '.join(sorted(wanted))} aren't healthy", healthy, seconds)

    def wait_for_dag(self, dag_id: str, seconds: float = 240) -> dict[str, Any]:
        """The DAG as the API tells it, once it is serialised."""

        def there() -> dict[str, Any] | None:
            self.read_again()
            found: dict[str, Any] = self.api("GET", f"/dags/{dag_id}", check=False)
            return found if found.get("is_stale") is False else None

        self._touched = 0.0
        return self.until(f"there is no DAG {dag_id}", there, seconds)

    def read_again(self) -> None:
        """To be called while one waits for the DAG processor, which else would look at the tenants' files once an hour.

        Every ten seconds: a change while it reads a file escapes it.
        """
        if time.monotonic() - self._touched > 10:
            self._touched = time.monotonic()
            for file in self.dags.glob("*.py"):
                file.touch()

    def wait_for_run(
        self, dag_id: str, run_id: str, states: Collection[str] = DONE, seconds: float = 600
    ) -> dict[str, Any]:
        """The run as the API tells it, once it is in one of the states; one that has ended otherwise is an error."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            last.update(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))
            return last["state"] in states or last["state"] in DONE

        self.until(f"the run {run_id} of {dag_id} isn't in {sorted(states)}: {last}", reached, seconds)
        if last["state"] not in states:
            raise AssertionError(f"{run_id} of {dag_id} ended as {last['state']}\n{self.task_logs(dag_id, run_id)}")
        return last

    # -- what a failure looks like

    def said(self, characters: int = 3000) -> str:
        """The ends of the processes' logs."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {log.stem}\n{log.read_text(errors='replace')[-characters:]}" for log in logs)

    def task_logs(self, dag_id: str, run_id: str, characters: int = 3000) -> str:
        """The ends of the logs of the run's tasks."""
        logs = sorted((self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}").rglob("*.log"))
        return "\n".join(f"== {log}\n{log.read_text(errors='replace')[-characters:]}" for log in logs)

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _check_alive(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended with {process.returncode}\n{self.said()}")


def _end_with_parent() -> None:
    """So that a test process that is killed leaves no Airflow behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, see prctl(2)
