"""A real S3 server for tests: the one that IMPORTERS_TEST_VERSITYGW names, else versitygw on a free port of loopback.

It checks signatures, conditions and ranges, which moto doesn't all do. It knows no lifecycle, and ignores a header that
asks for encryption.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from tests.services.ports import free_port
from tests.services.s3 import wait_for

VERSION = "v1.8.0"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
KEY, SECRET = "importers-test", "not-much-of-a-secret"


class S3Server:
    """Where it is, and a client of the vendor's that looks at it by its own means."""

    def __init__(self, address: str) -> None:
        self.connection = {"login": KEY, "password": SECRET, "region_name": "us-east-1", "endpoint_url": address}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def bucket(self) -> str:
        """A new one."""
        name = f"test-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=bucket).get("Contents", ())]

    def remove(self, bucket: str) -> None:
        """The bucket with all that is in it, if it is there."""
        with suppress(self.client.exceptions.NoSuchBucket):
            for key in self.keys(bucket):
                self.client.delete_object(Bucket=bucket, Key=key)
            self.client.delete_bucket(Bucket=bucket)


@contextmanager
def versitygw() -> Iterator[S3Server]:
    given = os.environ.get("IMPORTERS_TEST_VERSITYGW")
    if given:
        yield S3Server(given)
        return
    port = free_port()
    command = [built(), "--port", f"127.0.0.1:{port}", "--access", KEY, "--secret", SECRET, "--quiet", "posix"]
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="importers-test-s3-") as root,
        subprocess.Popen([*command, root], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        try:
            wait_for(server, port)
            print(f"versitygw took {time.monotonic() - started:.1f} s to start")
            yield S3Server(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(60)


def built() -> Path:
    """Compiled once, outside the checkout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "importers-test"
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / f"versitygw-{VERSION}"
    with (cache / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "versitygw").exists():
            go = shutil.which("go")
            if go is None:
                raise RuntimeError("Go compiles versitygw: install Go, or set IMPORTERS_TEST_VERSITYGW")
            environment = os.environ | {"GOBIN": str(directory), "GOFLAGS": "-modcacherw"}
            subprocess.run([go, "install", f"{PACKAGE}@{VERSION}"], check=True, env=environment)
    return directory / "versitygw"


if __name__ == "__main__" and not os.environ.get("IMPORTERS_TEST_VERSITYGW"):
    built()
