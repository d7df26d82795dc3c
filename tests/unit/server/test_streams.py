"""A stream that fails again and again: how it is said to be, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from importers.exceptions import ContractError
from importers.pipeline.stream import Beat
from importers.server import streams
from importers.server.streams import Name, State, Status, Streams

UNREAD, COMMITTED, NOTHING = Beat(behind=3), Beat(rows=1, loaded=1, behind=2), Beat()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Sequence[Beat]]], tuple[list[State], list[float]]]:
    """Keeps a stream whose attempts have these beats and then fail: its states before each wait, and the waits."""

    def keep(attempts: Sequence[Sequence[Beat]]) -> tuple[list[State], list[float]]:
        left, stop, states, waits = [*attempts], Event(), list[State](), list[float]()
        made = Streams(None, Path(), [Name("acme", "listening")], stop)  # type: ignore[arg-type]
        (status,) = made.statuses

        def stream(_job: Any, _stopped: Any, watch: Callable[[Beat], None]) -> None:
            for beat in left.pop(0):
                watch(beat)
                states.append(status.state)
            raise ContractError("there is poison")

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if not left:
                stop.set()

        monkeypatch.setattr(streams, "stream", stream)
        monkeypatch.setattr(streams, "_rest", lambda seconds, *_: sleep(seconds))
        monkeypatch.setattr(Streams, "_job", lambda *_: _Job())
        listed: list[str] = []
        monkeypatch.setattr(Streams, "_list", lambda _, name, error: listed.append(f"{name}: {error}"))
        made._keep(status)
        assert listed == ["acme.listening: there is poison"] * len(attempts)
        assert (status.state, status.failures) == (State.ENDED, len(attempts))
        return states, waits

    return keep


class _Job:
    def close(self) -> None: ...


def test_who_gets_nowhere_stays_failing_and_waits_ever_longer(kept: Any) -> None:
    """What is unread is told of before it is read: that says nothing of whether it can be."""
    states, waits = kept([[UNREAD]] * 4)
    assert states == [State.RUNNING, State.FAILING, State.FAILING, State.FAILING]
    assert [wait >= least for wait, least in zip(waits, (1, 2, 4, 8), strict=True)] == [True] * 4


@pytest.mark.parametrize("well", [COMMITTED, NOTHING])
def test_who_has_committed_or_read_all_runs_and_waits_shortly_again(kept: Any, well: Beat) -> None:
    states, waits = kept([[UNREAD], [UNREAD], [UNREAD, well]])
    assert states == [State.RUNNING, State.FAILING, State.FAILING, State.RUNNING]
    assert waits[1] >= 2 > waits[2]


class _Counted(Event):
    """Nobody waits for it: it tells of how many times and how long somebody would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set() or len(self.waits) == 100


@pytest.mark.parametrize(
    ("text", "changes"), [("tenant: acme", True), ("", True), (None, False)], ids=["mended", "appears", "unchanged"]
)
def test_a_file_that_changes_ends_the_wait_of_a_stream_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, changes: bool
) -> None:
    """Changed while the stream was failing, so after it had been read."""
    file, stop, runs = tmp_path / "acme.yaml", _Counted(), list[int]()
    if text != "":
        file.write_text("tenant: acme\npipelines: {}\n")

    def stream(*_: Any) -> None:
        runs.append(len(stop.waits))
        if len(runs) == 2:
            stop.set()
        elif text is not None:
            file.write_text(text or "tenant: acme\n")
        raise ContractError("there is poison")

    monkeypatch.setattr(streams, "LOOK", 0.0)
    monkeypatch.setattr(streams, "_wait", lambda _: 60.0)
    monkeypatch.setattr(streams, "stream", stream)
    monkeypatch.setattr(Streams, "_job", lambda *_: _Job())
    monkeypatch.setattr(Streams, "_list", lambda *_: None)
    Streams(None, tmp_path, [Name("acme", "listening")], stop)._keep(Status(Name("acme", "listening")))  # type: ignore[arg-type]
    assert runs == ([0, 1] if changes else [0, 100])
