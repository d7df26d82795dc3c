"""How Event Hubs is reached, by its Kafka endpoint and over AMQP.

Expected settings are those of Microsoft's quickstart for Kafka clients (azure-event-hubs-for-kafka, README) and of
librdkafka's CONFIGURATION.md.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from time import time
from typing import Any

import pytest
from pydantic import ValidationError

from importers.core.connection import Connection
from importers.exceptions import ConfigError, ContractError
from importers.sources.streaming._registered import CONFLUENT_PROTOBUF
from importers.sources.streaming.azure_event_hubs import EventHubs, EventHubsConfig, amqp_address, endpoint
from importers.transport.event_hubs import Namespace
from importers.transport.http.oauth import TokenEndpoint

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


def test_over_amqp_a_connection_that_lets_nobody_in_is_told_and_librdkafka_s_settings_are_refused() -> None:
    at = EventHubs(EventHubsConfig(topic="plays", protocol="amqp"), tenant="acme", connection=Connection({"host": "h"}))
    health = at.check()
    assert not health.ok
    assert "nothing says how to log in to Event Hubs" in health.detail
    with pytest.raises(ValidationError, match="over AMQP there are none"):
        EventHubsConfig(topic="plays", protocol="amqp", settings={"fetch.wait.max.ms": 1})


def test_over_amqp_the_key_is_in_no_representation() -> None:
    address = amqp_address(Connection({"sasl.password": KEY, "port": "5672", "ssl.ca.location": "/ca.pem"}), "hub")
    assert (address.host, address.policy, address.port) == ("plays.servicebus.windows.net", "listen", 5672)
    assert (address.key, address.authority) == ("c2VjcmV0PT0=", "/ca.pem")
    assert "c2VjcmV0" not in repr(address)


def test_over_amqp_microsoft_s_client_gets_the_tokens_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who grants them is ours: there is no Entra ID here. The client asks its credential with its own scope."""
    asked = []

    def granted(tokens: TokenEndpoint, _: Any) -> dict[str, Any]:
        asked.append(tokens)
        return {"access_token": "granted", "expires_in": 3600}

    monkeypatch.setattr(TokenEndpoint, "granted", granted)
    said = {"host": "plays.servicebus.windows.net", "tenant_id": "directory"}
    said |= {"sasl.oauthbearer.client.id": "me", "sasl.oauthbearer.client.secret": "kanarienvogel"}
    at = EventHubs(EventHubsConfig(topic="plays", protocol="amqp"), tenant="acme", connection=Connection(said))
    with closing(at), at._cluster() as again, at._cluster() as hubs:
        assert isinstance(again, Namespace)
        asyncio.run(again._clients._credential.get_token())
        assert isinstance(hubs, Namespace)
        assert "kanarienvogel" not in repr(hubs._clients._address)
        begun, client = time(), hubs._clients.made("plays")
        auth = asyncio.run(client._create_auth_async())
        assert auth.token_type == b"jwt"
        token = asyncio.run(auth.get_token())
    assert token.token == "granted"
    assert begun + 3599 <= token.expires_on <= time() + 3600
    (tokens,) = asked
    assert tokens.address == "https://login.microsoftonline.com/directory/oauth2/v2.0/token"
    assert tokens.scope == "https://eventhubs.azure.net/.default"
    assert client._address.hostname == "plays.servicebus.windows.net"


@pytest.mark.parametrize(
    ("protocol", "position", "fits"),
    [
        ("kafka", {"plays/0": 7}, True),
        ("kafka", {}, True),
        ("amqp", {}, True),
        ("amqp", {"plays": "amqp 2026-01-01T00:00:00+00:00", "plays/0": 7}, True),
        ("amqp", {"plays/0": 7}, False),
        ("amqp", {"plays": "a topic's id", "plays/0": 7}, False),
        ("kafka", {"plays": "amqp 2026-01-01T00:00:00+00:00", "plays/0": 7}, False),
    ],
)
def test_a_position_holds_for_the_protocol_that_it_was_read_by(
    protocol: str, position: dict[str, str | int], fits: bool
) -> None:
    at = EventHubs(EventHubsConfig(topic="plays", protocol=protocol), tenant="acme")
    now = {"plays": "amqp 2026-01-01T00:00:00+00:00"} if protocol == "amqp" else {}
    if fits:
        at._same(now, position)
    else:
        with pytest.raises(ContractError, match="other protocol"):
            at._same(now, position)
    assert at._is_another(now, position) is not fits
