"""Where a read of a topic begins, by what its partitions hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Message

from importers.core.model import LoadMode, Pace, Window
from importers.exceptions import ConfigError, ContractError, TransientSourceError
from importers.pipeline.lint import lint
from importers.sources.streaming import _kafka
from importers.sources.streaming.kafka import Kafka, KafkaConfig
from importers.transport.broker import Extent
from importers.transport.messages import Gathering, Messages, Part


@dataclass
class Holds:
    """Says what a cluster would; `late` are the offsets that any time is answered with."""

    held: Mapping[int, Extent]
    late: Mapping[int, int]
    made: str = "first"
    values: Sequence[bytes] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def identity(self, topic: str) -> str:
        return self.made

    def follow(
        self, topic: str, ranges: Any, pace: Pace, asked: Collection[Part]
    ) -> Iterator[tuple[Messages, dict[int, int], int]]:
        while True:
            yield next(self.messages(topic, 0, 0, 1, 1, asked)), {0: 1}, 0

    def messages(
        self, topic: str, partition: int, start: int, end: int, size: int, asked: Collection[Part]
    ) -> Iterator[Messages]:
        held = Gathering(asked)
        held.add([Message(topic, partition, at, value=self.values[at]) for at in range(start, end)], partition)
        yield held.gathered()

    def partitions(self, topic: str) -> list[int]:
        return list(self.held)

    def extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        return dict(self.held)

    def since(self, topic: str, partitions: Sequence[int], moment: int) -> dict[int, int]:
        return dict(self.late)


def source(
    monkeypatch: pytest.MonkeyPatch, held: Mapping[int, Extent], late: int = 0, made: str = "first", **config: Any
) -> Kafka:
    at = Kafka(KafkaConfig(topic="t", format="text", **config), tenant="acme")  # type: ignore[arg-type]
    monkeypatch.setattr(at, "_cluster", lambda: Holds(held, dict.fromkeys(held, late), made))
    return at


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
    grown = source(monkeypatch, {0: Extent(0, 30)}, 5, made="second", start_time="2026-01-01T00:00:00Z")
    assert ranges(grown, grown.refreshed({"t/0": 3, "t": "first"})) == [
        [0, 5, 30]
    ]  # as a first run: 3 is no place in it


def test_a_topic_that_was_made_anew_is_told_even_if_it_holds_more_than_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {0: Extent(0, 10)}
    (stream,) = source(monkeypatch, held).streams()
    plan = source(monkeypatch, held).plan(stream, Window(), {"t/0": 7})
    assert plan.position == {"t": "first", "t/0": 10}
    with pytest.raises(ContractError, match="the id second after first"):
        ranges(source(monkeypatch, held, made="second"), {"t/0": 7, "t": "first"})
    without = source(monkeypatch, held, made="")  # brokers that give no ids
    assert ranges(without, {"t/0": 7, "t": "first"}) == [[0, 7, 10]]
    assert without.plan(stream, Window(), {}).position == {"t/0": 10}


def test_a_key_that_comes_after_the_columns_were_told_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between `streams` and `plan`: the policy has seen the columns, and not this one."""
    at = Kafka(KafkaConfig(topic="t", metadata=[]), tenant="acme")
    values = [b'{"id": 1, "what": "x"}', b'{"id": 2, "mail": "y"}']
    holds = Holds({0: Extent(0, 1)}, {}, values=values)
    monkeypatch.setattr(at, "_cluster", lambda: holds)
    (stream,) = at.streams()
    asked = stream.narrowed(["id"])
    (part,) = at.plan(asked, Window(), {}).partitions
    assert [batch.rows.to_pylist() for batch in at.read(asked, part)] == [[{"id": 1}]]
    holds.held = {0: Extent(0, 2)}
    (part,) = at.plan(asked, Window(), {}).partitions
    with pytest.raises(ContractError, match=r"nobody has classified it; got mail;.* `columns` .* `privacy\.columns`"):
        list(at.read(asked, part))


