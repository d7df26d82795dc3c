"""Azure Event Hubs, by its Kafka endpoint or over AMQP.

https://learn.microsoft.com/azure/event-hubs/azure-event-hubs-kafka-overview
https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.model import JSON, Position
from importers.exceptions import ConfigError, ContractError
from importers.sources.streaming._kafka import TopicSource
from importers.sources.streaming._registered import AZURE, Framing
from importers.sources.streaming._registries import PREFIX, azure, confluent, entra
from importers.sources.streaming._topic import Format, TopicConfig
from importers.transport.event_hubs import OVER_AMQP, Namespace
from importers.transport.event_hubs_client import Address
from importers.transport.http.oauth import OAuth2
from importers.transport.partitioned import Broker
from importers.transport.schema_registry import Registry

PORT = 9093
OURS: Mapping[str, JSON] = {
    "security.protocol": "SASL_SSL",
    "socket.keepalive.enable": True,
    "metadata.max.age.ms": 180_000,  # the service closes connections that were idle for four minutes
}


class Protocol(StrEnum):
    """What is spoken with the namespace."""

    KAFKA = "kafka"
    AMQP = "amqp"


class EventHubsConfig(TopicConfig):
    """The connection names the namespace and says who reads."""

    topic: str = Field(
        min_length=1, max_length=256, description="The event hub, which Kafka calls a topic.", examples=["plays"]
    )
    protocol: Protocol = Field(
        Protocol.KAFKA,
        description="How the namespace is reached: by its `kafka` endpoint (port 9093), or over `amqp` (port 5671), as "
        "Event Hubs' own clients do, where the tier or a firewall leaves no other. A position holds for one of them.",
    )

    @model_validator(mode="after")
    def _for_kafka(self) -> Self:
        if self.protocol is Protocol.AMQP and self.settings:
            raise ValueError("`settings` are librdkafka's: over AMQP there are none")
        return self


class EventHubs(TopicSource[EventHubsConfig]):
    """As `kafka` reads a topic, whichever protocol is used. The basic tier has no Kafka endpoint: there it takes
    `protocol: amqp`, and the extra `azure-event-hubs`.

    Over AMQP `message_offset` is the sequence number, `message_key` the partition key, `message_timestamp` when the
    service took the event in, and `message_headers` are the application's properties, before them the content type. The
    consumer group has to be there, and is `$Default` where the file names none; where it stands nobody keeps but the
    warehouse. This was tried with a broker of our own, Apache Qpid's AMQP with what
    Microsoft's client asks for beyond it, as the Kafka endpoint was with a Kafka of its settings; neither in Azure, nor
    over AMQP a login by an application.

    The connection is one of Kafka's. Its extra holds a connection string with the right to listen as `sasl.password`.
    Or it holds an application of Microsoft Entra ID, `sasl.oauthbearer.client.id` and `sasl.oauthbearer.client.secret`,
    with the directory's id as `tenant_id` and the namespace, `NAME.servicebus.windows.net`, as `host`; it needs the
    role Azure Event Hubs Data Receiver. Certificates of another authority than the system's are trusted if it says
    `ssl.ca.location`.

    Schemas of Avro come from the namespace's own registry, where the connection holds an application, as Azure's
    serializers for Kafka name them; or from one with Confluent's API, as with `kafka`, and so do those of Protobuf.
    """

    title: ClassVar[str] = "An event hub of Azure Event Hubs"
    config_model = EventHubsConfig
    connection_type: ClassVar[str | None] = "kafka"
    environment: ClassVar[Mapping[str, str]] = {"sasl.password": "EVENT_HUBS_CONNECTION_STRING"}
    worth: ClassVar[int | None] = None  # of a group it takes five readers at most, and gives two no more than one

    @property
    def framing(self) -> Framing:
        if f"{PREFIX}url" in (self.connection or {}):
            return super().framing
        if self.config.format is Format.PROTOBUF:
            what = "schemas of Protobuf come from a registry with Confluent's API"
            raise ConfigError(what, do=f"set `{PREFIX}url` in the connection")
        return AZURE

    def registry(self) -> Registry:
        said = self.connection or Connection({})
        if self.framing is not AZURE:
            return confluent(self.tenant, said)
        missing = [name for name in _ENTRA if not said.get(name)]
        if missing:
            raise ConfigError(
                "nothing says where the schemas are, or who asks for them",
                got=f"a connection without {', '.join(missing)}",
                do=f"give an application of Entra ID with the role Schema Registry Reader, or set `{PREFIX}url`",
            )
        return azure(self.tenant, said, self._tokens)

    @cached_property
    def _tokens(self) -> OAuth2:
        """Of the connection's application. A token isn't asked for again by the next client."""
        said = self.connection or Connection({})
        return entra(self.tenant, said, str(_by_entra(said)["sasl.oauthbearer.token.endpoint.url"]))

    def close(self) -> None:
        close_kept(self, "_tokens")

    def _cluster(self) -> Broker:
        if self.config.protocol is Protocol.KAFKA:
            return super()._cluster()
        said = self.connection or Connection({})
        address = amqp_address(said, self.config.topic)
        address = address if address.key else replace(address, tokens=self._tokens)
        group, at_once = self.config.consumer_group, self.config.max_poll_records
        return Namespace(address, group=group, timeout=self.config.timeout, extra="azure-event-hubs", at_once=at_once)

    def _is_another(self, now: Mapping[str, str], position: Position) -> bool:
        return self._is_of_another_protocol(position) or super()._is_another(now, position)

    def _same(self, now: Mapping[str, str], position: Position) -> None:
        if self._is_of_another_protocol(position):
            raise ContractError(
                f"the position of '{self.config.topic}' is one of the other protocol, which counts otherwise",
                do="set `protocol` as it was, or read it anew by a full refresh with load.mode merge",
            )
        super()._same(now, position)

    def _is_of_another_protocol(self, position: Position) -> bool:
        was_amqp = str(position.get(self.config.topic, "")).startswith(OVER_AMQP)
        return bool(position) and was_amqp is not (self.config.protocol is Protocol.AMQP)

    def reached_by(self) -> Mapping[str, JSON]:
        said = self.connection or Connection({})
        trusted = {name: said[name] for name in ("ssl.ca.location",) if name in said}
        return {**OURS, **trusted, **endpoint(said, self.config.topic)}


def endpoint(said: Connection, hub: str | None = None) -> Mapping[str, JSON]:
    """How the Kafka endpoint is reached that the connection names. Raises ConfigError, which shows nothing of it."""
    text = said.get("sasl.password")
    if isinstance(text, str):
        return _by_string(said, text, hub)
    missing = [name for name in _ENTRA if not said.get(name)]
    if missing:
        raise ConfigError(
            "nothing says how to log in to Event Hubs",
            got=f"a connection without sasl.password, and without {', '.join(missing)}",
            do="make a connection string its `sasl.password`, or give an application of Entra ID",
        )
    return _by_entra(said)


_ENTRA = ("host", "tenant_id", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret")


def amqp_address(said: Connection, hub: str) -> Address:
    """Without a key for an application, which gets tokens. Raises ConfigError, as `endpoint` does."""
    port, authority = said.get("port"), said.get("ssl.ca.location")
    at: dict[str, Any] = {"port": None if port is None else int(str(port))}
    at["authority"] = None if authority is None else str(authority)
    text = said.get("sasl.password")
    if isinstance(text, str):
        parts = _parts(text, hub)
        host = urlsplit(parts["Endpoint"]).hostname or ""
        return Address(host, parts["SharedAccessKeyName"], parts["SharedAccessKey"], **at)
    endpoint(said)
    return Address(str(said["host"]), **at)


def _by_string(said: Connection, text: str, hub: str | None) -> Mapping[str, JSON]:
    return {
        "bootstrap.servers": f"{urlsplit(_parts(text, hub)['Endpoint']).hostname}:{said.get('port', PORT)}",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": text,
    }


def _parts(text: str, hub: str | None) -> Mapping[str, str]:
    """Of a connection string. Raises ConfigError if it isn't one for the hub."""
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
    host = urlsplit(parts.get("Endpoint", "")).hostname
    if not host or not parts.get("SharedAccessKeyName") or not parts.get("SharedAccessKey"):
        raise ConfigError(
            "the connection string lacks a part",
            got=", ".join(sorted(parts.keys() & {"Endpoint", "SharedAccessKeyName", "SharedAccessKey"})),
            do="copy it whole from the portal: Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…",
        )
    if hub is not None and parts.get("EntityPath", hub) != hub:
        raise ConfigError("the connection string is for another event hub", do=f"use one for '{hub}', or for them all")
    return parts


def _by_entra(said: Connection) -> Mapping[str, JSON]:
    directory = f"https://login.microsoftonline.com/{said['tenant_id']}/oauth2/v2.0/token"
    return {
        "bootstrap.servers": f"{said['host']}:{said.get('port', PORT)}",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": said["sasl.oauthbearer.client.id"],
        "sasl.oauthbearer.client.secret": said["sasl.oauthbearer.client.secret"],
        "sasl.oauthbearer.token.endpoint.url": directory,
        "sasl.oauthbearer.scope": f"https://{said['host']}/.default",
    }
