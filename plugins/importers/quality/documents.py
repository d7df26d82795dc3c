"""Rules on JSON in a column's text, by the library `jsonschema`, which Great Expectations takes, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import polars as pl

from importers.core.registry import optional
from importers.exceptions import ConfigError, ContractError
from importers.quality.columns import Columns
from importers.quality.rowwise import Judged, RowRule, known

_EXTRA = "great-expectations"
_DEEP = 50  # levels: what is less deep any schema can be asked of


class MatchJsonSchema(RowRule):
    """The text is JSON, and such as the JSON schema wants it. Text that isn't JSON is bad.

    Great Expectations itself gives up on a batch with such text, and fetches what a `$ref` names for each row, from
    whatever host or file the machine reaches. Here a schema refers to itself alone.
    """

    column: str
    json_schema: dict[str, Any]

    def check_arguments(self) -> None:
        """Raises ConfigError for what is no schema, and for a reference that leads out of it; MissingExtraError."""
        super().check_arguments()
        errors = optional("jsonschema.exceptions", _EXTRA)
        try:
            self._validator.check_schema(self.json_schema)
        except errors.SchemaError as error:
            place = "".join(f"[{step!r}]" for step in error.absolute_path)
            raise ConfigError(f"`json_schema`{place} isn't what a JSON schema has", got=error.message) from None
        known_by = optional("referencing.jsonschema", _EXTRA)
        kind = known_by.specification_with(self._validator.META_SCHEMA["$schema"])
        schema = kind.create_resource(self.json_schema)
        _check_references(self._registry.resolver_with_root(schema), schema, kind, set())

    @cached_property
    def _registry(self) -> Any:
        """It has the drafts' own schemas, and fetches nothing."""
        return optional("jsonschema_specifications", _EXTRA).REGISTRY

    @cached_property
    def _validator(self) -> Any:
        library = optional("jsonschema.validators", _EXTRA)
        kind = library.validator_for(self.json_schema, default=library.Draft202012Validator)
        return kind(self.json_schema, registry=self._registry)

    def judged(self, at: Columns) -> Judged:
        x = at(self.column)
        return known(x, x.text().map_batches(self._hold, return_dtype=pl.Boolean, is_elementwise=True))

    def _hold(self, texts: pl.Series) -> pl.Series:
        """Each text once, however often it is there."""
        distinct = texts.unique()
        holds = pl.Series([None if text is None else self._holds(text) for text in distinct], dtype=pl.Boolean)
        return texts.replace_strict(distinct, holds, return_dtype=pl.Boolean)

    def _holds(self, text: str) -> bool:
        """What the schema can't be asked of, as it is too deep or no number of JSON's, isn't such as it wants."""
        try:
            return bool(self._validator.is_valid(json.loads(text)))
        except (ValueError, ArithmeticError):
            return False
        except RecursionError:
            if text.count("[") + text.count("{") < _DEEP:
                raise ContractError("`json_schema` refers to itself without end", do="mend its `$ref`s") from None
            return False


def _check_references(resolver: Any, schema: Any, kind: Any, seen: set[int]) -> None:
    """Those of a schema, of the schemas in it and of what it refers to in itself."""
    said = schema.contents
    if id(said) in seen:
        return
    seen.add(id(said))
    found = [said.get(word) for word in ("$ref", "$dynamicRef")] if isinstance(said, Mapping) else []
    for reference in (each for each in found if isinstance(each, str)):
        try:
            there = resolver.lookup(reference)
        except optional("referencing.exceptions", _EXTRA).Unresolvable:
            raise ConfigError(
                "a `$ref` of `json_schema` leads out of it, and nothing is fetched",
                got=reference,
                do="put what it names into `$defs`, and refer to `#/$defs/…`",
            ) from None
        if not isinstance(there.contents, Mapping | bool):
            raise ConfigError("a `$ref` of `json_schema` leads to what is no schema", got=reference, do="correct it")
        _check_references(there.resolver, kind.create_resource(there.contents), kind, seen)
    for inner in schema.subresources():
        _check_references(resolver.in_subresource(inner), inner, kind, seen)
