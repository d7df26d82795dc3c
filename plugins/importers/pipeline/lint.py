"""Everything that is wrong with tenant files and can be told without touching a source system."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from croniter import croniter
from pydantic import ValidationError

from importers.core.model_faults import Fault, Placed, faults
from importers.core.names import did_you_mean
from importers.core.registry import source_class, sources
from importers.core.schedule import PRESETS, WITHOUT_INTERVALS
from importers.core.settings import effective, importer_settings
from importers.core.tenant import DEFAULT_DOMAIN, Expectation, Pipeline, Subject
from importers.core.tenant_file import Reading, TenantFile, undecided
from importers.core.yaml_marks import KeyPath, dotted
from importers.exceptions import ConfigError, MissingExtraError
from importers.pipeline import writers
from importers.pipeline.connection import takes_connection, unconnected
from importers.pipeline.lint_streams import Said, contradictions
from importers.pipeline.tenants import examine_all


def lint(place: str | Path) -> list[ConfigError]:
    """All findings of a directory of tenant files, or of one file: by file, then by line."""
    return [finding for reading in examine_all(place) for finding in findings(reading)]


def findings(reading: Reading) -> list[ConfigError]:
    """All that is wrong with a file, by line."""
    beyond = check(reading.sound) if reading.sound else []
    distinct = {(error.where.get("line"), error.what): error for error in [*beyond, *reading.findings]}
    return sorted(distinct.values(), key=lambda error: int(error.where.get("line", 0)))


def check(file: TenantFile) -> list[ConfigError]:
    """What is wrong with a tenant beyond the shape of its file."""
    said = file.tenant.model_dump(exclude_unset=True)
    found = [
        *(file.error(left.path, left.what, do=left.do) for left in undecided(said)),
        *_importers(file),
        *_shared(file),
        *_domains(file),
        *_tables(file),
    ]
    for name, pipeline in file.tenant.pipelines.items():
        found += [*_importer(file, name, pipeline), *_schedule(file, name, pipeline), *_rules(file, name, pipeline)]
        found += contradictions(file, name, pipeline, family=sources().get(importer_settings(file.tenant, name)[0]))
    return list({(error.where["line"], error.what): error for error in found}.values())


def _importers(file: TenantFile) -> Iterator[ConfigError]:
    """The tenant's settings of importers: each names one that there is. Unused ones may be incomplete."""
    used = {pipeline.importer for pipeline in file.tenant.pipelines.values()}
    for alias, settings in file.tenant.importers.items():
        name = settings.get("use", alias)
        path: KeyPath = ("importers", alias, "use") if "use" in settings else ("importers", alias)
        if not isinstance(name, str) or name not in sources():
            yield file.error(path, f"there is no importer '{name}'", do=did_you_mean(str(name), sources()))
        elif alias not in used:
            own = {key: value for key, value in settings.items() if key != "use"}
            for fault in _refused(name, own, partial(_under, ("importers", alias))):
                if not fault.missing:
                    yield _blame(file, name, fault)


def _shared(file: TenantFile) -> Iterator[ConfigError]:
    """What may use a shared connection is named as the pipelines name it, and needs one."""
    named: dict[str, list[str]] = {}
    for name, pipeline in file.tenant.pipelines.items():
        named.setdefault(pipeline.importer, []).append(name)
    for number, importer in enumerate(file.tenant.shared_connections):
        path: KeyPath = ("shared_connections", number)
        if importer not in named:
            yield file.error(path, f"no pipeline has the importer '{importer}'", do=did_you_mean(importer, named))
        elif importer_settings(file.tenant, named[importer][0])[0] not in sources():
            continue  # said elsewhere
        elif not any(takes_connection(file.tenant, pipeline) for pipeline in named[importer]):
            yield file.error(path, f"'{importer}' takes no connection", do="take it out")


def _domains(file: TenantFile) -> Iterator[ConfigError]:
    """What is said of a domain is said of one that there is; of what is left of a file that is wrong nobody knows."""
    if {path[1] for path in file.lines if path[:1] == ("pipelines",) and len(path) > 1} - file.tenant.pipelines.keys():
        return
    named = {DEFAULT_DOMAIN}
    for name, pipeline in file.tenant.pipelines.items():
        for stream in pipeline.streams or ("",):
            privacy = effective(file.tenant, name, stream).privacy
            named |= {how.domain for how in privacy.columns.values() if how.domain is not None}
            named |= {privacy.subject.domain} if isinstance(privacy.subject, Subject) else set()
    for domain in sorted(file.tenant.domains.keys() - named):
        what = f"no column has pseudonyms of the domain '{domain}'"
        yield file.error(("domains", domain), what, do=did_you_mean(domain, named))


def _importer(file: TenantFile, name: str, pipeline: Pipeline) -> Iterator[ConfigError]:
    """A pipeline's importer, and its settings as they are once laid over the tenant's."""
    shared = file.tenant.importers.get(pipeline.importer)
    importer, settings = importer_settings(file.tenant, name)
    if importer not in sources():
        if shared is None:
            known = {*sources(), *file.tenant.importers}
            path: KeyPath = ("pipelines", name, "importer")
            yield file.error(path, f"there is no importer '{importer}'", do=did_you_mean(importer, known))
        return

    def placed(setting: KeyPath) -> KeyPath:
        if setting and setting[0] not in pipeline.config and setting[0] in (shared or {}):
            return ("importers", pipeline.importer, *setting)
        return ("pipelines", name, "config" if pipeline.config else "importer", *setting)

    for fault in _refused(importer, settings, placed):
        yield _blame(file, importer, fault)


