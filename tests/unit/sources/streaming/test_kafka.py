"""Where a read of a topic begins, by what its partitions hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pytest

from importers.core.model import Window
from importers.sources.streaming.kafka import Kafka, KafkaConfig
from importers.transport.broker import Extent


@dataclass
class Holds:
    """Says what a cluster would; `late` are the offsets that any time is answered with."""

    held: Mapping[int, Extent]
    late: Mapping[int, int]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def partitions(self, topic: str) -> list[int]:
        return list(self.held)

    def extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        return dict(self.held)

    def since(self, topic: str, partitions: Sequence[int], moment: int) -> dict[int, int]:
        return dict(self.late)


def source(monkeypatch: pytest.MonkeyPatch, held: Mapping[int, Extent], late: int = 0, **config: Any) -> Kafka:
    made = Kafka(KafkaConfig(topic="t", format="text", **config), tenant="acme")  # type: ignore[arg-type]
    monkeypatch.setattr(made, "_cluster", lambda: Holds(held, dict.fromkeys(held, late)))
    return made


def ranges(at: Kafka, position: Mapping[str, Any]) -> list[list[int]]:
    (stream,) = at.streams()
    return [each for part in at.plan(stream, Window(), position).partitions for each in part["ranges"]]  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("config", "late", "start"),
    [
        ({"auto_offset_reset": "latest"}, 0, 3),  # the beginning
        ({"start_time": "2026-01-01T00:00:00Z"}, 5, 5),  # what a first run would read
        ({"start_time": "2026-01-01T00:00:00Z"}, 9, 7),  # but nothing that is unread is left out
        ({"start_offsets": {0: 4}, "auto_offset_reset": "latest"}, 0, 4),
        ({"start_offsets": {0: 1}}, 0, 3),  # retention took it
        ({"start_offsets": {0: 8}}, 0, 7),
    ],
)
def test_a_full_refresh_leaves_out_nothing_that_is_unread(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], late: int, start: int
) -> None:
    at = source(monkeypatch, {0: Extent(3, 10)}, late, **config)
    assert ranges(at, at.refreshed({"t/0": 7})) == [[0, start, 10]]


def test_a_full_refresh_reads_a_partition_that_is_newer_than_the_position_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {0: Extent(0, 10), 1: Extent(0, 10)}
    at = source(monkeypatch, held, 9, start_time="2026-01-01T00:00:00Z", max_partitions=1)
    assert ranges(at, at.refreshed({"t/0": 7})) == [[0, 7, 10], [1, 0, 10]]
    assert ranges(at, at.refreshed({})) == [[0, 9, 10], [1, 9, 10]]  # a first run's


def test_a_full_refresh_of_a_topic_that_was_made_anew_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    at = source(monkeypatch, {0: Extent(0, 3)})
    assert ranges(at, at.refreshed({"t/0": 7})) == [[0, 0, 3]]
