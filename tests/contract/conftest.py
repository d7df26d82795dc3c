"""Servers for the worlds that need one, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.apicurio import Apicurio
from tests.services.kafka import Kafka
from tests.services.versitygw import S3Server, versitygw

from .world_brokers import Registered


@pytest.fixture(scope="session")
def registered(kafka: Kafka, apicurio: Apicurio) -> Registered:
    return Registered(kafka, apicurio)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with versitygw() as server:
        yield server
