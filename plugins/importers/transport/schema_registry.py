"""Where producers keep the schemas that their messages only name by a number.

Confluent's REST API (https://docs.confluent.io/platform/current/schema-registry/develop/api.html), which Apicurio,
Karapace, Redpanda and others serve too; and Azure's (https://learn.microsoft.com/rest/api/schemaregistry/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from importers.exceptions import ContractError, FatalSourceError, ImporterError
from importers.transport.http.client import Answer, Call, Client

DEEPEST = 32
"""How far schemas may refer to schemas that refer to schemas."""


class Part(NamedTuple):
    """A schema that another refers to, by the name that it is known by there: of Protobuf what is imported."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema's text, in the `format` that the registry says it has: AVRO, PROTOBUF or JSON.

    `parts` are the schemas that it refers to; one that another of them refers to stands before that.
    """

    format: str
    text: str
    parts: tuple[Part, ...] = ()


class Registry(Protocol):
    """Has schemas by their ids."""

    def schema(self, number: str) -> Registered | None:
        """The schema with this id; None if there is none. Raises FatalSourceError or TransientSourceError."""


Connect = Callable[[], Client]
"""Opens a client that judges with `unknown`; schemas are asked for so seldom that none is kept open."""


class _UnknownError(FatalSourceError):
    """There is no schema of that number."""


def unknown(answer: Answer) -> ImporterError | None:
    """What a client is to make of an answer: that a schema isn't there refuses nobody."""
    return _UnknownError("the registry has no such schema") if answer.status == 404 else None


class ConfluentRegistry:
    """By Confluent's API."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def schema(self, number: str) -> Registered | None:
        parts: dict[tuple[str, str], Part] = {}
        with closing(self._connect()) as client:
            try:
                said = self._said(client, Call(f"schemas/ids/{number}", "schemas/ids"))
            except _UnknownError:
                return None
            self._collect(client, said, parts, 0)
        return Registered(str(said.get("schemaType") or "AVRO"), str(said["schema"]), tuple(parts.values()))

    def _collect(self, client: Client, said: Mapping[str, Any], parts: dict[tuple[str, str], Part], depth: int) -> None:
        if depth > DEEPEST:
            raise ContractError(f"schemas refer to each other in more than {DEEPEST} levels", do="correct the schemas")
        for each in said.get("references") or ():
            place = str(each["subject"]), str(each["version"])
            if place not in parts:
                subject, version = place
                part = self._said(client, Call(f"subjects/{quote(subject, safe='')}/versions/{version}", "subjects"))
                self._collect(client, part, parts, depth + 1)
                parts[place] = Part(str(each.get("name", "")), str(part["schema"]))

    def _said(self, client: Client, call: Call) -> Mapping[str, Any]:
        said = client.ask(call).json()
        if not isinstance(said, dict) or not isinstance(said.get("schema"), str):
            what = f"{client.host} doesn't answer as a schema registry does"
            raise ContractError(what, do="correct the registry's address in the connection")
        return said


class AzureRegistry:
    """A namespace's."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def schema(self, number: str) -> Registered | None:
        call = Call(f"$schemaGroups/$schemas/{number}", "$schemas", {"api-version": "2022-10"})
        with closing(self._connect()) as client:
            try:
                return Registered("AVRO", client.ask(call).body.decode(errors="replace"))
            except _UnknownError:
                return None
