"""Which words hold, by hand: the stream's over the pipeline's over the tenant's."""

from __future__ import annotations

import pytest

from importers.core.settings import effective, importer_settings, pipeline_of
from importers.core.tenant import Tenant, Treat
from importers.exceptions import ConfigError

TENANT = Tenant.model_validate(
    {
        "tenant": "acme",
        "importers": {"csv": {"delimiter": ";", "path": "x"}, "shop": {"use": "rest_api", "page_size": 5}},
        "privacy": {"purpose": "all", "retention": "P1Y", "columns": {"id": "keep", "mail": "drop"}},
        "pipelines": {
            "plays": {
                "importer": "csv",
                "config": {"path": "plays.csv"},
                "privacy": {"purpose": "plays", "columns": {"mail": {"mask": "email"}, "name": "drop"}},
                "expect": [{"expect_column_to_exist": {"column": "id"}}],
                "load": {"mode": "merge", "primary_key": "id", "lookback": 3},
                "streams": {
                    "deep": {
                        "privacy": {"columns": {"name": "keep"}, "retention": "P1D"},
                        "expect": [{"expect_column_to_exist": {"column": "name"}}],
                        "load": {"lookback": 0, "table": "t"},
                    },
                    "bare": None,
                },
            },
            "orders": {"importer": "shop", "config": {"page_size": 9}},
        },
    }
)


def test_a_stream_refines_what_it_names_and_inherits_the_rest() -> None:
    deep = effective(TENANT, "plays", "deep")
    assert [rule.columns for rule in deep.expect] == [("id",), ("name",)]
    assert (deep.load.mode, deep.load.primary_key, deep.load.lookback, deep.load.table) == ("merge", ("id",), 0, "t")
    assert (deep.privacy.purpose, deep.privacy.retention) == ("plays", "P1D")
    treats = {name: treatment.treat for name, treatment in deep.privacy.columns.items()}
    assert treats == {"id": Treat.KEEP, "mail": Treat.MASK, "name": Treat.KEEP}


@pytest.mark.parametrize("stream", ["bare", "not_in_the_file"])
def test_a_stream_that_says_nothing_has_its_pipelines_settings(stream: str) -> None:
    settings = effective(TENANT, "plays", stream)
    assert (settings.load.table, settings.load.lookback, settings.privacy.retention) == (None, 3, "P1Y")
    assert settings.privacy.columns["name"].treat is Treat.DROP
    assert len(settings.expect) == 1


def test_an_importers_settings_are_the_tenants_under_the_pipelines() -> None:
    assert importer_settings(TENANT, "plays") == ("csv", {"delimiter": ";", "path": "plays.csv"})
    assert importer_settings(TENANT, "orders") == ("rest_api", {"page_size": 9})
    assert TENANT.importers["csv"]["path"] == "x", "the tenant's own are untouched"


def test_a_pipeline_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'plays'") as raised:
        pipeline_of(TENANT, "play")
    assert raised.value.where["tenant"] == "acme"