@pytest.mark.parametrize("worth", [1, 7, 30, 40, None])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("ends", [[90], [9, 90, 0, 33], [5] * 12])
def test_a_large_partition_is_read_in_parts_each_message_once_and_the_later_ones_later(
    monkeypatch: pytest.MonkeyPatch, ends: list[int], parts: int, worth: int | None
) -> None:
    monkeypatch.setattr(Kafka, "worth", worth)
    at = source(monkeypatch, {number: Extent(0, end) for number, end in enumerate(ends)}, max_partitions=parts)
    (stream,) = at.streams()
    planned = [part["ranges"] for part in at.plan(stream, Window(), {}).partitions]  # type: ignore[index,call-overload]
    read = [(number, offset) for part in planned for number, start, end in part for offset in range(start, end)]
    assert [each for number in range(len(ends)) for each in read if each[0] == number] == [
        (number, offset) for number, end in enumerate(ends) for offset in range(end)
    ]
    pieces = [end - start for part in planned for _, start, end in part]
    assert min(pieces) >= min(worth or 90, *filter(None, ends))
    wanted = sum(1 if worth is None else max(1, end // worth) for end in ends if end)
    assert 0 < len(planned) <= parts
    assert len(planned) == parts or len(planned) == wanted


def test_a_partition_of_which_a_part_is_worth_no_process_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    at = source(monkeypatch, {0: Extent(5, 4_000_004)})
    assert ranges(at, {}) == [[0, 5, 4_000_004]]
    assert ranges(source(monkeypatch, {0: Extent(5, 4_000_005)}), {}) == [[0, 5, 2_000_005], [0, 2_000_005, 4_000_005]]


def test_what_is_left_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    at = source(monkeypatch, {0: Extent(0, 10), 1: Extent(4, 9), 2: Extent(0, 5)})
    assert at.lag({"t/0": 7, "t/2": 5, "t": "first"}) == {"t/0": 3, "t/1": 5, "t/2": 0}


def test_a_topic_that_is_followed_is_watched_and_nobody_waits_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kafka, "LOOK", -1.0)
    answers: list[Any] = []

    def ask(_: Any, __: str) -> Callable[[], str | None]:
        """Each answer takes two messages."""
        later = iter([None, answers.pop(0)])

        def told() -> str | None:
            found = next(later)
            if isinstance(found, Exception):
                raise found
            return found  # type: ignore[no-any-return]

        return told

    monkeypatch.setattr(Holds, "ask_identity", ask, raising=False)
    answers += ["first", "", TransientSourceError("the broker is away"), "second"]
    at = Kafka(KafkaConfig(topic="t", format="text"), tenant="acme")
    monkeypatch.setattr(at, "_cluster", lambda: Holds({0: Extent(0, 1)}, {}, values=[b"a"]))
    (stream,) = at.streams()
    followed = at.follow(stream, {}, Pace(0.001, 10))
    assert [next(followed).rows.num_rows for _ in range(1 + 4 * 3 - 1)] == [0, *[1] * 11]
    with pytest.raises(ContractError, match="the id second after first"):
        next(followed)
    assert not answers


@pytest.mark.parametrize(
    ("config", "mode", "suits"),
    [
        ({"auto_offset_reset": "latest"}, LoadMode.REPLACE, False),
        ({"auto_offset_reset": "latest", "start_offsets": {0: 1}}, LoadMode.REPLACE, False),  # of the others nothing
        ({"auto_offset_reset": "latest", "start_time": "2026-01-01T00:00:00Z"}, LoadMode.REPLACE, True),
        ({"auto_offset_reset": "latest"}, LoadMode.APPEND, True),
        ({}, LoadMode.REPLACE, True),
    ],
)
def test_a_replacement_that_would_read_nothing_is_refused(config: dict[str, Any], mode: LoadMode, suits: bool) -> None:
    at = Kafka(KafkaConfig(topic="t", **config), tenant="acme")
    with nullcontext() if suits else pytest.raises(ConfigError, match="the table would be emptied"):
        at.suits(mode)


def test_lint_tells_it_before_there_is_data(tmp_path: Path) -> None:
    file = """\
tenant: acme
pipelines:
  plays:
    importer: kafka
    config: {topic: plays, auto_offset_reset: latest}
    load: {mode: replace}
    privacy: {purpose: charts, lawful_basis: consent, subject: {none: true, reason: charts}, columns: {id: keep}}
"""
    (tmp_path / "acme.yaml").write_text(file)
    assert [str(error) for error in lint(tmp_path) if "emptied" in error.what and error.where["line"] == 6]
    (tmp_path / "acme.yaml").write_text(file.replace("replace", "append"))
    assert not [error for error in lint(tmp_path) if "emptied" in error.what]
