"""The JSON schema of tenant files, for editors: from the models that read them, with the short forms people write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from importers.core.registry import source_class, sources
from importers.core.tenant import Tenant, Treat
from importers.quality.gx import ROW_LEVEL
from importers.quality.vocabulary import COMPILED, conditionable

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]


def schema() -> _Schema:
    """JSON schema (draft 2020-12) of a tenant file: every source's settings and every rule's too."""
    configs = {name: source_class(name).config_model for name in sources()}
    models: list[type[BaseModel]] = [Tenant, *dict.fromkeys(configs.values()), *dict.fromkeys(COMPILED.values())]
    refs, made = models_json_schema([(model, "validation") for model in models])
    defs: dict[str, _Schema] = made["$defs"]
    at = {model: ref["$ref"].removeprefix("#/$defs/") for (model, _), ref in refs.items()}
    for model in set(configs.values()):
        defs[at[model]].pop("required", None)  # the tenant may give a part, the pipeline the rest
    defs["Treatment"] = _treatment(defs["Treatment"])
    defs["Expectation"] = _expectation(defs["Expectation"], {name: defs[at[kind]] for name, kind in COMPILED.items()})
    _settings(defs[at[Tenant]], defs["Pipeline"], {name: at[config] for name, config in configs.items()}, defs)
    for part in _objects(made):
        if "patternProperties" in part:
            part.setdefault("additionalProperties", False)
    return {"$schema": DIALECT, **defs.pop(at[Tenant]), "$defs": defs}


def _treatment(full: _Schema) -> _Schema:
    """`keep` · `{mask: date, unit: month}` · `{pseudonymise: {domain: listener}}` · `{treat: …}`."""
    more = {key: value for key, value in full["properties"].items() if key != "treat"}
    alone = [treat.value for treat in Treat if treat is not Treat.MASK]
    masked = {"required": ["mask"], "properties": {"treat": {"const": "mask"}, "mask": {"type": "string"}}}
    unmasked = {"properties": {"treat": {"enum": alone}, "mask": {"type": "null"}}}
    short: list[_Schema] = [
        {"type": "object", "properties": {treat: _nullable(_closed(more))}, "required": [treat]} | _NOTHING_ELSE
        for treat in (Treat.PSEUDONYMISE.value, Treat.ENCRYPT.value)
    ]
    return {
        "description": full["description"],
        "anyOf": [
            {"enum": alone},
            full | {"anyOf": [masked, unmasked]},
            _closed(more) | {"required": ["mask"], "properties": {**more, "mask": {"$ref": "#/$defs/Mask"}}},
            *short,
        ],
    }


def _expectation(full: _Schema, rules: dict[str, _Schema]) -> _Schema:
    """`expect_…: {column: NAME}`, with the settings of each rule; or type and settings apart."""
    mostly = full["properties"]["mostly"]
    short = {
        name: {
            "type": "object",
            "description": rule.get("description", ""),
            "properties": {
                **rule.get("properties", {}),
                "mostly": mostly,
                **(_CONDITION if conditionable(COMPILED[name]) else {}),
            },
            "required": rule.get("required", []),
            **_NOTHING_ELSE,
        }
        for name, rule in rules.items()
    } | {name: _nullable({"type": "object"}) for name in ROW_LEVEL}
    one = {"type": "object", "properties": short, "minProperties": 1, "maxProperties": 1, **_NOTHING_ELSE}
    named = full | {"properties": {**full["properties"], "type": {"enum": list(short)}}}
    return {"description": full["description"], "anyOf": [one, named]}


def _settings(tenant: _Schema, pipeline: _Schema, configs: dict[str, str], defs: dict[str, _Schema]) -> None:
    """Which settings an importer has: under the tenant's `importers`, and in a pipeline that uses it."""
    use: _Schema = {"enum": list(configs), "description": "The importer that these settings are for."}
    own = {name: defs[ref] | {"properties": {**defs[ref]["properties"], "use": use}} for name, ref in configs.items()}
    importers = tenant["properties"]["importers"]
    importers["properties"] = own
    importers["additionalProperties"] = {"type": "object", "properties": {"use": use}, "required": ["use"]}
    pipeline["properties"]["importer"] |= {"examples": list(configs)}
    cases = [
        {
            "if": {"properties": {"importer": {"const": name}}, "required": ["importer"]},
            "then": {"properties": {"config": {"$ref": f"#/$defs/{ref}"}}},
        }
        for name, ref in configs.items()
    ]
    if cases:
        pipeline["allOf"] = cases


_CONDITION: _Schema = {
    "row_condition": {
        "anyOf": [{"type": "string"}, {"type": "object", "required": ["type"]}],
        "description": 'Which rows the rule is about: `col("total") > 5`, or as Great Expectations writes it.',
    },
    "condition_parser": {"const": "great_expectations", "description": "Needn't be said."},
}
_NOTHING_ELSE: _Schema = {"additionalProperties": False}


def _closed(properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, **_NOTHING_ELSE}


def _nullable(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _objects(value: Any) -> Iterator[_Schema]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)
