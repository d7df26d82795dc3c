"""An API that a tenant's file describes: what changed since a moment, by a token in the body, behind a bearer token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from importers.core.model import Reads
from tests.support.loopback import Asked, Reply

from .world import MORE, ROWS
from .world_api import ApiWorld

TOKEN = "kanarienvogel-5f2b"


class Rest(ApiWorld):
    """Asked with `updated_since`, which doesn't count its own second in; a page has two."""

    wrong: ClassVar[dict[str, Any]] = {"auth": "bare"}
    reads = Reads.POSITION
    policy: ClassVar[dict[str, Any]] = {
        "who": "pseudonymise",
        **dict.fromkeys(("id", "what", "ms", "updated_at"), "keep"),
    }
    secrets = (TOKEN,)

    def records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        long_ago = datetime(2020, 2, 29, 12, 0, 0, 250_000, UTC)
        return [row | {"updated_at": long_ago} for row in ROWS], [row | {"updated_at": long_ago} for row in MORE]

    def config(self) -> dict[str, Any]:
        columns = {
            "id": {"type": "integer", "personal": "none"},
            "who": {"at": "customer.email", "personal": "contact"},
            "what": {},
            "ms": {"at": "took.ms", "type": "integer", "personal": "none"},
            "updated_at": {"type": "timestamp", "personal": "none"},
        }
        stream = {
            "path": "plays",
            "records": "data.plays",
            "columns": columns,
            "key": ["id"],
            "paging": {"by": "token", "at": "data.next", "parameter": "cursor"},
            "incremental": {"column": "updated_at", "start": "updated_since", "settles": 0},
        }
        return {"auth": "bearer", "streams": {self.stream: stream}} | self.patience()

    def connection(self) -> dict[str, Any]:
        return {"host": f"{self.http.address}/v2", "password": TOKEN}

    def grow(self) -> None:
        for row in self.more:
            row["updated_at"] = datetime.now(UTC)
        super().grow()

    def answer(self, asked: Asked) -> Reply:
        if self.denied or asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply({"message": f"not {TOKEN}"}, 401)
        assert asked.path == "/v2/plays"
        since = datetime.fromisoformat(asked.query.get("updated_since", "1970-01-01T00:00:00Z"))
        found = [row for row in self.served if row["updated_at"] > since]
        at = int(asked.query.get("cursor", "0"))
        more = {"next": str(at + 2)} if at + 2 < len(found) else {}
        return Reply({"data": {"plays": [_json(row) for row in found[at : at + 2]], **more}})


def _json(row: dict[str, Any]) -> dict[str, Any]:
    took = {} if row["ms"] is None else {"took": {"ms": row["ms"], "at": "the server"}}
    customer = {"email": row["who"], "telephone": "+49 30 901820"}
    return {
        "id": row["id"],
        "customer": customer,
        "what": row["what"],
        "updated_at": row["updated_at"].isoformat(),
    } | took
