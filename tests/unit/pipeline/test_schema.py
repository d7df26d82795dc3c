"""The JSON schema is judged by another validator, and agrees with the models about right and wrong files."""

from __future__ import annotations

from typing import Any, ClassVar

import jsonschema
import pytest
from pydantic import Field
from ruamel.yaml import YAML

from importers.core.registry import sources
from importers.core.source import SourceConfig
from importers.core.tenant_file import examine
from importers.pipeline import schema as making


class Shelf(SourceConfig):
    """A shelf."""

    path: str = Field(description="Where the files are.")
    batch_size: int = 1000


class ShelfSource:
    config_model: ClassVar[type[SourceConfig]] = Shelf


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """By the schema of an installation that has one source: it takes a second to make and to check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "sources", lambda: {"shelf": "files"})
        patch.setattr(making, "source_class", lambda _: ShelfSource)
        made = making.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def in_pipeline(**parts: str) -> str:
    body = "".join(f"    {key}: {value}\n" for key, value in parts.items())
    return f"tenant: acme\npipelines:\n  plays:\n    importer: shelf\n{body}"


def privacy(treatment: str) -> str:
    return in_pipeline(privacy=f"{{columns: {{a: {treatment}}}}}")


RIGHT = {
    "least": in_pipeline(),
    "empty": "tenant: acme\npipelines: {}\n",
    "settings": "importers: {shelf: {batch_size: 2}, two: {use: shelf, path: x}}\n" + in_pipeline(config="{path: a}"),
    "half the settings": in_pipeline(config="{batch_size: 3}"),
    "two of a kind": "importers: {two: {use: shelf}}\ntenant: acme\npipelines: {a: {importer: two, config: {b: 1}}}",
    "keep": privacy("keep"),
    "mask": privacy("{mask: date, unit: year}"),
    "long mask": privacy("{treat: mask, mask: email}"),
    "domain": privacy("{pseudonymise: {domain: listener}}"),
    "long domain": privacy("{treat: pseudonymise, domain: listener}"),
    "encrypt": privacy("{encrypt: {deterministic: true}}"),
    "subject": in_pipeline(privacy="{subject: {column: a, domain: b}}"),
    "no subject": in_pipeline(privacy="{subject: {none: true, reason: machines}}"),
    "rule": in_pipeline(expect="[{expect_column_values_to_be_between: {column: a, min_value: 0, mostly: 0.9}}]"),
    "rule of GX": in_pipeline(expect="[{expect_column_values_to_be_json_parseable: {column: a}}]"),
    "long rule": in_pipeline(expect="[{type: expect_column_to_exist, kwargs: {column: a}}]"),
    "one key": in_pipeline(load="{primary_key: id, mode: merge}"),
    "keys": in_pipeline(load="{primary_key: [id, day], table: t, shared: true}"),
    "streams": in_pipeline(streams="{a: {}, b: {load: {mode: append}}, c: null}"),
    "periods": in_pipeline(deadline="PT30M", staging_ttl="P1DT2H", quarantine="{retention: P2Y, max_fraction: 0}"),
}
WRONG = {
    "no tenant": "pipelines: {}\n",
    "no pipelines": "tenant: acme\n",
    "name": "tenant: Acme\npipelines: {}\n",
    "pipeline's name": "tenant: acme\npipelines: {My-Plays: {importer: shelf}}\n",
    "key": in_pipeline(schedul="'@daily'"),
    "mode": in_pipeline(load="{mode: merg}"),
    "treatment": privacy("pseudonymize"),
    "mask alone": privacy("mask"),
    "kind of mask": privacy("{mask: mail}"),
    "kind but no mask": privacy("{treat: keep, mask: email}"),
    "mask but no kind": privacy("{treat: mask}"),
    "domain of a mask": privacy("{pseudonymise: {domain: The Listeners}}"),
    "treatment and more": privacy("{pseudonymise: {}, other: 1}"),
    "subject": in_pipeline(privacy="{subject: none}"),
    "half a subject": in_pipeline(privacy="{subject: {column: a}}"),
    "period": in_pipeline(deadline="30m"),
    "no period": in_pipeline(deadline="P"),
    "no time": in_pipeline(deadline="P1DT"),
    "fraction": in_pipeline(quarantine="{max_fraction: 5}"),
    "rule's name": in_pipeline(expect="[{not_null: {column: a}}]"),
    "two rules in one": in_pipeline(expect="[{expect_column_to_exist: {column: a}, column: b}]"),
    "mostly": in_pipeline(expect="[{expect_column_values_to_not_be_null: {column: a, mostly: 9}}]"),
    "stream": in_pipeline(streams="{a: 5}"),
    "list": in_pipeline(alerts="slack"),
    "parallel": in_pipeline(max_parallel="0"),
}
ONLY_LINT = {  # the models leave these to lint; the schema, for editors, has them
    "setting": in_pipeline(config="{path: a, batch: 3}"),
    "kind of setting": in_pipeline(config="{path: [a]}"),
    "tenant's setting": "importers: {shelf: {batch: 3}}\n" + in_pipeline(),
    "use": "importers: {two: {use: shelv}}\n" + in_pipeline(),
    "no use": "importers: {two: {}}\n" + in_pipeline(),
    "unknown rule": in_pipeline(expect="[{expect_colum_to_exist: {column: a}}]"),
    "rule's setting": in_pipeline(expect="[{expect_column_to_exist: {colum: a}}]"),
}


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_right_files_are_right_to_both(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert [error.message for error in validator.iter_errors(load(text))] == []
    assert examine(text, "acme.yaml").findings == []


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_wrong_files_are_wrong_to_both(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert not validator.is_valid(load(text))
    assert examine(text, "acme.yaml").findings


@pytest.mark.parametrize("text", ONLY_LINT.values(), ids=ONLY_LINT)
def test_settings_and_rules_are_in_the_schema(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert not validator.is_valid(load(text))


def test_an_editor_can_show_what_a_setting_is(validator: jsonschema.Draft202012Validator) -> None:
    path = validator.schema["properties"]["importers"]["properties"]["shelf"]["properties"]["path"]
    assert path["description"] == "Where the files are."


def test_the_schema_of_every_real_source_is_a_schema() -> None:
    made = making.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["$defs"]["Pipeline"]["properties"]["importer"]["examples"] == list(sources())
