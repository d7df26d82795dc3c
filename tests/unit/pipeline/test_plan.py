"""Where a run starts is the source's to say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from importers.core.model import LoadMode, Plan, Position, Reads, RunState, Stream
from importers.core.tenant import Load
from importers.exceptions import ContractError
from importers.pipeline.plan import foresee, plan

STORED = {"lane": 7}


def job() -> Any:
    """The source seals its start as the plan's position."""
    stream = Stream("s", (), Reads.POSITION, ("id",), load_mode=LoadMode.MERGE)
    made = SimpleNamespace(
        settings=SimpleNamespace(load=Load()),
        at=nullcontext,
        tenant=SimpleNamespace(tenant="acme"),
        pipeline="p",
        stream=stream,
        requested=stream,
        asked=stream,
        policy=SimpleNamespace(
            lineage=lambda _: [],
            table=lambda _: [],
            told=lambda stream, **_: stream,
            domains={},
            subject_domain=None,
        ),
        keys=SimpleNamespace(new_run_key=lambda: (b"", b"")),
        source=SimpleNamespace(
            config=SimpleNamespace(fingerprint=""),
            reads_parts=lambda: False,
            plan=lambda stream, window, position: Plan([], position),
            refreshed=lambda position: {"lane": position["lane"] - 5},
            subscribe=lambda stream: None,
            knows=lambda partition: True,
            suits=lambda mode: None,
            delivered=lambda stream, window, position: stream,
            parts=lambda stream, window, position: (),
        ),
        destination=SimpleNamespace(
            modes={LoadMode.MERGE},
            is_new=lambda: False,
            remembered=lambda: [],
            subjects=lambda stream: {},
            loaded_as=lambda stream: {},
            suits=lambda stream, columns: None,
            misfits=lambda stream, columns: {},
            check_keys=lambda stream, leaves: None,
            position=lambda stream: STORED,
            former=lambda stream: None,
            writers=lambda stream: {},
            open=lambda stream, key, kind, window, sealed, sealed_key, lease: SimpleNamespace(
                state=RunState.OPEN, plan=sealed(STORED), receipts={}
            ),
        ),
    )
    made.of = lambda stream: made
    return made


def opened(job: Any, *, full_refresh: bool) -> Position:
    run: Any = plan(job, "k", full_refresh=full_refresh)
    return run.plan.position  # type: ignore[no-any-return]


def foreseen(job: Any, *, full_refresh: bool) -> Position:
    return foresee(job, full_refresh=full_refresh).position


@pytest.mark.parametrize("start", [opened, foreseen])
def test_a_full_refresh_starts_where_the_source_says(start: Callable[..., Position]) -> None:
    assert start(job(), full_refresh=False) == {"lane": 7}
    assert start(job(), full_refresh=True) == {"lane": 2}


@pytest.mark.parametrize("start", [opened, foreseen])
@pytest.mark.parametrize("full_refresh", [False, True])
def test_a_table_that_is_new_to_a_stream_is_read_as_by_a_full_refresh(
    start: Callable[..., Position], *, full_refresh: bool
) -> None:
    """Of the position of the table before: a source that begins with what is new leaves nothing out between the two."""
    new = job()
    new.destination.position = lambda stream: {}
    new.destination.open = lambda stream, key, kind, window, sealed, sealed_key, lease: SimpleNamespace(
        state=RunState.OPEN, plan=sealed({}), receipts={}
    )
    new.destination.former = lambda stream: ("before", STORED)
    assert start(new, full_refresh=full_refresh) == {"lane": 2}


@pytest.mark.parametrize(("table", "dropped"), [("before", False), ("s", True), ("", False)])
def test_of_a_table_that_was_dropped_everything_is_read_again(table: str, *, dropped: bool) -> None:
    """What of it is in quarantine comes a second time. Nobody has asked for it, as by a full refresh."""
    new = job()
    new.destination.open = lambda stream, key, kind, window, sealed, sealed_key, lease: SimpleNamespace(
        state=RunState.OPEN, plan=sealed({}), receipts={}
    )
    new.destination.former = lambda stream: (table, STORED)
    run: Any = plan(new, "k")
    assert (run.plan.position, run.plan.again) == ({"lane": 2}, dropped)
    assert (run.plan.refresh, run.plan.dropped) == (False, dropped)
    assert ("acme.s was dropped" in run.plan.notes[0]) is dropped


@pytest.mark.parametrize("start", [opened, foreseen])
def test_what_no_table_can_have_is_told_before_the_source_is_asked(start: Callable[..., Position]) -> None:
    wide, asked = job(), []
    wide.policy.table = lambda schema: ["too", "many"]
    wide.source.plan = lambda *args: asked.append(args)

    def suits(stream: Stream, columns: list[str]) -> None:
        raise ContractError(f"{len(columns)} columns")

    wide.destination.suits = suits
    with pytest.raises(ContractError, match="2 columns"):
        start(wide, full_refresh=False)
    assert not asked


def test_an_open_run_is_read_on_where_what_is_left_of_it_can_be() -> None:
    """What has a receipt nobody reads any more."""
    opened, aborted = SimpleNamespace(state=RunState.OPEN, plan=Plan(["old", "new"], {}), receipts={0: None}), []
    going = job()
    going.source.knows = lambda partition: partition == "new"
    going.destination.open = lambda *args: opened
    going.destination.abort = lambda run, stream: aborted.append(run)
    assert plan(going, "k") is opened
    assert not aborted
    opened.receipts = {}
    plan(going, "k")
    assert aborted == [opened]


@pytest.mark.parametrize(
    ("state", "loaded", "anew"),
    [
        (RunState.OPEN, (), True),
        (RunState.OPEN, (0,), True),
        (RunState.OPEN, (1,), False),  # what is still to be read is known
        (RunState.OPEN, (0, 1), False),
        (RunState.COMMITTED, (), False),
    ],
)
def test_an_open_run_is_planned_anew_where_what_is_still_to_be_read_isn_t_known(
    state: RunState, loaded: tuple[int, ...], *, anew: bool
) -> None:
    planned = Plan([{"new": 1}, {"old": 1}])
    found = [SimpleNamespace(state=state, plan=planned, receipts=dict.fromkeys(loaded)), "planned anew"]
    aborted = []
    of = job()
    of.source.knows = lambda partition: "new" in partition
    of.destination.open = lambda *_: found.pop(0)
    of.destination.abort = lambda run, stream: aborted.append((run.plan, stream))
    run: Any = plan(of, "k")
    assert (run == "planned anew") is anew
    assert aborted == ([(planned, of.stream)] if anew else [])