def _under(place: KeyPath, setting: KeyPath) -> KeyPath:
    return (*place, *setting)


def _refused(importer: str, settings: dict[str, Any], placed: Placed) -> list[Fault]:
    model = source_class(importer).config_model
    try:
        model.model_validate(settings)
    except ValidationError as error:
        return faults(error, model, settings, placed)
    return []


def _blame(file: TenantFile, importer: str, fault: Fault) -> ConfigError:
    return file.error(fault.path, f"{importer}: {fault.what}", got=fault.got, do=fault.do)


def _schedule(file: TenantFile, name: str, pipeline: Pipeline) -> Iterator[ConfigError]:
    schedule, at = pipeline.schedule, ("pipelines", name)
    if pipeline.catchup and (schedule is None or schedule in WITHOUT_INTERVALS):
        what, do = "without a schedule by the clock there is nothing to catch up", "set `schedule` to cron or @daily"
        yield file.error((*at, "catchup"), what, got=f"schedule {schedule or 'none'}", do=do)
    elif pipeline.catchup and pipeline.start is None:
        yield file.error((*at, "catchup"), "nothing says since when to catch up", do="set `start: 2026-01-01`")
    if schedule == "@continuous" and pipeline.max_active_runs > 1:
        what, do = "@continuous starts a run when the one before has ended", "leave `max_active_runs` out"
        yield file.error((*at, "max_active_runs"), what, got=str(pipeline.max_active_runs), do=do)
    if schedule is None or schedule in PRESETS:
        return
    if schedule.startswith("@"):
        do = did_you_mean(schedule, PRESETS)
    elif len(schedule.split()) == 5 and croniter.is_valid(schedule):
        return
    else:
        do = "five fields, minute hour day month weekday, such as '0 6 * * *'; or a preset such as '@daily'"
    path = (*at, "schedule")
    yield file.error(path, f"`{dotted(path)}` isn't a schedule", got=repr(schedule)[:60], do=do)


def _rules(file: TenantFile, name: str, pipeline: Pipeline) -> Iterator[ConfigError]:
    at: KeyPath = ("pipelines", name)
    importer = importer_settings(file.tenant, name)[0]
    yield from _expectations(file, (*at, "expect"), pipeline.expect, importer)
    for stream, spec in pipeline.streams.items():
        if spec is not None:
            yield from _expectations(file, (*at, "streams", stream, "expect"), spec.expect, importer)


def _expectations(file: TenantFile, path: KeyPath, rules: list[Expectation], importer: str) -> Iterator[ConfigError]:
    if not rules:
        return
    from importers.quality.vocabulary import check_order, rule_of  # brings polars: only for files that have rules

    ordered = importer not in sources() or source_class(importer).ordered  # what there isn't is told elsewhere
    for number, rule in enumerate(rules):
        try:
            compiled, _ = rule_of(rule)
            check_order(compiled, importer, ordered=ordered)
        except ConfigError as error:
            yield file.error((*path, number), f"{rule.label}: {error.what}", got=error.got, do=error.do)
        except MissingExtraError:
            continue  # what only Great Expectations can judge is judged where it is installed


def _tables(file: TenantFile) -> Iterator[ConfigError]:
    """A table has one owner, or every stream that writes it says `load.shared: true` and adds to it."""
    writers: dict[str, list[tuple[KeyPath, Said]]] = {}
    for name, pipeline in file.tenant.pipelines.items():
        for path, stream in _streams(file, name, pipeline):
            said = Said(file, name, stream)
            table = said.settings.load.table or stream
            if table:
                writers.setdefault(table, []).append((path, said))
    for table, owners in writers.items():
        if len(owners) > 1:
            yield from _sharing(file, table, owners)


def _streams(file: TenantFile, name: str, pipeline: Pipeline) -> Iterator[tuple[KeyPath, str]]:
    """The streams that the file or the importer's settings name; without any, the pipeline's unnamed ones."""
    if not pipeline.streams:
        source = unconnected(file.tenant, name)
        for stream in (source.named() if source else ()) or ("",):
            yield ("pipelines", name, "load", "table"), stream
    for stream, spec in pipeline.streams.items():
        own = spec is not None and spec.load.table is not None
        yield ("pipelines", name, "streams", stream, *(("load", "table") if own else ())), stream


def _sharing(file: TenantFile, table: str, owners: list[tuple[KeyPath, Said]]) -> Iterator[ConfigError]:
    share = True
    for path, said in owners:
        load = said.settings.load
        others = ", ".join(sorted({f"line {file.line(other)}" for other, _ in owners if other != path}))
        if wrong := writers.fault(load, load.mode, others):
            share = False
            yield file.error(path, writers.SEVERAL.format(table), got=wrong[0], do=wrong[1])
    if share:
        from importers.pipeline.lint_shared import unlike  # brings pyarrow: only where a table is shared

        yield from unlike(table, owners)
