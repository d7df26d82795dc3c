"""Servers for the worlds that need one, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.kafka import Kafka, kafka_server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    with kafka_server(own=True) as broker:
        yield broker
