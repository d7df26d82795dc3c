"""What several commands are asked in the same words: which pipeline, whose files, and how to answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from importers.core.destination import Destination
    from importers.core.model import Window
    from importers.core.tenant import Tenant
    from importers.core.tenant_file import TenantFile
    from importers.pipeline.installation import Installation
    from importers.pipeline.job import Job

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read: of a tenant's pipeline these streams, or all; a window, or what is new, or everything."""

    tenant: Tenant
    pipeline: str
    streams: tuple[str, ...]
    window: Window
    full_refresh: bool

    def jobs(self) -> list[Job]:
        """One for each stream, in the installation that the environment describes. Raises ConfigError."""
        from importers.pipeline.installation import Installation
        from importers.pipeline.jobs import jobs

        return jobs(Installation.from_environment(), self.tenant, self.pipeline, self.streams)


def tenants(command: Command) -> Command:
    return click.option(
        "--tenants",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="IMPORTERS_TENANTS",
        help="Directory of tenant files.  [default: include/tenants]",
    )(command)


def settings(command: Command) -> Command:
    """Settings of an importer, as a mapping `said`."""
    about = (
        "A setting of the importer, such as encoding=cp1252 or column_names='[id, total]'; may be given several times."
    )
    return click.option("--set", "said", metavar="KEY=VALUE", multiple=True, callback=_settings, help=about)(command)


