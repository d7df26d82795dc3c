"""The small import of `kafka_site`, over AMQP from what stands for an event hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.eventhub import EventData
from import_site import HEADER, MALFORMED, PIPELINE, Row
from kafka_site import PARTITIONS, KafkaSite

from importers.core.connection import Connection
from importers.core.tenant import Tenant


@dataclass(frozen=True)
class EventHubSite(KafkaSite):
    """Its topic is the hub."""

    reached: Mapping[str, Any] = field(default_factory=dict)

    @property
    def definition(self) -> Tenant:
        said = super().definition.model_dump(exclude_unset=True, mode="json")
        said["pipelines"][PIPELINE]["importer"] = "azure_event_hubs"
        said["pipelines"][PIPELINE]["config"]["protocol"] = "amqp"
        return Tenant.model_validate(said)

    @property
    def connection(self) -> Connection:
        return Connection(self.reached)

    def produce(self, rows: Sequence[Row], malformed: int = 0) -> None:
        from tests.services.event_hubs import sending  # a process that is to be killed has no use for it

        values = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in rows] + [MALFORMED] * malformed
        with sending(self.topic, self.reached["port"], self.reached["ssl.ca.location"]) as client:
            for number, value in enumerate(values):
                client.send_event(EventData(value), partition_id=str(number % PARTITIONS))
