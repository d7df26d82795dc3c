"""The tenant files of a directory. One that is broken never hides another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from importers.core.names import did_you_mean
from importers.core.tenant_file import Reading, TenantFile, examine
from importers.core.yaml_marks import MAX_CHARS
from importers.exceptions import ConfigError

DIRECTORY = Path("include/tenants")


def _any(_: str) -> bool:
    return True


def read_tenants(
    directory: str | Path, wanted: Callable[[str], bool] = _any
) -> tuple[list[TenantFile], list[ConfigError]]:
    """Every tenant whose file is right, and what is wrong with the other files: of those that are `wanted` by name."""
    tenants, errors = [], []
    for reading in examine_all(directory, wanted):
        errors += reading.findings
        if reading.whole is not None:
            tenants.append(reading.whole)
    return tenants, errors


def read_tenant(file: str | Path) -> TenantFile:
    """One tenant. Raises the first thing that is wrong with its file."""
    reading = examine_file(Path(file))
    if reading.whole is None:
        raise reading.findings[0]
    return reading.whole


def find_tenant(directory: str | Path, tenant: str) -> Path:
    """The file of a tenant. Raises ConfigError."""
    files = tenant_files(Path(directory))
    for file in files:
        if file.stem == tenant:
            return file
    raise ConfigError(
        f"there is no tenant '{tenant}' in {directory}", do=did_you_mean(tenant, [file.stem for file in files])
    )


def examine_all(place: str | Path, wanted: Callable[[str], bool] = _any) -> Iterator[Reading]:
    """Every tenant file of a directory whose name is `wanted`, or the one file, read and looked through."""
    place = Path(place)
    if place.is_file():
        yield examine_file(place)
        return
    seen: dict[str, Path] = {}
    try:
        files = [file for file in tenant_files(place) if wanted(file.stem)]
    except ConfigError as error:
        yield Reading(None, None, [error])
        return
    for file in files:
        twin = seen.setdefault(file.stem, file)
        if twin is file:
            yield examine_file(file)
        else:
            what = f"the tenant '{file.stem}' has two files"
            doubled = ConfigError(what, got=f"{twin.name} and {file.name}", do="keep one", file=str(file), line=1)
            yield Reading(None, None, [doubled])


def tenant_files(directory: Path) -> list[Path]:
    """The files of a directory that are tenants' (`*.yaml`, `*.yml`), in order. Raises ConfigError."""
    if not directory.is_dir():
        raise ConfigError(
            f"there is no directory {directory}", do="name that of the tenant files, or set IMPORTERS_TENANTS"
        )
    return sorted(
        path for path in directory.iterdir() if path.suffix in (".yaml", ".yml") and not path.name.startswith(".")
    )


def examine_file(file: Path) -> Reading:
    """Read and look through one file; its stem is the tenant's name."""
    try:
        if file.stat().st_size > 4 * MAX_CHARS:  # as UTF-8 a character has up to four bytes
            return _unreadable(file, "the file is too big")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return _unreadable(file, "the file isn't UTF-8")
    except OSError as error:
        return _unreadable(file, f"the file can't be read: {error.strerror}")
    reading = examine(text, str(file))
    named = reading.whole or reading.sound
    if named is None or named.tenant.tenant == file.stem:
        return reading
    misnamed = named.error(
        ("tenant",),
        "a tenant file is named after its tenant",
        got=f"tenant '{named.tenant.tenant}' in {file.name}",
        do=f"write `tenant: {file.stem}`, or rename the file to {named.tenant.tenant}{file.suffix}",
    )
    return Reading(None, reading.sound, [misnamed, *reading.findings])


def _unreadable(file: Path, what: str) -> Reading:
    return Reading(None, None, [ConfigError(what, file=str(file), line=1)])
