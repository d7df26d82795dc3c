"""A stream as the tenant's file wants it loaded."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from importers.core.model import Column, PersonalData, Reads, Stream
from importers.core.settings import effective
from importers.core.tenant import Tenant
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
