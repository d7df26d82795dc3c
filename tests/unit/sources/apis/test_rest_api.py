"""An API that a tenant's file describes, of ten orders, one an hour; what is expected is counted by hand."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError
from tests.support.authorization_server import AuthorizationServer
from tests.support.loopback import Asked, Loopback, Reply

from importers.core.connection import Connection
from importers.core.model import Reads, Window
from importers.exceptions import ConfigError, TransientSourceError
from importers.sources.apis.rest_api import Rest, RestConfig

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [
    {"id": n, "of": {"email": f"{n}@example.org"}, "at": (BEGUN + timedelta(hours=n)).isoformat()} for n in range(10)
]
COLUMNS = {
    "id": {"type": "integer"},
    "who": {"at": "of.email", "personal": "contact"},
    "at": {"type": "timestamp", "personal": "none"},
}
Serve = Callable[[Callable[[Asked], Reply]], Loopback]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(closing(Loopback(answer)))


def source(http: Loopback, connection: dict[str, Any] | None = None, stream: Any = (), **settings: Any) -> Rest:
    about = {"path": "orders", "columns": COLUMNS, "key": ["id"]} | dict(stream)
    config = RestConfig(**{"streams": {"orders": about}, "retry_attempts": 1} | settings)
    said = {"host": http.address} if connection is None else connection
    return Rest(config, tenant="acme", connection=Connection(said))


def rows(at: Rest, window: Window | None = None, position: Any = ()) -> list[dict[str, Any]]:
    (stream,) = at.streams()
    plan = at.plan(stream, window or Window(), dict(position))
    return [row for part in plan.partitions for batch in at.read(stream, part) for row in batch.rows.to_pylist()]


def ids(at: Rest, **more: Any) -> list[int]:
    return [row["id"] for row in rows(at, **more)]


def test_a_record_becomes_the_columns_that_are_named(serve: Serve) -> None:
    at = source(serve(lambda _: Reply(ORDERS[:1])))
    (stream,) = at.streams()
    assert stream.reads is Reads.SNAPSHOT
    assert [column.personal for column in stream.columns] == [None, "contact", "none"]
    assert rows(at) == [{"id": 0, "who": "0@example.org", "at": BEGUN}]


def _chunk(asked: Asked, size: int, at: int) -> Reply:
    return Reply({"data": {"all": ORDERS[at : at + size]}, "meta": {"pages": -(-10 // size), "total": 10}})


@pytest.mark.parametrize(
    ("paging", "answer"),
    [
        ({"by": "page", "size": 4}, lambda asked: _chunk(asked, 4, 4 * (int(asked.query.get("page", 1)) - 1))),
        (
            {"by": "page", "size": 3, "size_parameter": "n", "pages": "meta.pages", "total": "meta.total"},
            lambda asked: _chunk(asked, int(asked.query["n"]), 3 * (int(asked.query.get("page", 1)) - 1)),
        ),
        (
            {"by": "offset", "size": 4, "size_parameter": "n", "parameter": "skip", "total": "meta.total"},
            lambda asked: _chunk(asked, int(asked.query["n"]), int(asked.query.get("skip", 0))),
        ),
        ({"by": "offset", "size": 5}, lambda asked: _chunk(asked, 5, int(asked.query.get("offset", 0)))),
    ],
)
def test_each_order_is_read_once_however_pages_are_counted(serve: Serve, paging: Any, answer: Any) -> None:
    assert ids(source(serve(answer), stream={"records": "data.all", "paging": paging})) == list(range(10))


@pytest.mark.parametrize("paging", [None, {"by": "link"}, {"by": "link", "at": "next"}])
def test_a_link_is_followed_where_there_is_one(serve: Serve, paging: Any) -> None:
    in_body = paging is not None and "at" in paging

    def answer(asked: Asked) -> Reply:
        at = int(asked.query.get("after", 0))
        link = f"/orders?after={at + 4}" if at < 8 else None
        if in_body:
            return Reply({"all": ORDERS[at : at + 4], "next": link})
        return Reply(ORDERS[at : at + 4], headers={"Link": f'<{link}>; rel="next"'} if link else {})

    stream = {"paging": paging} | ({"records": "all"} if in_body else {})
    assert ids(source(serve(answer), stream=stream)) == list(range(10))


INCREMENTAL = {"column": "at", "start": "since", "end": "until"}


def _since(asked: Asked) -> Reply:
    """Both ends count."""
    begin, end = asked.query.get("since", "2000"), asked.query.get("until", "3000")
    return Reply([order for order in ORDERS if begin <= order["at"].replace("+00:00", "Z") <= end])


def test_an_interval_has_its_start_and_not_its_end_whatever_the_system_makes_of_them(serve: Serve) -> None:
    at = source(serve(_since), stream={"incremental": INCREMENTAL})
    assert ids(at, window=Window("2026-01-01T03:00:00+00:00", "2026-01-01T06:00:00+00:00")) == [3, 4, 5]


def test_a_run_goes_on_where_the_last_one_was_sealed(serve: Serve) -> None:
    at = source(serve(_since), stream={"incremental": INCREMENTAL | {"settles": 0}})
    (stream,) = at.streams()
    assert stream.reads is Reads.POSITION
    first = at.plan(stream, Window(), {})
    assert first.partitions == [{"from": 0, "to": first.position[""]}]
    after = int((BEGUN + timedelta(hours=7)).timestamp() * 1e6)
    assert ids(at, position={"": after}) == [7, 8, 9]
    assert ids(at, position={"": after + 1}) == [8, 9]


def test_nothing_newer_than_it_settles_is_read(serve: Serve) -> None:
    new = {"id": 10, "of": {}, "at": (datetime.now(UTC) - timedelta(minutes=5)).isoformat()}
    at = source(serve(lambda _: Reply([*ORDERS, new])), stream={"incremental": INCREMENTAL | {"settles": 3600}})
    assert ids(at) == list(range(10))


def test_a_record_without_its_moment_is_refused(serve: Serve) -> None:
    """Nothing tells whether it was read before."""
    found = [ORDERS[0], {"id": 1, "of": {}}, {**ORDERS[2], "at": "soon"}, ORDERS[3]]
    at = source(serve(lambda _: Reply(found)), stream={"incremental": INCREMENTAL})
    (stream,) = at.streams()
    plan = at.plan(stream, Window(), {})
    (batch,) = at.read(stream, plan.partitions[0])
    assert batch.rows.column("id").to_pylist() == [0, 3]
    assert [reject.location for reject in batch.rejects] == ["page 1, record 2", "page 1, record 3"]
    assert [reject.reason.partition(",")[0] for reject in batch.rejects] == [
        "column 'at': no moment",
        "column 'at': not a time with a zone",
    ]


def test_a_record_that_is_refused_says_which_column_has_no_value_of_its_type(serve: Serve) -> None:
    found = [ORDERS[0], {**ORDERS[1], "id": "kanarienvogel"}, {**ORDERS[2], "of": "kanarienvogel"}, "kanarienvogel"]
    at = source(serve(lambda _: Reply(found)))
    (stream,) = at.streams()
    (batch,) = at.read(stream, at.plan(stream, Window(), {}).partitions[0])
    assert batch.rows.column("id").to_pylist() == [0]
    assert [reject.reason for reject in batch.rejects] == [
        "column 'id': not a whole number",
        "column 'who': not text",
        "not an object",
    ]


def test_the_moment_is_looked_at_even_if_nobody_wants_its_column(serve: Serve) -> None:
    at = source(serve(_since), stream={"incremental": INCREMENTAL})
    (stream,) = at.streams()
    narrow = stream.narrowed(["id"])
    window = Window("2026-01-01T03:00:00+00:00", "2026-01-01T06:00:00+00:00")
    batches = [batch for part in at.plan(narrow, window, {}).partitions for batch in at.read(narrow, part)]
    assert [batch.rows.to_pydict() for batch in batches] == [{"id": [3, 4, 5]}]


@pytest.mark.parametrize("written", ["iso", "s", "ms"])
def test_time_is_read_in_windows_as_the_system_writes_it(serve: Serve, written: str) -> None:
    asked = list[tuple[str, str]]()

    def moment(said: str) -> datetime:
        if written == "iso":
            return datetime.fromisoformat(said)
        return datetime.fromtimestamp(int(said) / (1000 if written == "ms" else 1), UTC)

    def answer(said: Asked) -> Reply:
        begin, end = said.query["since"], said.query["until"]
        asked.append((begin, end))
        found = [order for order in ORDERS if moment(begin) <= datetime.fromisoformat(str(order["at"])) < moment(end)]
        return Reply(found[:2])

    paging = {"by": "window", "days": 0.25, "begins": "2026-01-01T00:00:00Z", "most": 2}
    stream = {"paging": paging, "incremental": INCREMENTAL | {"written": written}}
    at = source(serve(answer), stream=stream, concurrency=1)
    assert ids(at, window=Window(None, "2026-01-01T09:00:00+00:00")) == list(range(9))
    a_second_early = {"iso": "2025-12-31T23:59:59Z", "s": "1767225599", "ms": "1767225599000"}
    assert a_second_early[written] == asked[0][0]


@pytest.mark.parametrize("start_counts", [True, False])
@pytest.mark.parametrize("end_counts", [True, False])
def test_windows_meet_whichever_end_the_system_counts_in(serve: Serve, start_counts: bool, end_counts: bool) -> None:
    """Six hours are a window: every sixth order stands where two of them meet."""

    def answer(said: Asked) -> Reply:
        begin, end = (datetime.fromisoformat(said.query[name]) for name in ("since", "until"))
        times = [(order, datetime.fromisoformat(str(order["at"]))) for order in ORDERS]
        return Reply(
            [o for o, at in times if begin < at < end or (at == begin and start_counts) or (at == end and end_counts)]
        )

    paging = {"by": "window", "days": 0.25, "begins": "2026-01-01T00:00:00Z"}
    at = source(serve(answer), stream={"paging": paging, "incremental": INCREMENTAL}, concurrency=1)
    assert ids(at, window=Window(None, "2026-01-01T09:00:00+00:00")) == list(range(9))


@pytest.mark.parametrize("paging", [None, {"by": "window", "days": 1, "begins": "2026-01-01T00:00:00Z"}])
def test_health_is_asked_of_the_last_day(serve: Serve, paging: Any) -> None:
    http = serve(_since)
    health = source(http, stream={"paging": paging, "incremental": INCREMENTAL}).check()
    assert health.ok
    assert health.detail == "0 records on the first page of orders"
    first = min(http.asked, key=lambda asked: asked.query["since"])  # the rest of a second is a piece that may overtake
    begin, end = (datetime.fromisoformat(first.query[name]) for name in ("since", "until"))
    assert timedelta(hours=23) < end - begin < timedelta(hours=25)
    http.answer = lambda _: Reply({}, 403)
    assert not source(http, stream={"paging": paging, "incremental": INCREMENTAL}).check().ok


KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SAID = {"login": "me", "password": "kanarienvogel"}


@pytest.mark.parametrize(
    ("settings", "where", "what"),
    [
        ({"auth": "basic"}, "authorization", "Basic " + base64.b64encode(b"me:kanarienvogel").decode()),
        ({"auth": "bearer"}, "authorization", "Bearer kanarienvogel"),
        ({"auth": "header", "auth_name": "X-Api-Key"}, "x-api-key", "kanarienvogel"),
    ],
)
def test_a_call_shows_who_is_asking_in_a_header(serve: Serve, settings: Any, where: str, what: str) -> None:
    http = serve(lambda _: Reply(ORDERS))
    assert len(rows(source(http, SAID | {"host": http.address}, **settings))) == 10
    assert [asked.headers[where] for asked in http.asked] == [what]


def test_a_key_may_be_a_parameter(serve: Serve) -> None:
    http = serve(lambda _: Reply(ORDERS))
    rows(source(http, SAID | {"host": http.address}, auth="parameter", auth_name="key"))
    assert http.asked[0].query == {"key": "kanarienvogel"}


@pytest.mark.parametrize(
    ("auth", "said", "grant"),
    [
        ("oauth2", {"password": "kanarienvogel"}, "client_credentials"),
        ("oauth2", {"password": "kanarienvogel", "refresh_token": "refresh-0"}, "refresh_token"),
        ("oauth2", {"private_key": PEM}, "client_credentials"),
        ("oauth2", {"refresh_token": "refresh-0"}, "refresh_token"),
        ("jwt_bearer", {"private_key": PEM, "subject": "ada"}, "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ],
)
def test_a_token_is_granted_for_what_the_connection_has(serve: Serve, auth: str, said: Any, grant: str) -> None:
    server = AuthorizationServer(client=("me", said.get("password", "")), public_key=KEY.public_key())
    granting = serve(server)
    server.address = granting.address
    http = serve(lambda asked: Reply(ORDERS if asked.headers.get("authorization") == "Bearer token-1" else []))
    connection = {"host": http.address, "login": "me", "token_address": f"{server.address}/token"} | said
    assert len(rows(source(http, connection, auth=auth))) == 10
    assert [form["grant_type"] for form in server.granted] == [grant]


def test_whoever_chooses_the_host_is_whoever_has_the_credentials(serve: Serve) -> None:
    http, other = serve(lambda _: Reply(ORDERS)), serve(lambda _: Reply(ORDERS))
    both = SAID | {"host": f"{http.address}/v1"}
    for connection, base in ((SAID, http.address), (both, other.address), (both, f"{http.address}/v11")):
        with pytest.raises(ConfigError, match=r"who may have the credentials.*REST_API_HOST|at another host"):
            rows(source(http, connection, auth="basic", base_url=base))
    assert not http.asked
    assert not other.asked
    rows(source(http, both, auth="basic", base_url=f"{http.address}/v1/shops"))
    assert [asked.path for asked in http.asked] == ["/v1/shops/orders"]


def test_without_a_connection_the_file_says_where(serve: Serve) -> None:
    http = serve(lambda _: Reply(ORDERS))
    assert len(rows(source(http, {}, base_url=http.address))) == 10
    with pytest.raises(ConfigError, match="where the API is"):
        rows(source(http, {}))


def test_a_list_that_shifts_is_read_again(serve: Serve) -> None:
    orders = list(ORDERS)

    def answer(asked: Asked) -> Reply:
        at = int(asked.query.get("offset", 0))
        if at:
            orders[:] = [*orders[1:], ORDERS[0]]
        return Reply({"all": orders[at : at + 4], "total": 10})

    paging = {"by": "offset", "size": 4, "total": "total"}
    with pytest.raises(TransientSourceError, match="changed while it was read"):
        rows(source(serve(answer), stream={"records": "all", "paging": paging}, concurrency=1))


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ({"key": ["number"]}, "number"),
        ({"incremental": INCREMENTAL | {"column": "id"}}, "of type timestamp"),
        ({"paging": {"by": "window", "days": 1, "begins": "2026-01-01T00:00:00Z"}}, "needs `incremental`"),
        ({"paging": {"by": "page", "size": 10, "total": "total"}}, "go together"),
        ({"paging": {"by": "guess"}}, "by"),
        ({"columns": {"id": {"type": "money"}}}, "type"),
    ],
)
def test_a_description_that_can_t_be_is_refused(stream: Any, told: str) -> None:
    about = {"path": "orders", "columns": COLUMNS, "key": ["id"]} | stream
    with pytest.raises(ValidationError, match=told):
        RestConfig(streams={"orders": about})
