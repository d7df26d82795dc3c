"""A tenant file: its text as the model, with the line of everything, and everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from importers.core.model_faults import Fault, faults
from importers.core.secret_shapes import INSTEAD, names_a_secret, secret_shape
from importers.core.tenant import Tenant
from importers.core.yaml_marks import KeyPath, dotted, read_yaml
from importers.exceptions import ConfigError


@dataclass(frozen=True, slots=True)
class TenantFile:
    """A tenant, and where in which file everything about it stands."""

    tenant: Tenant
    file: str
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        """The line of a key or item, or of the nearest thing around it that the file has."""
        return nearest_line(self.lines, path)

    def error(self, path: KeyPath, what: str, *, got: str = "", do: str = "") -> ConfigError:
        """A ConfigError that points at `path`."""
        return ConfigError(what, got=got, do=do, file=self.file, line=self.line(path))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text gave. `whole` only if nothing is wrong; `sound` is what may still be checked: never run it."""

    whole: TenantFile | None
    sound: TenantFile | None
    findings: list[ConfigError]


def parse_tenant(text: str, file: str) -> TenantFile:
    """The tenant of a text. Raises the first of its `findings`."""
    reading = examine(text, file)
    if reading.whole is None:
        raise reading.findings[0]
    return reading.whole


def findings(text: str, file: str) -> list[ConfigError]:
    """Everything that is wrong with a text by itself, by line. What needs the importers is `pipeline.lint`'s."""
    return examine(text, file).findings


def examine(text: str, file: str) -> Reading:
    """The tenant of a text, as far as it holds one, and everything that is wrong."""
    marked = read_yaml(text, file)
    secrets = list(_secret_settings(marked.value, ()))
    found = [*marked.problems, *_secret_shapes(text, file)]
    located = partial(_located, file, marked.lines)
    found += [located(fault) for fault in secrets]
    if marked.value is None and marked.problems:
        return Reading(None, None, _in_order(found))
    tenant, wrong = _modelled(marked.value)
    hidden = {fault.path for fault in secrets}
    told = _with_undecided(wrong, marked.value) if wrong else []  # if nothing else is wrong, `pipeline.lint` tells
    found += [located(fault) for fault in told if fault.path not in hidden]
    if tenant:
        whole = TenantFile(tenant, file, marked.lines)
        return Reading(whole if not found else None, whole, _in_order(found))
    return Reading(None, _sound(marked.value, wrong, file, marked.lines), _in_order(found))


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _located(file: str, lines: Mapping[KeyPath, int], fault: Fault) -> ConfigError:
    return ConfigError(fault.what, got=fault.got, do=fault.do, file=file, line=nearest_line(lines, fault.path))


def _modelled(value: Any) -> tuple[Tenant | None, list[Fault]]:
    try:
        return Tenant.model_validate(value), []
    except ValidationError as error:
        return None, faults(error, Tenant, value)


def _sound(value: Any, wrong: list[Fault], file: str, lines: Mapping[KeyPath, int]) -> TenantFile | None:
    """The tenant without the pipelines that are wrong, so that one mistake doesn't hide those of other pipelines."""
    pipelines = value.get("pipelines") if isinstance(value, dict) else None
    if not isinstance(pipelines, dict) or any(fault.path[:1] != ("pipelines",) for fault in wrong):
        return None
    broken = {fault.path[1] for fault in wrong if len(fault.path) > 1}
    rest = {**value, "pipelines": {name: pipeline for name, pipeline in pipelines.items() if name not in broken}}
    tenant, _ = _modelled(rest)
    return TenantFile(tenant, file, lines) if tenant else None


def undecided(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """What `importers init` left for a person to say."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from undecided(inner, (*path, key))
    elif isinstance(value, str) and re.match(r"TODO\b", value):
        do = value.removeprefix("TODO").strip(" :") or "say it"
        yield Fault(path, f"`{dotted(path)}` isn't decided yet", do=do)


def _with_undecided(wrong: list[Fault], value: Any) -> list[Fault]:
    """A word that stands where a person has to decide is refused as such, and nothing else hides it."""
    refused = {fault.path: fault for fault in wrong}
    left = [replace(refused.get(fault.path, fault), what=fault.what, got="") for fault in undecided(value)]
    return [*(fault for fault in wrong if fault.path not in {one.path for one in left}), *left]


def _in_order(found: list[ConfigError]) -> list[ConfigError]:
    return sorted(found, key=lambda error: int(error.where.get("line", 1)))


def _secret_shapes(text: str, file: str) -> Iterator[ConfigError]:
    """Lines that hold what looks like a secret, comments too, and also where the YAML can't be read."""
    if secret_shape(text) is None:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        kind = secret_shape(line)
        if kind:
            yield ConfigError(f"this looks like {kind}", do=INSTEAD, file=file, line=number)


def _secret_settings(value: Any, path: KeyPath) -> Iterator[Fault]:
    """Settings that are named like a secret. The columns of a policy are data's names, not settings."""
    if path[-2:] == ("privacy", "columns"):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secret_settings(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _secret_settings(item, (*path, number))
    elif path and names_a_secret(str(path[-1])) and _holds_a_secret(value):
        yield Fault(path, f"`{dotted(path)}` looks like a secret", do=INSTEAD)


def _holds_a_secret(value: Any) -> bool:
    """What has a secret's shape doesn't count here: it is reported by its line."""
    return value not in (None, "", True, False) and secret_shape(str(value)) is None
