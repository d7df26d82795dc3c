"""erase: a person's rows go from all that a tenant has, and don't come back; a receipt says from where, and what stays.

The order makes a crash harmless: first the subject goes onto the list of the erased, so that nothing of theirs comes in
any more; then their rows go, a table at a time; then quarantine's. Erasing again goes on with the receipt that wasn't
finished, and comes to the same end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.destination import Destination
from importers.core.erasure import Eraser, Erasure, Outcome, Place, Readmission, Registered
from importers.core.names import StreamName, did_you_mean
from importers.core.settings import effective, importer_settings, kept_in_quarantine
from importers.core.tenant import Pipeline, Subject, Tenant
from importers.exceptions import ConfigError, ContractError, FatalSourceError, PrivacyError, StagingError
from importers.keys.keyring import RunKey, TenantKeys
from importers.pipeline.domains import settle
from importers.pipeline.installation import Installation
from importers.privacy.domains import Domains
from importers.staging.quarantine import Left, Quarantine

_DEFAULTS = Pipeline(importer="none")
"""What holds for a pipeline that no file describes any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """Whom to erase, or to let in again. `subjects` are what identifies them at the source; `reason` names nobody."""

    subjects: Sequence[str]
    asked_by: str
    domain: str | None = None
    """May be left out where the tenant has one."""
    reason: str = ""
    dry_run: bool = False

    def __repr__(self) -> str:
        return f"<Request to erase {len(self.subjects)} of {self.domain}>"


def erase(installation: Installation, tenant: Tenant, request: Request) -> Erasure:
    """Erase subjects everywhere that the receipt calls clear. A dry run counts what an erasure would find.

    What can't be erased now is on the receipt, which isn't finished then: erase again. Raises ConfigError for a domain
    that there isn't, for nobody to erase and for another encryption key; and what the warehouse raises.
    """
    keys = installation.keyring().tenant(tenant.tenant)
    with closing(installation.open_destination("erase", keys)) as destination:
        eraser = destination.eraser()
        domain, exact, tokens = _whom(destination, eraser, keys, tenant, request)
        if request.dry_run and destination.is_new():
            return replace(_tried(tenant, request, domain, keys.blind(tokens), []), case_sensitive=exact)
        places = Quarantine(installation.quarantine, destination.warehouse_id())
        quarantine = _Quarantine(places, tenant, eraser, keys.quarantine(), domain, tokens)
        if request.dry_run:
            found = [place for table in eraser.tables() for place in eraser.look(table, domain, tokens)]
            found += [quarantine.look(uri) for uri in quarantine.whole]
            found += _beyond(tenant, eraser, quarantine)
            earlier = tuple(eraser.earlier(domain, tokens))
            tried = _tried(tenant, request, domain, keys.blind(tokens), found)
            return replace(tried, earlier=earlier, case_sensitive=exact)
        earlier = tuple(eraser.earlier(domain, tokens))
        settle(destination, {domain: exact})
        attempt = eraser.begin(domain, tokens, request.asked_by, request.reason)
        number = attempt.erasure
        for table in eraser.tables():
            try:
                eraser.erase(number, table, domain, tokens)
            except (ContractError, FatalSourceError) as error:
                eraser.note(number, [_failed("table", f"{tenant.tenant}.{table.name}", error)])
        for uri in quarantine.whole:
            quarantine.erase(number, uri)
        eraser.note(number, _beyond(tenant, eraser, quarantine))
        return replace(eraser.finish(attempt), earlier=earlier, case_sensitive=exact)


def readmit(installation: Installation, tenant: Tenant, request: Request) -> Readmission:
    """Let in again who was erased by mistake. Nothing that went comes back: only what is read from now on is loaded.

    Raises ConfigError for whoever isn't kept out, as `erase` does, and what the warehouse raises.
    """
    keys = installation.keyring().tenant(tenant.tenant)
    with closing(installation.open_destination("readmit", keys)) as destination:
        eraser = destination.eraser()
        domain, _, tokens = _whom(destination, eraser, keys, tenant, request)
        return eraser.readmit(domain, tokens, request.asked_by, request.reason)


