"""A job is one stream of a tenant's pipeline, with all that its steps need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from importers.core import untold
from importers.core.coded import decoded_schema
from importers.core.connection import Connection
from importers.core.destination import Destination, Mask
from importers.core.erasure import Erased
from importers.core.model import JSON, Run, Stream
from importers.core.model_faults import faults
from importers.core.registry import PACKAGE, source_class
from importers.core.settings import StreamSettings, effective, importer_settings, pipeline_of
from importers.core.source import Source
from importers.core.tenant import Expectation, Pipeline, Tenant
from importers.exceptions import ConfigError, ImporterError, PrivacyError
from importers.keys.keyring import TenantKeys
from importers.pipeline import contract
from importers.pipeline.installation import Installation
from importers.pipeline.widening import marked
from importers.privacy.checks import check_ours
from importers.privacy.domains import check_as_ever
from importers.privacy.policy import Policy
from importers.quality.observed import Telling
from importers.quality.rules import Rules
from importers.staging.area import Staging
from importers.staging.manifest import widest
from importers.staging.place import RunPlace
from importers.staging.quarantine import Quarantine


@dataclass(frozen=True)
class Job:
    """Picklable; sources, connections and keys are opened where they are used, once."""

    installation: Installation
    tenant: Tenant
    pipeline: str
    stream: Stream
    """As the tenant's file refines it, with all columns that the source offers."""
    connection: Connection | None = field(default=None, repr=False)
    """Of the source. None also where a step doesn't ask it."""

    @property
    def where(self) -> dict[str, Any]:
        return {"tenant": self.tenant.tenant, "pipeline": self.pipeline, "stream": self.stream.name}

    @contextmanager
    def at(self, partition: int | None = None) -> Iterator[None]:
        """Say in an error which job it comes from. Of what nobody foresaw only class and place: it may hold values."""
        try:
            yield
        except ImporterError as error:
            error.at(**self.where, partition=partition)
            raise
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
            raise _unforeseen(error).at(**self.where, partition=partition) from None

    def of(self, stream: Stream) -> Job:
        """The job of a stream that is refined further; what is open stays open for both."""
        job = replace(self, stream=stream)
        shared = ("destination", "source", "keys", "domains")
        job.__dict__.update({name: value for name, value in vars(self).items() if name in shared})
        return job

    def fixed(self, run: Run) -> Job:
        """The job with the stream that the run's plan fixed: every partition is read with the same types.

        Its destination is this one's, if that is open: each would connect by itself.
        """
        job = Job(self.installation, self.tenant, self.pipeline, run.plan.stream or self.stream, self.connection)
        job.__dict__.update({name: value for name, value in vars(self).items() if name == "destination"})
        return job

    @property
    def spec(self) -> Pipeline:
        return pipeline_of(self.tenant, self.pipeline)

    @cached_property
    def settings(self) -> StreamSettings:
        return effective(self.tenant, self.pipeline, self.stream.name)

    @cached_property
    def source(self) -> Source[Any]:
        return open_source(self.tenant, self.pipeline, self.connection)

    @cached_property
    def keys(self) -> TenantKeys:
        return self.installation.keyring().tenant(self.tenant.tenant)

    @cached_property
    def destination(self) -> Destination:
        return self.installation.open_destination(self.pipeline, self.keys)

    @cached_property
    def domains(self) -> Mapping[str, bool]:
        """Those of the tenant that the warehouse knows, and whether letters' case counts there."""
        return {} if self.destination.is_new() else self.destination.domains()

    @property
    def erased(self) -> Erased:
        """The subjects whose rows go neither into the table nor into quarantine."""
        return self.destination.erased(self.policy.subject_domain)

    @cached_property
    def rules(self) -> Rules:
        rules = Rules.compile(self.expectations, self.stream.schema)
        rules.check_order(importer_settings(self.tenant, self.pipeline)[0], ordered=self.source.ordered)
        return rules

    @property
    def expectations(self) -> Sequence[Expectation]:
        """What the tenant says, and that the keys of a table that has some aren't null."""
        keys = self.stream.primary_key if self.stream.keyed else ()
        said = {(e.type, e.columns) for e in self.settings.expect}
        rule = "expect_column_values_to_not_be_null"
        implied = [Expectation(type=rule, kwargs={"column": key}) for key in keys if (rule, (key,)) not in said]
        return [*self.settings.expect, *implied]

    def unfit(self, rows: pa.RecordBatch) -> Mapping[str, Mask]:
        """Rows that can't be loaded whatever the rules say, by why: they would fail their whole partition."""
        keys = self.stream.primary_key if self.stream.keyed else ()
        stored = [key for key in keys if not self.policy.pseudonymises(key)]
        found = dict(self.destination.unfit(rows, stored))
        for key in keys:
            blank = self.policy.blank(rows, key).to_numpy(zero_copy_only=False)
            found |= {f"{key}: blank, which no primary key may be": blank} if blank.any() else {}
        return found | self._unstampable(rows) | self._beyond_contract(rows)

    def _beyond_contract(self, rows: pa.RecordBatch) -> dict[str, Mask]:
        if self._is_taken(rows.schema):
            return {}
        agreed = self._agreed(rows.schema)
        return contract.unfit(rows, agreed, self.stream.schema.names if self._closed else agreed.names)

    def _is_taken(self, came: pa.Schema) -> bool:
        """Whether an open contract takes such rows as they are. Asked of each batch, and most are like the last."""
        if self._closed:
            return False
        came = decoded_schema(came)
        last = self.__dict__.get("_taken")
        if last is None or not last.equals(came):
            if not self._agreed(came).equals(came):
                return False
            self.__dict__["_taken"] = came
        return True

    def _agreed(self, came: pa.Schema) -> pa.Schema:
        """The columns that rows of such a schema may have, and their types once they are `decoded`."""
        beyond = {column.name for column in self.stream.beyond}
        asked = decoded_schema(self.asked.schema)
        return asked if self._closed else contract.opened(asked, decoded_schema(came), beyond)

    @property
    def _closed(self) -> bool:
        return self.settings.load.schema_change in contract.CLOSED

    @property
    def beyond(self) -> list[JSON]:
        """The columns that the schema contract keeps out."""
        return [column.name for column in self.stream.beyond]

    def whole(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What the source gave, with nulls in the columns that it may leave out and has left out."""
        return contract.whole(rows, replace(self.asked, absent=self.stream.absent)) if self.stream.absent else rows

    def fitted(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows as the schema contract lets them be judged and loaded; those that are `unfit` have nulls."""
        return rows if self._is_taken(rows.schema) else contract.fitted(rows, self._agreed(rows.schema))

    def tokens(self, rows: pa.RecordBatch) -> pa.Array | None:
        """Whose the rows are, as `Policy.tokens` says: by the subject in its agreed type, as the table would say it,
        and by what came where that doesn't fit.
        """
        fitted = self.fitted(rows)
        tokens = self.policy.tokens(fitted)
        if tokens is None or fitted is rows or not tokens.null_count:
            return tokens
        try:
            return pc.coalesce(tokens, self.policy.tokens(rows))
        except PrivacyError:  # what came is no such object
            return tokens

    def table_schema(self, staged: Iterable[pa.Schema]) -> pa.Schema:
        """The source's columns that the table has to hold, once so much is staged."""
        return self.asked.schema if self._closed else widest([self.asked.schema, *map(self._agreed, staged)])

    def _unstampable(self, rows: pa.RecordBatch) -> dict[str, Mask]:
        """Rows whose cursor `_version` can't hold."""
        cursor = self.stream.cursor
        if cursor is None or cursor not in rows.schema.names or rows.column(cursor).type != pa.uint64():
            return {}
        beyond = pc.fill_null(pc.greater(rows.column(cursor), pa.scalar(2**63 - 1, pa.uint64())), False)
        beyond = beyond.to_numpy(zero_copy_only=False)
        return {f"{cursor}: a cursor of more than 63 bits": beyond} if beyond.any() else {}

    @cached_property
    def policy(self) -> Policy:
        policy = Policy.build(
            self.settings.privacy,
            self.stream,
            self.keys,
            embedded=self.installation.embedded,
            needed=self.rules.columns,
            elsewhere=self._said_for_other_streams,
            case_sensitive=self.tenant.case_sensitive,
        )
        if policy.domains:
            check_as_ever(policy.domains, self.domains)
        self._refuse_hidden_drift(policy)
        return policy

    def _refuse_hidden_drift(self, policy: Policy) -> None:
        """Drift is told by what the ledger knows of earlier values, and it knows none that may be personal."""
        for label, column in self.rules.drifting.items():
            if column not in policy.shown():
                raise ConfigError(
                    f"{label}: nothing of this column's values is remembered",
                    got="a key, a column that isn't kept, or one that may concern a person",
                    do="choose another column, or judge this one by a rule that needs no memory",
                )

    @property
    def _said_for_other_streams(self) -> frozenset[str]:
        """Columns that the policy may name although this stream lacks them: another has them, or they are to come."""
        several = len(self.spec.streams) > 1
        elsewhere = frozenset(self.tenant.privacy.columns) | frozenset(self.spec.privacy.columns if several else ())
        return elsewhere | {column.name for column in self.stream.beyond} | set(self.settings.load.optional)

    @property
    def telling(self) -> Telling:
        return Telling(self.policy.shown(), of_persons=self.policy.subject_domain is not None)

    @cached_property
    def asked(self) -> Stream:
        """What the source gives: nothing that the policy drops, unless a rule, the subject or a key needs it."""
        asked = self._wanted
        return replace(asked, columns=tuple(replace(c, type=untold.shown(c.type)) for c in asked.columns))

    @cached_property
    def _wanted(self) -> Stream:
        """As `asked`; that there is more in objects than that is still told (`core.untold`)."""
        wanted = self.policy.request(self.stream)
        opened = self.settings.load.schema_change == "evolve"
        return marked(wanted, self.policy, self.rules) if opened else wanted

    @cached_property
    def requested(self) -> Stream:
        """What the source is asked for: as `asked`, and what the schema contract looks at beyond it."""
        stream, looks = self._wanted, self.settings.load.schema_change == "quarantine"
        there = tuple(column for column in stream.columns if column.name not in self.stream.absent)
        beyond = self.stream.beyond
        unread = stream.unread if looks else (*stream.unread, *beyond)
        settled = contract.settled(unread, self.settings)
        unread = tuple(replace(c, optional=c.name in settled) for c in unread if c.name not in self.stream.absent)
        columns = (*there, *beyond) if looks else there
        with self.at():
            check_ours(column.name for column in columns)
        return replace(stream, columns=columns, unread=unread, absent=(), beyond=())

    @cached_property
    def warehouse(self) -> str:
        return self.destination.warehouse_id()

    @cached_property
    def staging(self) -> Staging:
        return Staging(self.installation.staging, self.warehouse)

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.installation.quarantine, self.warehouse)

    def place(self, run: Run) -> RunPlace:
        return RunPlace(self.tenant.tenant, self.pipeline, self.stream.name, run.id)

    @property
    def fingerprint(self) -> str:
        """Of everything that the gate has judged by: a tenant file that changes in mid-run is noticed."""
        load = self.settings.load
        said = (
            self.policy.fingerprint,
            self.rules.fingerprint,
            self.stream.load_mode,
            self.stream.target,
            (load.schema_change, contract.VERSION) if self._closed else load.schema_change,
        )
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    def close(self) -> None:
        """Close what was opened here; a job that is `of` this one has the same, one that is `fixed` the destination."""
        with ExitStack() as stack:  # the one, also if the other can't be closed
            if "destination" in self.__dict__:
                stack.callback(self.destination.close)
            if "source" in self.__dict__:
                stack.callback(self.source.close)

    def __reduce__(self) -> tuple[Any, ...]:
        return Job, (self.installation, self.tenant, self.pipeline, self.stream, self.connection)


def _unforeseen(error: BaseException) -> ImporterError:
    ours = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(PACKAGE)]
    where = f" in {Path(ours[-1].filename).relative_to(PACKAGE)}:{ours[-1].lineno}" if len(ours) > 1 else ""
    return ImporterError("a step failed for a reason that nobody foresaw", got=type(error).__name__ + where)


def open_source(tenant: Tenant, pipeline: str, connection: Connection | None = None) -> Source[Any]:
    """The pipeline's source with its settings. Raises ConfigError for a setting that is wrong."""
    name, values = importer_settings(tenant, pipeline)
    cls = source_class(name)
    try:
        config = cls.config_model(**values)
    except ValidationError as error:
        fault = faults(error, cls.config_model, values)[0]
        what = f"{name}: {'.'.join(str(part) for part in fault.path)}: {fault.what}"
        raise ConfigError(what, got=fault.got, do=fault.do, tenant=tenant.tenant, pipeline=pipeline) from None
    return cls(config, tenant=tenant.tenant, connection=connection, pipeline=pipeline)
