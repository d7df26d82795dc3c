"""The small import of `kafka_site`, followed: micro-batches of three rows, and what must be true then."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg
from import_site import FIRST, PIPELINE, RULES, SECOND, Inspector, Row, must
from kafka_site import KafkaSite, position_is

from importers.core.model import LoadMode, Window
from importers.core.tenant import Tenant
from importers.pipeline import stream as streaming
from importers.pipeline.run import Progress
from importers.pipeline.stream import Beat, stream


def kept(rows: Sequence[Row]) -> list[Row]:
    """Of a stream a row that repeats a key is loaded: the one before it is there already."""
    return [row for row in rows if row[4] >= 0]


@dataclass(frozen=True)
class StreamSite(KafkaSite):
    streamed: bool = True
    few: int = streaming.FEW
    """Of 0 each batch is loaded while the next is read."""

    @property
    def definition(self) -> Tenant:
        said = super().definition.model_dump(exclude_unset=True, mode="json")
        said["pipelines"][PIPELINE] |= {
            "schedule": "@continuous",
            "expect": RULES[:1],
            "micro_batch": {"max_rows": 3, "linger_ms": 1},
        }
        return Tenant.model_validate(said)

    @property
    def after(self) -> list[Row]:
        rows = [*FIRST, *kept(SECOND)]
        return sorted({row[1]: row for row in rows}.values() if self.mode is LoadMode.MERGE else rows)

    def follow(self, watch: Callable[[Beat], None] = lambda _: None, **settings: Any) -> Beat:
        with closing(self.job) as job, patch.object(streaming, "FEW", self.few):
            return stream(job, watch=watch, **{"drain": True, **settings})

    def run(
        self,
        key: str,
        *,
        processes: int = 1,
        window: Window | None = None,
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> Any:
        """As a victim is asked to: drained, with a sign of progress for each transaction."""
        total = self.follow(lambda beat: watch(Progress("", "batch", beat.rows, 0)))
        return SimpleNamespace(rows_loaded=total.loaded)


def finished(
    site: StreamSite, sql: psycopg.Connection, expected: Sequence[Row] | None = None, produced: Sequence[int] = ()
) -> None:
    """Everything that must be true once all is in: each row is in the table or in quarantine, once."""
    look = Inspector(site, sql)
    look.table_is(site.after if expected is None else expected)
    position_is(look, produced or [len(FIRST), len(SECOND) + 1])
    look.sweep()
    for id_, key, state, has_key, _ in look.runs():
        must(state in ("committed", "failed") and not has_key, f"run {id_} is {state}", key)
    must(not look.staged_files(), "something is staged", look.staged_files())
    if expected is None:
        bad = sum(look.quarantined().values(), Counter[int | None]())
        must(bad == Counter({15: 1, None: 1}), "wrong quarantine", bad)


def environment(site: StreamSite) -> dict[str, str]:
    """Of a server for the site; its key is in the environment already."""
    return os.environ | {
        "POSTGRES_URL": site.warehouse,
        "IMPORTERS_HOME": str(site.root),
        "KAFKA_BROKERS": site.brokers,
    }
