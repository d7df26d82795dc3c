"""Which registry a connection names, and readers of the schemas that it has."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from importers.core.connection import Connection
from importers.exceptions import ConfigError, ContractError
from importers.sources._types import is_bare
from importers.sources.streaming._avro import AvroReader
from importers.sources.streaming._protobuf import ProtobufReader
from importers.sources.streaming._registered import UNKNOWN, UNUSABLE, Reader
from importers.transport.http.address import Route, encrypted
from importers.transport.http.auth import Anybody, Auth, Basic
from importers.transport.http.client import Client
from importers.transport.http.oauth import OAuth2, TokenEndpoint
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import shared
from importers.transport.schema_registry import AzureRegistry, ConfluentRegistry, Registry, unknown

PREFIX = "schema.registry."
"""What the connection's names for it begin with: they aren't librdkafka's."""
HTTP = HttpConfig()
AZURE_SCOPE = "https://eventhubs.azure.net/.default"


class Schemas:
    """Readers by a schema's id, each made once: a schema never changes under its id. One tenant's.

    Of Protobuf a schema has many message types, and an id goes on with the one that is meant: `17:0`, `17:2.1`.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Reader | str] = {}

    def __call__(self, number: str) -> Reader | str:
        """The reader, or why there is none. A registry that doesn't know the schema yet is asked again next time."""
        found = self._known.get(number) or self._reader(number)
        if found != UNKNOWN:
            self._known[number] = found
        return found

    def _reader(self, number: str) -> Reader | str:
        schema, _, path = number.partition(":")
        found, name = self._registry.schema(schema), f"schema {schema}"
        if found is None:
            return UNKNOWN
        try:
            if found.format == "AVRO" and not path:
                return AvroReader(found.text, [part.text for part in found.parts], name)
            if found.format == "PROTOBUF" and path:
                return ProtobufReader(found.text, found.parts, [int(at) for at in path.split(".")], name)
        except ContractError:
            return UNUSABLE
        return UNUSABLE

    def columns(self, numbers: list[str]) -> pa.Schema | None:
        """The columns of these schemas together, as wide as the widest; None if none of them has any.

        Raises ContractError if a column has two types that no type holds both of.
        """
        readers = [reader for number in numbers if not isinstance(reader := self(number), str)]
        if not readers:
            return None
        try:
            whole = pa.unify_schemas([reader.schema for reader in readers], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise ContractError(
                "schemas of this topic have a column of one name with types that don't go together",
                got=f"{len(readers)} schemas",
                do="let producers settle on one, or begin behind the old messages with `start_time`",
            ) from None
        return pa.schema([field for field in whole if not is_bare(field.type)])


def confluent(tenant: str, said: Connection) -> Registry:
    """Raises ConfigError if the connection names none, or would send a password unencrypted."""
    address = said.get(f"{PREFIX}url")
    if not address:
        raise ConfigError(
            "nothing says where the schemas are",
            do=f"set `{PREFIX}url` in the connection, or SCHEMA_REGISTRY_URL, to the address of the registry",
        )
    user = said.get(f"{PREFIX}basic.auth.user.info")
    address = encrypted(str(address)) if user or "@" in str(address) else str(address)
    auth: Auth = Basic(str(user)) if user else Anybody()
    authorities = said.get(f"{PREFIX}ssl.ca.location")
    route = Route(None, None if authorities is None else str(authorities))
    return ConfluentRegistry(partial(_client, address, auth, tenant, said, route))


def azure(tenant: str, said: Connection, auth: OAuth2) -> Registry:
    """Of the namespace that the connection has."""
    return AzureRegistry(partial(_client, f"https://{said['host']}", auth, tenant, said, Route.of(said)))


def entra(tenant: str, said: Connection, tokens: str) -> OAuth2:
    """What Microsoft Entra ID grants the connection's application, at the address `tokens`. To be closed."""
    client = str(said["sasl.oauthbearer.client.id"]), str(said["sasl.oauthbearer.client.secret"])
    return OAuth2(TokenEndpoint(tokens, client, HTTP, Route.of(said), AZURE_SCOPE), shared(tenant, said))


def _client(address: str, auth: Auth, tenant: str, said: Connection, route: Route) -> Client:
    return Client(address, HTTP, auth, shared(tenant, said), unknown, route=route)
