"""A bucket on a real server."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.services.versitygw import SECRET

from .world import MORE, ROWS, World


class S3(World):
    """Objects that are CSV, on a real server."""

    service = "s3"
    wrong: ClassVar[dict[str, Any]] = {"format": "klingon"}
    secrets = (SECRET,)

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.bucket = server.bucket()
        self.put("a.csv", ROWS[:2])
        self.put("b.csv", ROWS[2:])

    def put(self, name: str, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(rows)
        self.server.put(self.bucket, f"plays/{name}", text.getvalue().encode())

    def config(self) -> dict[str, Any]:
        return {"bucket": self.bucket, "prefix": "plays/", "pattern": "*.csv", "settings": {"stream": self.stream}}

    def connection(self) -> Mapping[str, Any]:
        connection: Mapping[str, Any] = self.server.connection
        return connection

    def grow(self) -> None:
        self.put("c.csv", MORE)

    def vanish(self) -> None:
        self.server.remove(self.bucket)

    def close(self) -> None:
        self.server.remove(self.bucket)
