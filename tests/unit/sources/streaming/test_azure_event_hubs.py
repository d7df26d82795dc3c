"""How Event Hubs' Kafka endpoint is reached.

Expected settings are those of Microsoft's quickstart for Kafka clients (azure-event-hubs-for-kafka, README) and of
librdkafka's CONFIGURATION.md.
"""

from __future__ import annotations

import pytest

from importers.core.connection import Connection
from importers.exceptions import ConfigError
from importers.sources.streaming._registered import CONFLUENT_PROTOBUF
from importers.sources.streaming.azure_event_hubs import EventHubs, EventHubsConfig, endpoint

KEY = "Endpoint=sb://plays.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=c2VjcmV0PT0="


def test_by_connection_string() -> None:
    assert endpoint(Connection({"sasl.password": KEY}), "hub") == {
        "bootstrap.servers": "plays.servicebus.windows.net:9093",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": KEY,
    }


def test_by_an_application_of_entra_id() -> None:
    said = {"host": "plays.servicebus.windows.net", "tenant_id": "directory"}
    said |= {"sasl.oauthbearer.client.id": "me", "sasl.oauthbearer.client.secret": "s"}
    got = endpoint(Connection(said), "hub")
    assert got["sasl.oauthbearer.token.endpoint.url"] == "https://login.microsoftonline.com/directory/oauth2/v2.0/token"
    assert got["sasl.oauthbearer.scope"] == "https://plays.servicebus.windows.net/.default"
    assert (got["sasl.mechanism"], got["sasl.oauthbearer.method"]) == ("OAUTHBEARER", "oidc")
    assert got["bootstrap.servers"] == "plays.servicebus.windows.net:9093"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "nothing says how to log in"),
        ({"host": "h"}, "tenant_id"),
        ({"sasl.password": KEY.replace("SharedAccessKeyName=listen;", "")}, "lacks a part"),
        ({"sasl.password": KEY + ";EntityPath=other"}, "another event hub"),
        ({"sasl.password": "c2VjcmV0"}, "lacks a part"),
    ],
)
def test_what_is_wrong_is_told_and_the_secret_is_not(said: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as wrong:
        endpoint(Connection(said), "hub")
    assert "c2VjcmV0" not in str(wrong.value)


def test_protobuf_wants_a_registry_with_confluent_s_api() -> None:
    config = EventHubsConfig(topic="plays", format="protobuf")
    with pytest.raises(ConfigError, match=r"Confluent's API.*schema\.registry\.url"):
        EventHubs(config, tenant="acme", connection=Connection({"sasl.password": KEY})).registry()
    said = Connection({"sasl.password": KEY, "schema.registry.url": "https://registry.example"})
    assert EventHubs(config, tenant="acme", connection=said).framing is CONFLUENT_PROTOBUF
