"""What a tenant may set of Kafka's client, and what only the connection may.

The names are those of librdkafka's CONFIGURATION.md, sorted by hand into what tunes a reader and what
reaches a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException
from pydantic import ValidationError

from importers.core.connection import Connection
from importers.sources.streaming import _kafka
from importers.sources.streaming._kafka import TopicSource
from importers.sources.streaming._topic import TUNING
from importers.sources.streaming.azure_event_hubs import EventHubs, EventHubsConfig
from importers.sources.streaming.kafka import Kafka, KafkaConfig

REACHING = {
    "bootstrap.servers": "evil:9092",
    "metadata.broker.list": "evil:9092",
    "client.dns.lookup": "resolve_canonical_bootstrap_servers_only",
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.mechanisms": "PLAIN",
    "sasl.username": "ada",
    "sasl.kerberos.kinit.cmd": "touch /tmp/here",
    "sasl.kerberos.keytab": "/etc/passwd",
    "sasl.oauthbearer.config": "principal=admin",
    "sasl.oauthbearer.token.endpoint.url": "https://evil/",
    "sasl.oauthbearer.assertion.file": "/etc/passwd",
    "enable.sasl.oauthbearer.unsecure.jwt": True,
    "enable.ssl.certificate.verification": False,
    "ssl.endpoint.identification.algorithm": "none",
    "ssl.ca.location": "/tmp/evil.pem",
    "ssl.ca.pem": "evil",
    "ssl.key.location": "/tmp/evil.pem",
    "ssl.cipher.suites": "NULL",
    "ssl.engine.location": "/tmp/evil.so",
    "ssl.providers": "evil",
    "https.ca.location": "/tmp/evil.pem",
    "plugin.library.paths": "/tmp/evil.so",
    "debug": "all",
    "a.setting.of.tomorrow": 1,
}
EXACT = ("isolation.level", "api.version.request", "broker.version.fallback", "enable.auto.commit", "group.id")
CONNECTION = {"sasl.password": "Endpoint=sb://plays.example/;SharedAccessKeyName=n;SharedAccessKey=k"}
CONFIGS = [KafkaConfig, EventHubsConfig]


def settings_of(source: TopicSource[Any], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    given: list[Mapping[str, Any]] = []
    monkeypatch.setattr(_kafka, "Cluster", lambda settings, **_: given.append(settings))
    source._cluster()
    return given[0]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", REACHING)
def test_what_reaches_a_cluster_is_refused(config: type[KafkaConfig], name: str) -> None:
    with pytest.raises(ValidationError, match="belong into the connection") as wrong:
        config(topic="plays", settings={name: REACHING[name]})
    assert name in str(wrong.value)


@pytest.mark.parametrize("name", EXACT)
def test_what_exactness_hangs_on_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        KafkaConfig(topic="plays", settings={name: "x"})


@pytest.mark.parametrize("name", sorted(TUNING))
def test_what_tunes_is_taken_and_librdkafka_knows_it(name: str) -> None:
    KafkaConfig(topic="plays", settings={name: 1})
    assert "No such configuration property" not in refusal(name)


def test_librdkafka_says_what_it_does_not_know() -> None:
    assert "No such configuration property" in refusal("a.setting.of.tomorrow")


def refusal(name: str) -> str:
    try:
        Consumer({"group.id": "g", name: "no such value"}).close()
    except KafkaException as error:
        return str(error)
    return ""


def test_the_connection_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes into `settings`, if need be past the check of the file."""
    settings = {"bootstrap.servers": "evil:9092", "fetch.min.bytes": 7, "fetch.max.bytes": 9_000}
    config = KafkaConfig(topic="plays").model_copy(update={"settings": settings})
    said = {"bootstrap.servers": "right:9092", "fetch.min.bytes": 1}
    got = settings_of(Kafka(config, tenant="acme", connection=Connection(said)), monkeypatch)
    assert got == said | {"fetch.max.bytes": 9_000}


def test_event_hubs_are_reached_by_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"security.protocol": "SASL_PLAINTEXT", "bootstrap.servers": "evil:9092", "ssl.ca.location": "/evil"}
    config = EventHubsConfig(topic="plays").model_copy(update={"settings": settings})
    trusting = Connection(CONNECTION | {"ssl.ca.location": "/right"})
    got = settings_of(EventHubs(config, tenant="acme", connection=trusting), monkeypatch)
    assert got["security.protocol"] == "SASL_SSL"
    assert (got["bootstrap.servers"], got["ssl.ca.location"]) == ("plays.example:9093", "/right")