def _tried(tenant: Tenant, request: Request, domain: str, blinded: Sequence[bytes], found: Sequence[Place]) -> Erasure:
    subjects, now = tuple(sorted(token.hex() for token in blinded)), datetime.now(UTC)
    return Erasure(None, tenant.tenant, domain, subjects, request.asked_by, request.reason, now, None, tuple(found))


def _whom(
    destination: Destination, eraser: Eraser, keys: TenantKeys, tenant: Tenant, request: Request
) -> tuple[str, bool, list[bytes]]:
    """The subjects' domain, whether letters' case counts in it, and their tokens there. Raises ConfigError."""
    new = destination.is_new()
    domain = _domain(tenant, request.domain, frozenset() if new else eraser.domains())
    domains = Domains(keys, _case_sensitive(tenant, {} if new else destination.domains()))
    return domain, domains.case_sensitive(domain), tokens_of(domains, domain, request.subjects)


def _case_sensitive(tenant: Tenant, known: Mapping[str, bool]) -> frozenset[str]:
    """Domains in which letters' case counts: as tokens that are there were made, whatever the file says by now."""
    return (tenant.case_sensitive - known.keys()) | {name for name, counts in known.items() if counts}


def tokens_of(domains: Domains, domain: str, subjects: Sequence[str]) -> list[bytes]:
    """The subjects' tokens, each once. Raises ConfigError for nobody, and for a text that identifies nobody."""
    if not subjects:
        raise ConfigError("nobody is named who is to be erased", do="name the subject, as the source does")
    tokens = domains.pseudonymising(domain)(pa.array(subjects, pa.string())).storage
    if tokens.null_count:
        number = tokens.is_null().index(pa.scalar(True)).as_py() + 1
        raise ConfigError("an empty text identifies nobody", got=f"subject {number} of {len(subjects)}")
    return list(dict.fromkeys(tokens.to_pylist()))


def _domain(tenant: Tenant, said: str | None, ran: frozenset[str]) -> str:
    specs = [(name, stream) for name, spec in tenant.pipelines.items() for stream in (*spec.streams, "")]
    subjects = [effective(tenant, name, stream).privacy.subject for name, stream in specs]
    known = sorted(ran | {subject.domain for subject in subjects if isinstance(subject, Subject)})
    if said is None and len(known) == 1:
        return known[0]
    if said is None:
        got = f"it has {', '.join(known) or 'none'}"
        raise ConfigError("the domain isn't said that the subject is in", got=got, do="name it by --domain")
    if said not in known:
        what = f"{tenant.tenant} has no subjects of the domain '{said}'"
        raise ConfigError(what, do=did_you_mean(said, known), tenant=tenant.tenant)
    return said