def _settings(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key.isidentifier() or not equals:
            raise click.BadParameter("write it as KEY=VALUE, such as encoding=cp1252")
        if key in said:
            raise click.BadParameter(f"{key} is there twice; a list is KEY='[one, two]'")
        said[key] = _setting(key, value)
    return said


def _setting(key: str, text: str) -> Any:
    """As YAML, if it is a word, a list, a mapping or in quotes. What else there is stands for itself: `;`, `#`."""
    from importers.core.yaml_marks import read_yaml

    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if not (re.fullmatch(r"[\w.+-]*\w", text) or quoted or text[:1] in ("[", "{")):
        return text
    read = read_yaml(f"value: {text}\n", "--set")
    for problem in read.problems:
        raise click.BadParameter(f"{key}: {problem.what}")
    return read.value["value"]


def streams(command: Command) -> Command:
    return click.option("--stream", "streams", multiple=True, help="Only this stream; may be given several times.")(
        command
    )


def as_json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def full_refresh(command: Command) -> Command:
    return click.option("--full-refresh", is_flag=True, help="Everything again, not only what is new.")(command)


def window(command: Command) -> Command:
    for name, short, says in (("end", "to", "before this moment"), ("start", "from", "from this moment on")):
        about = f"As a backfill: {says} (ISO 8601 with its offset from UTC)."
        command = click.option(f"--{name}", f"--{short}", name, metavar="MOMENT", callback=_moment, help=about)(command)
    return command


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    from datetime import datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("write it as 2026-01-31T00:00:00+00:00") from None
    if moment.tzinfo is None:
        said = moment.isoformat()
        raise click.BadParameter(f"add the offset from UTC: {said}+00:00 is UTC, {said}+01:00 an hour ahead of it")
    return moment.isoformat()


def pipeline(command: Command) -> Command:
    """An argument `TENANT.PIPELINE`, taken apart."""
    return click.argument("job", metavar="TENANT.PIPELINE", callback=_apart)(command)


def reading(command: Command) -> Command:
    """What `plan`, `preview` and `run` have in common: what is to be read, given as `Reading`, and how to answer."""

    @wraps(command)
    def told(
        job: tuple[str, str],
        tenants: Path | None,
        streams: tuple[str, ...],
        start: str | None,
        end: str | None,
        full_refresh: bool,
        **more: Any,
    ) -> Any:
        from importers.core.model import Window

        file = _checked_file(tenants, *job)
        with _pointing_at(file, job[1]):
            return command(Reading(file.tenant, job[1], streams, Window(start, end), full_refresh), **more)

    for option in (as_json, full_refresh, window, streams, tenants, pipeline):
        told = option(told)
    return cast("Command", told)


def target(command: Command) -> Command:
    """An argument that may be left out, or name just a tenant."""
    return click.argument("target", metavar="[TENANT[.PIPELINE]]", required=False, callback=_apart)(command)


def _apart(_: click.Context, param: click.Parameter, text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    tenant, dot, name = text.partition(".")
    if not tenant or (not name and (dot or param.required)):
        raise click.BadParameter("name the pipeline as TENANT.PIPELINE, such as acme.listening")
    return tenant, name


@contextmanager
def _pointing_at(file: TenantFile, pipeline: str) -> Iterator[None]:
    """Say of columns that nobody classified in which file, and where, somebody should."""
    from importers.exceptions import UnclassifiedError

    try:
        yield
    except UnclassifiedError as error:
        ours = ("pipelines", pipeline)
        stream = (*ours, "streams", str(error.where.get("stream")))
        places = ((*stream, "privacy", "columns"), (*ours, "privacy", "columns"), ("privacy", "columns"), ours)
        path = next(path for path in places if path in file.lines or path == ours)
        raise error.at(file=file.file, line=file.line(path)) from None


def tenant_file(directory: Path | None, tenant: str, pipeline: str) -> Tenant:
    """The tenant that has the pipeline. Raises ConfigError for what is wrong with its file, by line."""
    return _checked_file(directory, tenant, pipeline).tenant


def _checked_file(directory: Path | None, tenant: str, pipeline: str) -> TenantFile:
    from importers.core.settings import pipeline_of
    from importers.pipeline.lint import check
    from importers.pipeline.tenants import DIRECTORY, find_tenant, read_tenant

    file = read_tenant(find_tenant(directory or DIRECTORY, tenant))
    pipeline_of(file.tenant, pipeline)
    for finding in check(file):  # knows the line, which the run itself doesn't
        raise finding
    return file


def described(directory: Path | None, tenant: str) -> Tenant:
    """The tenant as its file describes it. Raises ConfigError."""
    from importers.pipeline.tenants import DIRECTORY, find_tenant, read_tenant

    return read_tenant(find_tenant(directory or DIRECTORY, tenant)).tenant


def described_or_loaded(directory: Path | None, tenant: str) -> Tenant:
    """The tenant as its file describes it; of one that has none, but rows, nothing is known but its name.

    So it is where rows were imported from Python alone. Raises ConfigError for a file that is wrong, for a directory
    that is named and isn't there, and for a tenant that nobody has ever heard of.
    """
    from importers.core.tenant import Tenant
    from importers.exceptions import ConfigError
    from importers.ledger import history
    from importers.pipeline.installation import Installation
    from importers.pipeline.tenants import DIRECTORY, find_tenant, read_tenant

    try:
        file = find_tenant(directory or DIRECTORY, tenant)
    except ConfigError:
        if directory is not None and not directory.is_dir():  # mistyped: the file may well be where it was meant to be
            raise
        with history.reading(Installation.from_environment().warehouse) as connection:
            if not history.begun(connection) or not history.runs(connection, tenant, limit=1):
                raise
        return Tenant(tenant=tenant, pipelines={})
    return read_tenant(file).tenant


def matching(directory: Path | None, target: tuple[str, str] | None) -> list[tuple[Tenant, str]]:
    """The pipelines of all tenants, of one tenant, or the one. Raises ConfigError."""
    from importers.core.settings import pipeline_of
    from importers.pipeline.tenants import DIRECTORY, read_tenants, tenant_files

    if target is None:
        tenant_files(directory or DIRECTORY)  # raises if there is no such directory
        found, errors = read_tenants(directory or DIRECTORY)
        for error in errors:
            click.echo(str(error), err=True)
        return [(file.tenant, name) for file in found for name in file.tenant.pipelines]
    tenant = described(directory, target[0])
    if target[1]:
        pipeline_of(tenant, target[1])
    return [(tenant, name) for name in ([target[1]] if target[1] else tenant.pipelines)]


def with_quarantine(
    installation: Installation, directory: Path | None, target: tuple[str, str] | None
) -> list[tuple[Tenant, str]]:
    """As `matching`, and the pipelines that put rows into quarantine and that no file describes: Python imported them.

    Left out are those of a file that is wrong, which says how long they are kept. Raises ConfigError.
    """
    from importers.exceptions import ConfigError

    loaded = _quarantined(installation, target)
    found: list[tuple[Tenant, str]] = []
    try:
        found = matching(directory, target)
    except ConfigError as error:
        mistyped = directory is not None and not directory.is_dir()
        if not loaded or mistyped or "file" in error.where:
            raise
    described = {(tenant.tenant, pipeline) for tenant, pipeline in found}
    for name, pipeline in loaded:
        if (name, pipeline) not in described:
            with suppress(ConfigError):  # which `matching` has told
                found.append((described_or_loaded(directory, name), pipeline))
    return found


def _quarantined(installation: Installation, target: tuple[str, str] | None) -> list[tuple[str, str]]:
    from importers.ledger import history

    tenant, pipeline = target or (None, "")
    with history.reading(installation.warehouse) as connection:
        known = history.quarantined(connection, tenant) if history.begun(connection) else []
    return [one for one in known if pipeline in ("", one[1])]


@contextmanager
def destination_of(installation: Installation, tenant: Tenant, pipeline: str) -> Iterator[Destination | None]:
    """The warehouse as the pipeline sees it; None if nothing was ever run there, which looking doesn't change."""
    keys = installation.keyring().tenant(tenant.tenant)
    with closing(installation.open_destination(pipeline, keys)) as destination:
        yield None if destination.is_new() else destination
