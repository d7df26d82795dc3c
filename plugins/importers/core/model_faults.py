"""What a pydantic model refused, in the words of somebody who edits the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from importers.core.names import NAME, as_name, did_you_mean
from importers.core.secret_shapes import names_a_secret, secret_shape
from importers.core.yaml_marks import KeyPath, dotted

Placed: TypeAlias = Callable[[KeyPath], KeyPath]
HIDDEN = "a value that isn't shown"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, at one place of the data."""

    path: KeyPath
    what: str
    got: str = ""
    do: str = ""
    missing: bool = False


def faults(error: ValidationError, model: type[BaseModel], data: Any, placed: Placed = tuple) -> list[Fault]:
    """Every error of a validation, one fault each, at the deepest place that `data` really has.

    `placed` says where in the file a place of `data` is, if `data` isn't all of it.
    """
    details = list(_nearest_branches(error.errors(include_url=False, include_input=False), data))
    unknown: dict[KeyPath, list[str]] = {}
    for detail in details:
        if detail["type"] == "extra_forbidden":
            unknown.setdefault(detail["loc"][:-1], []).append(str(detail["loc"][-1]))
    return [
        _fault(detail, model, data, placed)
        for detail in details
        if not (detail["type"] == "missing" and _is_a_typo(detail["loc"], unknown))
    ]


def shown(path: KeyPath, value: Any) -> str:
    """A setting's value as a message may hold it: short, and nothing that is or may be a secret."""
    if value is None or isinstance(value, Mapping | list):
        return _kind(value)
    if _is_secret(path, value):
        return HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…'"


