"""A schema registry for tests: the one that IMPORTERS_TEST_REGISTRY names, else Apicurio from Maven, in memory.

It serves Confluent's REST API below /apis/ccompat/v7. `apt-get install maven` brings Maven and Java.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.kafka import fetched
from tests.services.ports import free_port

VERSION = "2.6.13.Final"  # the last that runs on Java 17
NAME = f"apicurio-registry-app-{VERSION}"
READY = 180.0  # seconds; on a busy machine the virtual machine alone takes several
JSON = "application/vnd.schemaregistry.v1+json"


class Apicurio:
    """`address` is that of Confluent's API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def register(self, subject: str, schema: Any, references: Sequence[dict[str, Any]] = (), kind: str = "AVRO") -> int:
        """The id of the schema, which is a new version of the subject if it differs."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        said = {"schema": text, "schemaType": kind, "references": list(references)}
        request = urllib.request.Request(
            f"{self.address}/subjects/{subject}/versions", json.dumps(said).encode(), {"Content-Type": JSON}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(json.load(answer)["id"])


@contextmanager
def apicurio_server() -> Iterator[Apicurio]:
    """A running registry. Raises RuntimeError where Maven or Java is missing."""
    given = os.environ.get("IMPORTERS_TEST_REGISTRY")
    if given:
        yield Apicurio(given)
        return
    java = shutil.which("java")
    if java is None:
        raise RuntimeError("there is no java: apt-get install maven")
    home, started = fetched(NAME, _fetch), time.monotonic()
    port = free_port()
    settings = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"]
    settings += [f"-Dquarkus.http.port={port}"]
    with tempfile.TemporaryFile() as log:
        command = [java, *settings, "-jar", home / f"{NAME}-runner.jar"]
        process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{port}/apis/ccompat/v7"
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > started + READY:
                    log.seek(0)
                    raise RuntimeError(f"Apicurio didn't start: {log.read()[-4000:].decode(errors='replace')}")
                time.sleep(0.1)
            print(f"Apicurio took {time.monotonic() - started:.1f} s to start")
            yield Apicurio(address)
        finally:
            process.kill()
            process.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/subjects", timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _fetch(directory: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError("there is no mvn: apt-get install maven")
    artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
    goal = ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={directory}"]
    subprocess.run([maven, "-q", "-B", *goal], check=True, stdin=subprocess.DEVNULL, cwd=directory)
    packed = directory / f"{NAME}-all.tar.gz"
    with tarfile.open(packed) as archive:
        archive.extractall(directory, filter="data")
    packed.unlink()
