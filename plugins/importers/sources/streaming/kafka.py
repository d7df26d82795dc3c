"""Apache Kafka, and what speaks its protocol: Redpanda, Confluent Cloud, Amazon MSK, …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from importers.core.model import JSON
from importers.exceptions import ConfigError
from importers.sources.streaming._kafka import TopicSource
from importers.sources.streaming._topic import TopicConfig


class KafkaConfig(TopicConfig):
    """The connection names the cluster: `bootstrap.servers` and whatever else librdkafka needs to log in."""


class Kafka(TopicSource[KafkaConfig]):
    """Each run reads what came since the last one, up to what was committed when it began; nothing is read twice.

    Under Airflow the connection is the Kafka provider's: its extra holds librdkafka's settings. Without a schema in
    `columns` a sample tells which columns there are.
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
    }

    def reached_by(self) -> Mapping[str, JSON]:
        said = {name: value for name, value in (self.connection or {}).items() if "." in name}
        if not said.get("bootstrap.servers"):
            raise ConfigError(
                "nothing says where Kafka is",
                do="set `bootstrap.servers` in the connection, or as KAFKA_BROKERS",
            )
        return said