class _Quarantine:
    """A tenant's quarantine files: those that are registered, and what runs have written and not registered yet.

    What a run writes from here on has no row of the subjects, and what it has written before it registers is looked
    through then.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        tenant: Tenant,
        eraser: Eraser,
        key: RunKey,
        domain: str,
        tokens: Sequence[bytes],
    ) -> None:
        self._quarantine, self._tenant, self._eraser, self._key = quarantine, tenant, eraser, key
        self._whom, self._tokens = (domain, tokens), pa.array(tokens, pa.binary(16))

    @cached_property
    def _files(self) -> tuple[list[str], list[str]]:
        return self._quarantine.files(self._tenant.tenant)

    @cached_property
    def _registered(self) -> Mapping[str, Registered]:
        return self._eraser.registered()

    @property
    def whole(self) -> Sequence[str]:
        """Asked once the subjects are on the list."""
        return self._files[0]

    def look(self, uri: str) -> Place:
        try:
            return self._place(uri, self._without(uri, rewrite=False))
        except _UNREADABLE as error:
            return _failed("quarantine", uri, error)

    def erase(self, erasure: int, uri: str) -> None:
        """One file, its registration and the receipt's line; a file that has gone meanwhile is clear."""
        try:
            with self._eraser.alone(*self._whom):
                if self._quarantine.has(uri):
                    left = self._without(uri, rewrite=True)
                    self._eraser.requarantined(uri, left.rows, left.reasons)
                    self._eraser.note(erasure, [self._place(uri, left)])
        except _UNREADABLE as error:
            self._eraser.note(erasure, [_failed("quarantine", uri, error)])

    def others(self) -> Iterator[Place]:
        """What isn't whole, and what is registered as lying elsewhere."""
        for uri in self._files[1]:
            note = "isn't whole, and nobody reads it: a sweep ends it"
            yield Place("quarantine", uri, Outcome.STAYS, note=note)
        for uri, file in self._registered.items():
            if not self._quarantine.is_here(uri) and self._may_be_kept(file):
                note = "lies elsewhere than IMPORTERS_QUARANTINE says: set that to its place, and erase again"
                yield Place("quarantine", uri, Outcome.FAILED, note=note)

    def _without(self, uri: str, *, rewrite: bool) -> Left:
        return self._quarantine.erase_subjects(
            uri, lambda tokens: pc.is_in(tokens, value_set=self._tokens), self._key, rewrite=rewrite
        )

    def _place(self, uri: str, left: Left) -> Place:
        parts = [f"{left.rejects} lines that were no rows"] if left.rejects else []
        parts += [f"{left.nobody_s} rows without a subject"] if left.nobody_s else []
        notes = [f"of {' and '.join(parts)} nobody knows whose they are{self._until(uri)}"] if parts else []
        file, said = self._registered.get(uri), left.rows - left.rejects - left.nobody_s
        if said and file and file.domain not in (None, self._whom[0]):
            notes.append(f"{said:,} rows say whose they are in the domain '{file.domain}': erase there, too")
        return Place("quarantine", uri, Outcome.CLEAR, left.erased, left.rejects + left.nobody_s, "; ".join(notes))

    def _until(self, uri: str) -> str:
        if uri not in self._registered:
            return ": they stay until the run is over"
        return f": they stay until {self._kept_until(self._registered[uri]):%Y-%m-%d}"

    def _may_be_kept(self, file: Registered) -> bool:
        """Of a pipeline that no file describes nobody knows how long: it may have said more than the default."""
        described = StreamName.of(file.stream).pipeline in self._tenant.pipelines
        return not described or datetime.now(UTC) < self._kept_until(file)

    def _kept_until(self, file: Registered) -> datetime:
        _, pipeline, name = StreamName.of(file.stream)
        return file.since + kept_in_quarantine(self._tenant, pipeline, name).time


_UNREADABLE = (StagingError, ContractError, PrivacyError)


def _failed(kind: str, name: str, error: Exception) -> Place:
    return Place(kind, name, Outcome.FAILED, note=str(error))


def _beyond(tenant: Tenant, eraser: Eraser, quarantine: _Quarantine) -> list[Place]:
    """What no erasure reaches, and what ends it."""
    places = [*eraser.strangers(), *quarantine.others()]
    for run in eraser.waiting():
        ttl = _pipeline(tenant, StreamName.of(run.stream).pipeline).staging_ttl
        note = f"raw rows, encrypted: destroyed as the run ends, or by a sweep when nobody has worked on it for {ttl}"
        places.append(Place("staging", f"{run.stream} run {run.run}", Outcome.STAYS, note=note))
    told = "each run reads its rows again, and leaves them out: erase there as well"
    unknown = [
        f"{tenant.tenant}.{name} (in no tenant file)" for name in eraser.pipelines() if name not in tenant.pipelines
    ]
    places += [Place("source", name, Outcome.STAYS, note=told) for name in unknown]
    for name in tenant.pipelines:
        source, settings = importer_settings(tenant, name)
        places.append(Place("source", f"{tenant.tenant}.{name} ({source})", Outcome.STAYS, note=told))
        if settings.get("cache_ttl"):
            note = f"answers in Redis, if REDIS_URL is set, until they are {settings['cache_ttl']} seconds old"
            places.append(Place("cache", f"{tenant.tenant}.{name} ({source})", Outcome.STAYS, note=note))
    note = "whoever makes them knows how long they are kept; erase again after one was restored"
    return [*places, Place("backup", "of the warehouse and of quarantine", Outcome.STAYS, note=note)]


def _pipeline(tenant: Tenant, name: str) -> Pipeline:
    return tenant.pipelines.get(name, _DEFAULTS)