def _kind(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return "nothing" if value is None else "a single value"


def _is_secret(path: KeyPath, value: Any) -> bool:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    return names_a_secret(key) or (isinstance(value, str) and secret_shape(value) is not None)


def _fault(detail: ErrorDetails, model: type[BaseModel], data: Any, placed: Placed) -> Fault:
    """Of a setting in the file's own words; of what is missing at the top of `data`, or too much there, its name."""
    loc, kind = detail["loc"], detail["type"]
    missing = kind == "missing"
    path, value, synthetic = _locate(loc[:-1] if missing else loc, data)
    if missing:
        name = dotted(placed(path)) if path else ""
        what = f"`{loc[-1]}` is missing" + (f" in `{name}`" if name else "")
        return Fault(placed(path), what, do=f"add `{loc[-1]}: …`", missing=True)
    if kind == "extra_forbidden":
        around = path[:-1] if path[-1:] == loc[-1:] else path
        where = dotted(placed(around)) if around else ""
        what = f"there is no setting `{dotted((loc[-1],))}`" + (f" in `{where}`" if where else "")
        return Fault(placed(path), what, do=_known(str(loc[-1]), model, loc[:-1]))
    if synthetic == ["[key]"] and path:
        value = path[-1]
    elif synthetic and isinstance(value, Mapping) and len(value) == 1 and not _is_branch(synthetic[-1]):
        (value,) = value  # of a short form `{type: settings}`, it is the key that was refused
        path = (*path, str(value))
    got = shown(path, value) if path else _kind(value)
    what = f"`{dotted(placed(path))}` can't be this" if path else "the whole can't be this"
    return Fault(placed(path), what, got, _allowed(detail, value, model, got == HIDDEN))


def _allowed(detail: ErrorDetails, value: Any, model: type[BaseModel], hidden: bool) -> str:
    """What may stand here instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("enum", "literal_error"):
        options = re.findall(r"'([^']*)'", context["expected"])
        return did_you_mean(str(value), options) if options else f"allowed: {context['expected']}"
    if kind == "string_pattern_mismatch" and context["pattern"] == NAME:
        hint = "" if hidden else f", such as `{as_name(str(value))}`"
        return f"a name is a lower-case letter, then letters, digits and `_`, at most 48 in all{hint}"
    if kind == "value_error":
        return "" if hidden else str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"allowed: text that matches {context['pattern']}"
    if kind in ("model_type", "model_attributes_type"):
        return f"allowed: a mapping of {', '.join(_settings_at(model, detail['loc']))}"
    if kind == "float_parsing" and (percent := re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(value))):
        return f"a share is a number: {float(percent[1]) / 100:g}"
    if kind in _KINDS:
        text = "text in quotes, or " if kind in _LISTS and _takes_text(model, detail["loc"]) else ""
        return f"allowed: {text}{_KINDS[kind]}"
    if kind in _BOUNDS:
        return f"allowed: {_BOUNDS[kind].format(**context)}"
    return detail["msg"].replace("Input should be", "allowed:").replace("String should", "it should")


_LISTS = ("list_type", "tuple_type", "set_type", "frozen_set_type")
_KINDS = {
    **dict.fromkeys(("dict_type", "mapping_type"), "a mapping, `{key: value}`"),
    **dict.fromkeys(_LISTS, "a list, `[one, two]`"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text; put it in quotes",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
}


def _locate(loc: Sequence[str | int], data: Any) -> tuple[KeyPath, Any, list[str | int]]:
    """The part of `loc` that the data has, its value, and the parts that only pydantic knows (branches, defaults).

    A short form `{type: settings}` becomes `{type: …, **settings}` in a model: its settings are found where they are.
    """
    path: list[str | int] = []
    synthetic: list[str | int] = []
    for part in loc:
        if _has(data, part):
            path.append(part)
            data = data[part]
        elif isinstance(data, Mapping) and len(data) == 1 and _has(next(iter(data.values())), part):
            ((key, inner),) = data.items()
            path += [key, part]
            data = inner[part]
        else:
            synthetic.append(part)
    return tuple(path), data, synthetic


def _has(data: Any, part: str | int) -> bool:
    return (isinstance(data, Mapping) and part in data) or (isinstance(data, list) and part in range(len(data)))


def _nearest_branches(details: list[ErrorDetails], data: Any) -> Iterator[ErrorDetails]:
    """Of a union's branches, each of which failed, only the one that failed least: what the writer meant."""
    counts: dict[KeyPath, dict[str, int]] = {}
    branches: list[tuple[KeyPath, str] | None] = []
    for detail in details:
        path, _, synthetic = _locate(detail["loc"], data)
        tag = next((part for part in synthetic if _is_branch(part)), None)
        branches.append(None if tag is None else (path[: detail["loc"].index(tag)], str(tag)))
    for at, name in filter(None, branches):
        tags = counts.setdefault(at, {})
        tags[name] = tags.get(name, 0) + 1
    for detail, branch in zip(details, branches, strict=True):
        if branch is None or branch[1] == min(counts[branch[0]], key=counts[branch[0]].__getitem__):
            yield detail


def _is_branch(part: str | int) -> bool:
    """Pydantic names a union's branch by its class, its type or `function-…[…]`; no setting has such a name."""
    return isinstance(part, str) and part != "[key]" and (part[:1].isupper() or "[" in part or part in _TYPES)


_TYPES = frozenset(("int", "str", "float", "bool", "constrained-str", "constrained-int"))


def _is_a_typo(loc: KeyPath, unknown: Mapping[KeyPath, Sequence[str]]) -> bool:
    """Whether a missing key is there under a misspelt name: one fault says it all."""
    return any(f"did you mean '{loc[-1]}'" in did_you_mean(got, [str(loc[-1])]) for got in unknown.get(loc[:-1], ()))


def _known(got: str, model: type[BaseModel], loc: KeyPath) -> str:
    """The settings there are where `got` isn't one."""
    return did_you_mean(got, _settings_at(model, loc))


def _settings_at(model: type[BaseModel], loc: KeyPath) -> list[str]:
    """The settings that the model has at a place, in the order in which it has them."""
    annotation: Any = model
    for part in loc:
        annotation = next(_steps(annotation, part), None)
    return [
        field.alias or name
        for option in _options(annotation)
        if get_origin(option) is None and isinstance(option, type) and issubclass(option, BaseModel)
        for name, field in option.model_fields.items()
    ]


def _steps(annotation: Any, part: str | int) -> Iterator[Any]:
    """The type of what stands at `part` of a value of this type."""
    for option in _options(annotation):
        origin = get_origin(option)
        if isinstance(origin, type):
            yield get_args(option)[-1 if issubclass(origin, Mapping) else 0]
        elif isinstance(option, type) and issubclass(option, BaseModel):
            if part == option.__name__:
                yield option
            elif part in option.model_fields:
                yield option.model_fields[str(part)].annotation


def _takes_text(model: type[BaseModel], loc: KeyPath) -> bool:
    """Whether the list that stands there may also be written as one text."""
    schema: Any = model.model_json_schema()
    definitions = schema.get("$defs", {})
    for part in loc:
        schema = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
        schema = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
        if not isinstance(schema, Mapping):
            return False
    return any(option.get("type") == "string" for option in schema.get("anyOf", ()))


def _options(annotation: Any) -> list[Any]:
    """The alternatives of a union, without what Annotated adds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for part in get_args(annotation) for inner in _options(part)]
    return [annotation]
