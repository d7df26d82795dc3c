"""Servers for the worlds that need one, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.versitygw import S3Server, versitygw


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with versitygw() as server:
        yield server
