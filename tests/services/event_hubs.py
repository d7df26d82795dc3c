"""What stands for Azure Event Hubs over AMQP: amqp_broker.py, on free ports of loopback.

Microsoft's emulator isn't in a package registry. `proton.txt` is `uv pip compile --universal --generate-hashes
--no-emit-index-url --no-header --no-annotate` of `python-qpid-proton`, which a C compiler builds; no other part of the
project needs one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import trustme
from azure.eventhub import EventData, EventHubProducerClient, EventHubSharedKeyCredential, TransportType
from azure.eventhub.amqp import AmqpAnnotatedMessage

from tests.services.kafka import fetched
from tests.services.ports import free_ports
from tests.services.s3 import REPOSITORY, wait_for

LOCK, PROGRAM = (Path(__file__).with_name(name) for name in ("proton.txt", "amqp_broker.py"))
KEY = "c2VjcmV0LWthbmFyaWVudm9nZWw="


@dataclass
class EventHubs:
    """A namespace. What is in it outlives its process."""

    home: Path
    ports: Sequence[int]
    _process: subprocess.Popen[bytes] | None = None

    @property
    def authority(self) -> str:
        return str(self.home / "authority.pem")

    @property
    def connection(self) -> dict[str, Any]:
        """As Airflow has it."""
        text = f"Endpoint=sb://localhost/;SharedAccessKeyName=reader;SharedAccessKey={KEY}"
        return {"sasl.password": text, "port": self.ports[0], "ssl.ca.location": self.authority}

    def hub(self, partitions: int = 1) -> str:
        """A new one."""
        name = f"plays-{uuid4().hex}"
        (self.home / name).mkdir()
        (self.home / name / "made").write_text(str(time.time_ns() // 1_000_000))
        (self.home / name / "partitions").write_text(str(partitions))
        return name

    def drop(self, hub: str) -> None:
        shutil.rmtree(self.home / hub)

    def forbid(self, hub: str) -> None:
        (self.home / hub / "forbidden").touch()

    def allow(self, hub: str) -> None:
        (self.home / hub / "forbidden").unlink(missing_ok=True)

    def forget(self, hub: str, partition: int, before: int) -> None:
        """As when events are older than the hub keeps them."""
        (self.home / hub / f"{partition}.begin").write_text(str(before))

    def send(self, hub: str, *events: tuple[EventData | AmqpAnnotatedMessage, Mapping[str, str]]) -> None:
        """By Microsoft's client, each with where it goes: `partition_id` or `partition_key`."""
        with sending(hub, self.ports[0], self.authority) as client:
            for event, where in events:
                client.send_event(event, **where)

    def repeat(self, hub: str, times: int) -> str:
        """A new hub of one partition, with what partition 0 of another has, so many times over."""
        other = self.hub()
        (self.home / other / "0.log").write_bytes((self.home / hub / "0.log").read_bytes() * times)
        return other

    def start(self) -> None:
        """Or go on, if it is stopped or stands still."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            return
        command = [_python(), PROGRAM, self.home, *map(str, self.ports), KEY]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for port in self.ports:
            wait_for(self._process, port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)

    def pause(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)


def sending(hub: str, port: int, authority: str) -> EventHubProducerClient:
    return EventHubProducerClient(
        "localhost",
        hub,
        EventHubSharedKeyCredential("writer", KEY),
        transport_type=TransportType.Amqp,
        custom_endpoint_address=f"sb://localhost:{port}",
        connection_verify=authority,
    )


@contextmanager
def event_hubs() -> Iterator[EventHubs]:
    with tempfile.TemporaryDirectory(prefix="importers-test-event-hubs-") as directory:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{directory}/authority.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(f"{directory}/server.pem")
        _python()
        server, started = EventHubs(Path(directory), free_ports(2)), time.monotonic()
        server.start()
        print(f"the AMQP broker took {time.monotonic() - started:.1f} s to start")
        try:
            yield server
        finally:
            server.start()  # who stands still doesn't end
            server.stop()


def _python() -> Path:
    """An interpreter that has Proton, which is compiled once for each content of the lock, outside the checkout."""

    def build(directory: Path) -> None:
        if not (shutil.which("cc") or shutil.which("gcc")):
            raise RuntimeError("there is no C compiler to build Proton: apt-get install gcc python3-dev")
        uv = str(REPOSITORY / ".tools" / "bin" / "uv")
        uv = uv if Path(uv).exists() else str(shutil.which("uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, directory], check=True)
        where = ["--python", directory / "bin" / "python"]
        install = [uv, "pip", "install", "-q", *where, "--require-hashes", "-r", LOCK]
        subprocess.run(install, check=True, env=os.environ | {"CFLAGS": "-O0"})  # else it compiles thrice as long

    return fetched(f"proton-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}", build) / "bin" / "python"
