"""PostgreSQL: the effect of a load is once. Runs, receipts and positions stand in `_importers`, beside the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from importers.core.destination import Mask
from importers.core.erasure import Eraser
from importers.core.model import (
    JSON,
    Leaf,
    LoadMode,
    MicroBatch,
    Plan,
    Position,
    Receipt,
    Remains,
    Run,
    RunKind,
    RunState,
    Staged,
    Stream,
    TableColumn,
    Unlike,
    Window,
)
from importers.core.quarantine import QuarantineRegistry
from importers.core.retention import Expirer
from importers.destinations import _control as control
from importers.destinations import _erasure as erasure
from importers.destinations import _evolving as evolving
from importers.destinations import _lineages as lineages
from importers.destinations import _live as live
from importers.destinations import _loading as loading
from importers.destinations import _opening as opening
from importers.destinations import _owner as owner
from importers.destinations import _positions as positions
from importers.destinations import _quarantine as quarantine
from importers.destinations import _remains as remains
from importers.destinations import _tables as tables
from importers.destinations._erasing import PostgresEraser
from importers.destinations._expiring import PostgresExpirer
from importers.destinations._ledger import PostgresLedger
from importers.destinations._unfit import unfit
from importers.exceptions import ConfigError, ContractError, RunAbortedError, TransientSourceError
from importers.ledger import lineage as ledger_lineage
from importers.transport.postgres import translated


class PostgresDestination(PostgresLedger):
    """The warehouse of one tenant's pipeline; the schema is the tenant's name."""

    title = "PostgreSQL"
    modes: ClassVar[frozenset[LoadMode]] = frozenset(LoadMode)
    live_modes: ClassVar[frozenset[LoadMode]] = frozenset({LoadMode.APPEND, LoadMode.MERGE})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner = owner.Owner(self._url)
        self._live: live.LiveTable | None = None

    def close(self) -> None:
        self._owner.let_go()
        self._session.close()
        self._live = None

    # -- open

    def open(
        self,
        stream: Stream,
        key: str,
        kind: RunKind,
        window: Window,
        plan: Callable[[Position], Plan],
        sealed_key: bytes,
        lease: float | None = None,
    ) -> Run:
        name = self._name(stream)
        with self._transaction("opening a run") as connection:
            control.lock(connection, control.OPEN, name)
            self._check_key(connection)
            control.forget_unopened(connection, name, key)
            run = control.latest(connection, name, key)
            if run and (run.state is RunState.OPEN or self._is_done(run)):
                if run.state is RunState.OPEN:
                    self._own(run, lease)
                    control.note_failure(connection, run.id, None)
                return run
            opening.clear_the_way(connection, stream, name, kind, lambda run: self._abort(connection, run, stream))
            opening.check_what_is_newer(connection, self.tenant, stream)
            opening.check_not_expired(connection, name, kind, stream, window)
            moves = stream.resumes(kind)
            position: Position = {}
            if moves:
                if self._is_there(connection, stream):  # else its lanes stay: the table may get its name back
                    position = positions.read(connection, name, stream.target)
                opening.check_not_renamed(connection, self.tenant, name, stream, known=bool(position))
            if kind is RunKind.REPLAY:
                opening.check_not_dropped(connection, self.tenant, stream)
            sealed = plan(position)
            if moves:
                sealed = replace(sealed, resumed=bool(position) and not sealed.refresh)
            else:
                sealed = replace(sealed, position={}, resumed=self._is_replayed_beside(connection, stream, kind))
            opening.check_overlap(connection, name, key, kind, stream, window, sealed)
            version = opening.next_version(connection, self.tenant, stream, window)
            id_ = control.insert_run(
                connection, stream, name, key, kind, window, version, sealed, sealed_key, lease or 0
            )
            opened = self._fence(connection, id_, "for update")
            if kind is RunKind.REPLAY:
                quarantine.claim(connection, opened)
            self._own(opened, lease)  # before anybody else can see the run
        return opened

    def _is_replayed_beside(self, connection: psycopg.Connection, stream: Stream, kind: RunKind) -> bool:
        """Whether a replay appends to what a position stands for: dropped, that is read anew with the replay's rows."""
        appends = kind is RunKind.REPLAY and stream.load_mode is LoadMode.APPEND
        return appends and bool(positions.read(connection, self._name(stream), stream.target))

    def _check_key(self, connection: psycopg.Connection) -> None:
        if not control.check_key(connection, self.tenant, self._fingerprint):
            raise ConfigError(
                "ENCRYPTION_KEY isn't the one that this tenant's data was written with: pseudonyms would not join",
                do="set the key that was used before",
                tenant=self.tenant,
            )

    @staticmethod
    def _is_done(run: Run) -> bool:
        """A window run may be run again: it replaces what it loaded. An incremental one is history."""
        return run.state is RunState.COMMITTED and run.kind is not RunKind.WINDOW

    def _own(self, run: Run, lease: float | None) -> None:
        if lease is None:
            self._owner.hold(run)
        else:
            self.renew(run, lease)

    def renew(self, run: Run, lease: float | None) -> None:
        with self._transaction("renewing the lease") as connection:
            is_ours = owner.renew(connection, run, lease or 0)
        if not is_ours:
            raise _aborted(run.id)

    def release(self, run: Run) -> None:
        with self._transaction("releasing a run") as connection:
            owner.end_lease(connection, run)
        self._owner.let_go()

    # -- prepare, load, commit

    def prepare(
        self,
        run: Run,
        stream: Stream,
        columns: Sequence[TableColumn],
        lineage: Sequence[Leaf],
        pins: Mapping[str, JSON],
        *,
        frozen: bool = False,
    ) -> Run:
        with self._transaction("preparing the table") as connection:
            now = self._fence(connection, run.id, "for update")
            if now.state is RunState.COMMITTED:
                return now
            _check_pins(now, pins)
            self._live = None
            control.lock(connection, control.DDL, self.tenant)  # its schema may be made now, for two pipelines at once
            lineages.check_keys(connection, self.tenant, stream, lineage, but_of=run.id)
            anew = evolving.ensure(connection, self.tenant, stream, columns, frozen=frozen)
            if anew:
                positions.set_aside(connection, self.tenant, stream.target)
            opening.check_goes_on(connection, now, positions.read(connection, run.stream, run.table), anew=anew)
            if run.mode is LoadMode.REPLACE:
                tables.create_shadow(connection, self.tenant, stream, run.id)
            types = tables.existing(connection, self.tenant, tables.rows_table(stream))
            table = f"{self.tenant}.{stream.target}"
            version = ledger_lineage.record(connection, run.stream, run.id, table, types, lineage)
            connection.execute(
                "update _importers.run set pins = %s, schema_version = %s where id = %s",
                (Jsonb(dict(pins)), version, run.id),
            )
        return replace(now, pins=pins)

    def _fence(self, connection: psycopg.Connection, run: int, lock: str) -> Run:
        """The run as it is now, locked against abort and commit. Raises RunAbortedError for a zombie."""
        now = control.select_run(connection, run, lock)
        if now is None or now.state is RunState.ABORTED:
            raise _aborted(run)
        return now

    def unfit(self, rows: pa.RecordBatch, key: Sequence[str] = ()) -> Mapping[str, Mask]:
        return unfit(rows, key)

    def load(self, run: Run, stream: Stream, staged: Staged, batches: Iterable[pa.RecordBatch]) -> Receipt:
        receipt = Receipt(run.id, staged.partition, staged.digest, staged.rows, 0, 0, staged.position)
        with self._transaction("loading") as connection:
            control.lock(connection, control.ERASE, self.tenant, shared=True)
            now = self._fence(connection, run.id, "for share")
            # The receipt comes before the rows: a twin waits here, and then has nothing to do.
            if now.state is RunState.COMMITTED or not control.insert_receipt(connection, receipt):
                return control.receipts(connection, run.id)[staged.partition]
            _check_digest(now, staged)
            shown = erasure.Shown(batches, self._erased(connection, stream.subject_domain))
            stand = loading.copy(connection, self.tenant, stream, run, staged.partition, shown)
            suppressed = shown.suppressed + staged.suppressed
            receipt = replace(receipt, loaded=shown.loaded, suppressed=suppressed, outdone=shown.outdone(stand))
            control.complete_receipt(connection, receipt)
        return receipt

    def load_live(self, run: Run, stream: Stream, batch: MicroBatch) -> Receipt:
        with translated("loading a micro-batch"):
            table = self._live_table(stream)
            try:
                return table.take(run, batch, self._blind)
            except psycopg.OperationalError:  # lost while it was idle: nothing has begun, nothing is done twice
                if table.began or not table.connection.closed:
                    raise
            return self._live_table(stream).take(run, batch, self._blind)

    def _live_table(self, stream: Stream) -> live.LiveTable:
        connection = self._session.connection
        if self._live is None or self._live.connection is not connection:
            self._live = live.LiveTable(connection, self.tenant, stream)
        return self._live

    def remains(
        self, run: Run, stream: Stream, withheld: Iterable[pa.RecordBatch], unlike: Sequence[Unlike], *, whole: bool
    ) -> Remains:
        with self._transaction("counting what stays") as connection:
            return remains.count(connection, self.tenant, stream, run, withheld, unlike, whole=whole)

    def commit(
        self,
        run: Run,
        stream: Stream,
        superseded: Sequence[str] = (),
        gone: Sequence[Unlike] = (),
        notes: Sequence[str] = (),
    ) -> Position:
        return self._commit(run, stream, superseded, gone, notes)

    @retry(
        retry=retry_if_exception_type(TransientSourceError),
        stop=stop_after_attempt(5),
        wait=wait_random_exponential(max=5),
        reraise=True,
    )
    def _commit(
        self, run: Run, stream: Stream, superseded: Sequence[str], gone: Sequence[Unlike], notes: Sequence[str]
    ) -> Position:
        with self._transaction("committing") as connection:
            # It copies rows, where a history closes what is absent; and it must hold nothing yet that an erasure needs.
            control.lock(connection, control.ERASE, self.tenant, shared=True)
            now = self._fence(connection, run.id, "for update")
            if now.state is not RunState.COMMITTED:
                missing = sorted(set(range(len(now.plan.partitions))) - set(now.receipts))
                if missing:
                    raise ContractError(
                        "partitions have no receipt",
                        got=f"none for {len(missing)} of {len(now.plan.partitions)}, first {missing[0]}",
                        do="clear the failed partitions and run them again",
                        run=run.id,
                        **self._where(stream),
                    )
                connection.execute(f"set local lock_timeout = '{control.LOCK_TIMEOUT}'")
                control.lock(connection, control.COMMIT, run.stream)  # two that replace each other's rows must see it
                opening.check_goes_on(connection, now, positions.read(connection, run.stream, run.table))
                quarantine.check_not_read_again(connection, now)
                loading.make_it_count(connection, self.tenant, stream, now)
                remains.remove(connection, self.tenant, stream, gone)
                if now.kind is RunKind.INCREMENTAL and now.mode is not LoadMode.REPLACE:
                    positions.store(connection, now)
                quarantine.supersede(connection, now, superseded)
                control.close_run(connection, run.id, RunState.COMMITTED, notes)
            return positions.read(connection, run.stream, run.table)

    # -- abort, and what becomes of the rows

    def abort(self, run: Run, stream: Stream) -> None:
        with self._transaction("aborting") as connection:
            now = control.select_run(connection, run.id, "for update")
            if now is not None and now.state is RunState.OPEN:
                self._abort(connection, now, stream)

    def _abort(self, connection: psycopg.Connection, run: Run, stream: Stream) -> None:
        if run.plan.live:  # each of its micro-batches counts, and has moved the position
            control.close_run(connection, run.id, RunState.COMMITTED)
            return
        control.close_run(connection, run.id, RunState.ABORTED)
        if run.kind is RunKind.REPLAY:
            quarantine.give_back(connection, run.id)
        control.lock(connection, control.COMMIT, run.stream)  # a commit that gives versions their places must see it
        loading.take_back(connection, self.tenant, _as_opened(stream, run), run)

    def quarantine(self) -> QuarantineRegistry:
        return quarantine.PostgresQuarantine(self.tenant, self.pipeline, self._transaction)

    def eraser(self) -> Eraser:
        return PostgresEraser(self.tenant, self._transaction, self._blind, self._check_key)

    def expirer(self) -> Expirer:
        return PostgresExpirer(self.tenant, self._transaction)

    def _where(self, stream: Stream) -> dict[str, Any]:
        return {"tenant": self.tenant, "pipeline": self.pipeline, "stream": stream.name}


def _check_pins(run: Run, pins: Mapping[str, JSON]) -> None:
    """What was loaded can't be exchanged any more."""
    for partition, receipt in run.receipts.items():
        pin = pins.get(str(partition))
        if not isinstance(pin, Mapping) or pin.get("digest") != receipt.digest:
            raise ContractError(
                "a partition that is already loaded was staged again and differs",
                do="start a new run",
                run=run.id,
                partition=partition,
            )


def _check_digest(run: Run, staged: Staged) -> None:
    pin = run.pins.get(str(staged.partition))
    if not isinstance(pin, Mapping) or pin.get("digest") != staged.digest:
        raise ContractError(
            "the gate didn't let this partition through",
            got=f"attempt {staged.attempt}",
            do="run the gate again",
            run=run.id,
            partition=staged.partition,
        )


def _as_opened(stream: Stream, run: Run) -> Stream:
    """The stream as the run knew it: the tenant file may have changed since."""
    return replace(stream, load_mode=run.mode, table=run.table)


def _aborted(run: int) -> RunAbortedError:
    return RunAbortedError("this run was aborted: a newer one took over", do="start a new run", run=run)
