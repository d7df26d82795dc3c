"""Azure Event Hubs by its Kafka endpoint: https://learn.microsoft.com/azure/event-hubs/azure-event-hubs-kafka-overview"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from importers.core.connection import Connection
from importers.core.model import JSON
from importers.exceptions import ConfigError
from importers.sources.streaming._kafka import TopicSource
from importers.sources.streaming._registered import AZURE, Framing
from importers.sources.streaming._registries import PREFIX, azure, confluent
from importers.sources.streaming._topic import Format, TopicConfig
from importers.transport.schema_registry import Registry

PORT = 9093
OURS: Mapping[str, JSON] = {
    "security.protocol": "SASL_SSL",
    "socket.keepalive.enable": True,
    "metadata.max.age.ms": 180_000,  # the service closes connections that were idle for four minutes
}


class EventHubsConfig(TopicConfig):
    """The connection names the namespace and says who reads."""

    topic: str = Field(
        min_length=1, max_length=256, description="The event hub, which Kafka calls a topic.", examples=["plays"]
    )


class EventHubs(TopicSource[EventHubsConfig]):
    """As `kafka` reads a topic. The namespace needs the standard tier or a higher one: the basic has no Kafka endpoint.

    The connection is one of Kafka's. Its extra holds a connection string with the right to listen as `sasl.password`.
    Or it holds an application of Microsoft Entra ID, `sasl.oauthbearer.client.id` and `sasl.oauthbearer.client.secret`,
    with the directory's id as `tenant_id` and the namespace, `NAME.servicebus.windows.net`, as `host`. Certificates of
    another authority than the system's are trusted if it says `ssl.ca.location`.

    Schemas of Avro come from the namespace's own registry, where the connection holds an application, as Azure's
    serializers for Kafka name them; or from one with Confluent's API, as with `kafka`, and so do those of Protobuf.
    """

    title: ClassVar[str] = "An event hub of Azure Event Hubs"
    config_model = EventHubsConfig
    connection_type: ClassVar[str | None] = "kafka"
    environment: ClassVar[Mapping[str, str]] = {"sasl.password": "EVENT_HUBS_CONNECTION_STRING"}

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
        return azure(self.tenant, said, str(_by_entra(said)["sasl.oauthbearer.token.endpoint.url"]))

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


def _by_string(said: Connection, text: str, hub: str | None) -> Mapping[str, JSON]:
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
    return {
        "bootstrap.servers": f"{host}:{said.get('port', PORT)}",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": text,
    }


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
