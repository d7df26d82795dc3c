"""Registries on loopback, which answer as their published APIs say."""

from __future__ import annotations

import base64
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.loopback import Asked, Loopback, Reply

from importers.core.connection import Connection
from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources.streaming._registered import UNKNOWN
from importers.sources.streaming._registries import Schemas, azure, confluent, entra
from importers.transport.schema_registry import Part, Registered

NUMBER = "0123456789abcdef0123456789abcdef"


def said(address: str, **more: Any) -> Connection:
    return Connection(
        {"schema.registry.url": f"{address}/api", **{f"schema.registry.{name}": at for name, at in more.items()}}
    )


def answering(by_path: dict[str, Any]) -> Any:
    def answer(asked: Asked) -> Reply:
        found = by_path.get(asked.path)
        return found if isinstance(found, Reply) else Reply(found) if found else Reply({"error_code": 40403}, 404)

    return answer


def test_a_schema_comes_with_those_that_it_refers_to_in_their_order() -> None:
    mail = {"name": "Mail", "subject": "a/b", "version": 1}
    by_path = {
        "/api/schemas/ids/7": {"schema": "play", "references": [{"name": "By", "subject": "by", "version": 3}]},
        "/api/subjects/by/versions/3": {"schema": "by", "references": [mail]},
        "/api/subjects/a%2Fb/versions/1": {"schema": "mail"},
        "/api/schemas/ids/8": {"schema": "it", "schemaType": "PROTOBUF", "references": []},
    }
    with closing(Loopback(answering(by_path))) as at:
        registry = confluent("acme", said(at.address))
        assert registry.schema("7") == Registered("AVRO", "play", (Part("Mail", "mail"), Part("By", "by")))
        assert registry.schema("8") == Registered("PROTOBUF", "it")
        assert registry.schema("9") is None
        assert not any("authorization" in asked.headers for asked in at.asked)


def test_schemas_that_refer_to_each_other_without_end_are_told() -> None:
    class Endless(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            deeper = len(path.rpartition("/")[0].rpartition("/")[2]) + int(path.rpartition("/")[2]) + 1
            return {"schema": "x", "references": [{"name": "X", "subject": "x", "version": deeper}]}

    with closing(Loopback(answering(Endless()))) as at, pytest.raises(ContractError, match="more than 32 levels"):
        confluent("acme", said(at.address)).schema("1")


def test_who_asks_is_said_as_http_says_it() -> None:
    with closing(Loopback(answering({"/api/schemas/ids/7": {"schema": "play"}}))) as at:
        confluent("acme", said(at.address, **{"basic.auth.user.info": "ada:kanarienvogel"})).schema("7")
        scheme, _, told = at.asked[0].headers["authorization"].partition(" ")
        assert (scheme, base64.b64decode(told)) == ("Basic", b"ada:kanarienvogel")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_told_without_the_password(status: int) -> None:
    with closing(Loopback(lambda _: Reply(b"", status))) as at:
        registry = confluent("acme", said(at.address, **{"basic.auth.user.info": "ada:kanarienvogel"}))
        with pytest.raises(FatalSourceError, match="refuses the credentials") as told:
            registry.schema("7")
    assert "kanarienvogel" not in str(told.value)


def test_what_is_no_registry_is_told() -> None:
    wrong = pytest.raises(ContractError, match="doesn't answer as a schema registry does")
    with closing(Loopback(lambda _: Reply({"hello": "world"}))) as at, wrong:
        confluent("acme", said(at.address)).schema("7")


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (Connection({}), r"schema\.registry\.url"),
        (said("http://registry.example", **{"basic.auth.user.info": "ada:kanarienvogel"}), "unencrypted"),
        (said("https://ada:kanarienvogel@registry.example"), "holds credentials"),
    ],
)
def test_a_password_is_sent_to_nobody_in_the_clear(connection: Connection, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as wrong:
        confluent("acme", connection)
    assert "kanarienvogel" not in str(wrong.value)


def test_azure_s_registry_is_asked_with_a_token_for_event_hubs(tmp_path: Path) -> None:
    """Paths, parameter and scope are those of Microsoft's reference (Schema Registry, Get Schema By Id, 2022-10)."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    granted = {"access_token": "granted", "token_type": "Bearer", "expires_in": 3600}
    by_path = {"/token": granted, f"/$schemaGroups/$schemas/{NUMBER}": Reply(b'{"type": "record"}')}
    with closing(Loopback(answering(by_path), tls=context)) as at:
        client = {"sasl.oauthbearer.client.id": "me", "sasl.oauthbearer.client.secret": "kanarienvogel"}
        trusted = {"host": at.address.removeprefix("https://"), "tls_ca_file": str(tmp_path / "authority.pem")}
        said = Connection({**client, **trusted})
        registry = azure("acme", said, entra("acme", said, f"{at.address}/token"))
        assert registry.schema(NUMBER) == Registered("AVRO", '{"type": "record"}')
        assert registry.schema("f" * 32) is None
        token, schema, _ = at.asked
    assert (token.form["grant_type"], token.form["scope"]) == (
        "client_credentials",
        "https://eventhubs.azure.net/.default",
    )
    assert schema.query == {"api-version": "2022-10"}
    assert schema.headers["authorization"] == "Bearer granted"


def test_a_schema_that_the_registry_learns_of_later_is_asked_for_again() -> None:
    by_path: dict[str, Any] = {}
    with closing(Loopback(answering(by_path))) as at:
        schemas = Schemas(confluent("acme", said(at.address)))
        assert schemas("7") == UNKNOWN
        by_path["/api/schemas/ids/7"] = {
            "schema": '{"type": "record", "name": "Play", "fields": [{"name": "id", "type": "long"}]}'
        }
        assert not isinstance(schemas("7"), str)
        asked = len(at.asked)
        assert not isinstance(schemas("7"), str)
        assert len(at.asked) == asked
