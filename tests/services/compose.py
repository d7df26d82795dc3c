"""docker-compose.yaml's parts of Airflow as processes: its commands, its environment, its health checks.

What only a container gives is put in by hand: a service's address becomes one on loopback, /opt/airflow a directory
with what the image's Dockerfile copies. So nothing here shows that the image builds, who owns a volume, or that
networks part.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.services.airflow import BIN, ROOT, Airflow

FILE = ROOT / "docker-compose.yaml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IN_IMAGE = "/opt/airflow"
HERE = {
    "api-server": ("--host", "127.0.0.1", "--port", "{port}"),
    "scheduler": ("--skip-serve-logs",),
    "triggerer": ("--skip-serve-logs",),
    "worker": ("--skip-serve-logs", "--celery-hostname", "{name}"),
}
"""What processes that share a machine need beside compose's own arguments."""
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<word>[^}]*))?\})")


def services(values: Mapping[str, str], file: Path = FILE) -> dict[str, dict[str, Any]]:
    """The file's services with `values` put in. Raises KeyError for one that has to be there and isn't."""
    found: dict[str, dict[str, Any]] = _interpolated(yaml.safe_load(file.read_text())["services"], values)
    return found


def secrets() -> dict[str, str]:
    """New ones, as whoever deploys makes them."""
    said = subprocess.run(["sh", ROOT / "deploy" / "secrets.sh"], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def _interpolated(node: Any, values: Mapping[str, str]) -> Any:
    match node:
        case dict():
            return {key: _interpolated(value, values) for key, value in node.items()}
        case list():
            return [_interpolated(value, values) for value in node]
        case str():
            return VARIABLE.sub(lambda found: _value(found, values), node)
    return node


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    value = values.get(found["name"], "")
    if not value and found["how"] == ":?":
        raise KeyError(f"{found['name']}: {found['word']}")
    return value or (found["word"] if found["how"] == ":-" else "")


class Composed(Airflow):
    """Airflow as docker-compose.yaml has it.

    `addresses` are what stands for `redis:6379` and its like; `values` what .env has.
    """

    def __init__(self, values: Mapping[str, str], addresses: Mapping[str, str], settings: Mapping[str, str]) -> None:
        self.services = services(values)
        names = ["api-server", "scheduler", "dag-processor", "triggerer", *self.workers]
        super().__init__("", "", settings=settings, processes={name: self._command(name) for name in names})
        self.addresses = {**addresses, "api-server:8080": f"127.0.0.1:{self.port}", IN_IMAGE: str(self.home)}
        self.tenants = self.home / "include" / "tenants"
        self.password = values["ADMIN_PASSWORD"]

    @property
    def workers(self) -> list[str]:
        return [f"worker-{number + 1}" for number in range(self.services["worker"]["deploy"]["replicas"])]

    def __exit__(self, *_: object) -> None:
        for name in [name for name in self.running if name.startswith("worker-")]:
            self.lose(name)  # asked to stop, a worker would end its tasks first
        super().__exit__()

    def prepare(self) -> None:
        for source, target in copied():
            (self.home / target).parent.mkdir(exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.home / target)
        for volume in ("auth", "importers", "logs"):
            (self.home / volume).mkdir()
        for tenant in self.tenants.iterdir():  # a mount hides what the image has there
            tenant.unlink()
        self.run("init", self.services["init"]["command"])

    def environment(self, process: str = "") -> dict[str, str]:
        """Nothing of ours but the path; the settings of this test over compose's."""
        name = process or "scheduler"
        said = self.services[_service(name)]["environment"]
        given = {key: self._here(value) for key, value in said.items() if value is not None}
        passed = {key for key, value in said.items() if value is None} | {"HOME", "LANG", "TZ"}
        ours = {key: os.environ[key] for key in passed & os.environ.keys()}
        place = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOSTNAME": name, "AIRFLOW_HOME": str(self.home)}
        return {**ours, **given, **self.settings, **place}

    def run(self, name: str, command: list[str]) -> str:
        """What a command prints that runs to its end, where the service runs. Raises RuntimeError if it fails."""
        argv = [self._here(word) for word in command]
        done = subprocess.run(
            argv, env=self.environment(name), cwd=self.home, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{shlex.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
            )
        return done.stdout + done.stderr

    def check_health(self, name: str) -> str:
        """Run the service's own health check. Raises RuntimeError if it isn't healthy."""
        how, *words = self.services[_service(name)]["healthcheck"]["test"]
        return self.run(name, ["sh", "-c", *words] if how == "CMD-SHELL" else words)

    def is_healthy(self, name: str) -> bool:
        try:
            self.check_health(name)
        except RuntimeError:
            return False
        return True

    def lose(self, name: str) -> None:
        """SIGKILL to a process and to whatever it has started, as when a machine is gone: none sees another die."""
        process = self.running.pop(name)
        tree = _frozen_tree(process.pid)
        for each in tree:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        process.wait(60)
        psutil.wait_procs(tree, 60)

    def descendants(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.running[name].pid).children(recursive=True)

    def begin(self, name: str) -> None:
        """Start a process again, or one more worker."""
        self.start(name, *(argument.format(port=self.port) for argument in self._command(name)))

    def _command(self, name: str) -> tuple[str, ...]:
        airflow, *arguments = self.services[_service(name)]["command"]
        if airflow != "airflow":
            raise ValueError(f"{name} isn't a part of Airflow: {airflow}")
        here = HERE.get(_service(name), ())
        return (*arguments, *(word.format(name=name, port="{port}") for word in here))

    def _here(self, text: Any) -> str:
        text = str(text)
        for there, here in self.addresses.items():
            text = text.replace(there, here)
        return text


def copied() -> Iterator[tuple[Path, str]]:
    """What the image's last stage copies from the project, and to where."""
    for line in DOCKERFILE.read_text().rpartition("\nFROM ")[2].splitlines():
        match line.split():
            case ["COPY", *sources, target] if not sources[0].startswith("--"):
                for source in sources:
                    yield ROOT / source, f"{target}{Path(source).name}" if target.endswith("/") else target


def _service(name: str) -> str:
    return "worker" if name.startswith("worker-") else name


def _frozen_tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants, stopped: so that none starts another while we look."""
    root = psutil.Process(pid)
    stopped: dict[int, psutil.Process] = {}
    while fresh := [each for each in (root, *root.children(recursive=True)) if each.pid not in stopped]:
        for each in fresh:
            with suppress(psutil.NoSuchProcess):
                each.suspend()
            stopped[each.pid] = each
    return list(stopped.values())
