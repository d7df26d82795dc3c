"""A stream as the tenant's file wants it loaded."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from importers.core.model import Column, PersonalData, Reads, Stream
from importers.core.settings import effective
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError
from importers.keys.keyring import Keyring
from importers.pipeline.jobs import refine
from importers.privacy.policy import Policy

USERS = Stream("plays", (Column("user", pa.string(), PersonalData.IDENTIFIER),), Reads.POSITION, subject="user")


@pytest.mark.parametrize(
    ("said", "domain"),
    [
        ({}, "default"),  # as the source's author left it
        ({"subject": {"column": "user", "domain": "listener"}}, "listener"),
        ({"subject": {"none": True, "reason": "made up"}, "columns": {"user": "keep"}}, None),
    ],
)
def test_the_stream_s_subject_is_the_policy_s(said: dict[str, Any], domain: str | None) -> None:
    """By the stream's domain a load looks for erased subjects, by the policy's tokens are made."""
    tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"p": {"importer": "csv", "privacy": said}}})
    settings = effective(tenant, "p", "plays")
    stream = refine(USERS, settings)
    policy = Policy.build(settings.privacy, USERS, Keyring([bytes(32)]).tenant("acme"), embedded=True)
    assert stream.subject_domain == policy.subject_domain == domain
    assert stream.subject == (None if domain is None else "user")


@pytest.mark.parametrize(
    ("columns", "personal", "shown"),
    [
        ({"Ada": "keep"}, None, True),
        ({"*": "keep"}, None, False),  # perhaps the first record of a file without its header
        ({}, PersonalData.NONE, True),
    ],
)
def test_a_key_that_is_no_column_tells_names_only_where_one_of_them_is_known(
    columns: dict[str, Any], personal: PersonalData | None, *, shown: bool
) -> None:
    privacy = {"columns": columns, "reason": "made up"}
    pipeline = {"importer": "csv", "privacy": privacy, "load": {"mode": "merge", "primary_key": "id"}}
    tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"p": pipeline}})
    read = Stream("plays", tuple(Column(name, pa.string(), personal) for name in ("Ada", "Lovelace")), Reads.POSITION)
    with pytest.raises(ConfigError, match="the primary key 'id' isn't a column of plays") as refused:
        refine(read, effective(tenant, "p", "plays"))
    assert ("Lovelace" in str(refused.value)) is shown
