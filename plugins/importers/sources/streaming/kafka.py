"""Apache Kafka, and what speaks its protocol: Redpanda, Confluent Cloud, Amazon MSK, …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from importers.core.connection import Connection
from importers.core.model import JSON
from importers.exceptions import ConfigError
from importers.sources.streaming._kafka import TopicSource
from importers.sources.streaming._registries import PREFIX, confluent
from importers.sources.streaming._topic import TopicConfig
from importers.transport.schema_registry import Registry


class KafkaConfig(TopicConfig):
    """The connection names the cluster: `bootstrap.servers` and whatever else librdkafka needs to log in."""


class Kafka(TopicSource[KafkaConfig]):
    """Each run reads what came since the last one, up to what was committed when it began; nothing is read twice.

    Under Airflow the connection is the Kafka provider's: its extra holds librdkafka's settings. Without a schema in
    `columns` a sample tells which columns there are.

    Values of Avro are in Confluent's wire format. Their schemas come from a registry with Confluent's API, such as
    Apicurio, Karapace or Redpanda has too: `schema.registry.url` in the connection, with
    `schema.registry.basic.auth.user.info` (`NAME:PASSWORD`) and `schema.registry.ssl.ca.location` where it needs them.
    A field that a message's schema lacks is null; one that no sampled schema had stops the run.

    So are values of Protobuf, each of the message type that it names. A field without presence has its default where
    it is absent; one that is `optional`, in a `oneof` or a message is null. Enums are their names, wrappers what they
    wrap, times to the microsecond. A schema has to refer to what it imports, but for Google's `google/protobuf/…`; a
    type that holds itself, as `google.protobuf.Struct` does, can't become columns.
    """

    title: ClassVar[str] = "A topic of Apache Kafka"
    config_model = KafkaConfig
    connection_type: ClassVar[str | None] = "kafka"
    connection_optional: ClassVar[bool] = True
    environment: ClassVar[Mapping[str, str]] = {
        "bootstrap.servers": "KAFKA_BROKERS",
        "security.protocol": "KAFKA_SECURITY_PROTOCOL",
        "sasl.mechanism": "KAFKA_SASL_MECHANISM",
        "sasl.username": "KAFKA_SASL_USERNAME",
        "sasl.password": "KAFKA_SASL_PASSWORD",
        "ssl.ca.location": "KAFKA_SSL_CA_LOCATION",
        "schema.registry.url": "SCHEMA_REGISTRY_URL",
        "schema.registry.basic.auth.user.info": "SCHEMA_REGISTRY_USER_INFO",
        "schema.registry.ssl.ca.location": "SCHEMA_REGISTRY_SSL_CA_LOCATION",
    }

    def registry(self) -> Registry:
        return confluent(self.tenant, self.connection or Connection({}))

    def reached_by(self) -> Mapping[str, JSON]:
        said = {
            name: value
            for name, value in (self.connection or {}).items()
            if "." in name and not name.startswith(PREFIX)
        }
        if not said.get("bootstrap.servers"):
            raise ConfigError(
                "nothing says where Kafka is",
                do="set `bootstrap.servers` in the connection, or as KAFKA_BROKERS",
            )
        return said
