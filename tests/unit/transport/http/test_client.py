"""What a system may do to us, and what becomes of it."""

from __future__ import annotations

import gzip
import logging
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError
from tests.support.loopback import Asked, Reply
from tests.unit.transport.http.conftest import System

from importers.core.connection import Connection
from importers.exceptions import ConfigError, ContractError, FatalSourceError, TransientSourceError
from importers.sources.audio.lastfm_api import Lastfm, LastfmConfig
from importers.transport.http.client import Call
from importers.transport.http.settings import HttpConfig
from importers.transport.http.tls import pin

CALL = Call("things", "things")
FINE = Reply({"fine": 1})


def test_an_answer_arrives_with_its_numbers_as_they_were_written(system: System) -> None:
    at = system.serve([Reply(b'{"a": 1.50, "b": 9007199254740993, "c": true}')])
    assert system.client(at).ask(CALL).json() == {"a": "1.50", "b": "9007199254740993", "c": True}
    assert at.asked[0].path == "/things"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(system: System, status: int) -> None:
    at = system.serve([Reply(b"", status), Reply(b"", status), FINE])
    assert system.client(at, retry_attempts=3).ask(CALL).json() == {"fine": "1"}
    assert len(at.asked) == 3
    assert len(system.waited) == 2


def test_a_storm_ends_after_as_many_attempts_as_were_said(system: System) -> None:
    at = system.serve([Reply(b"", 429)])
    with pytest.raises(TransientSourceError, match="HTTP 429 for things") as told:
        system.client(at, retry_attempts=3).ask(CALL)
    assert told.value.retry_after is None
    assert len(at.asked) == 3


def test_a_day_is_not_waited_for(system: System) -> None:
    at = system.serve([Reply(b"", 429, {"Retry-After": "86400"})])
    client = system.client(at)
    with pytest.raises(TransientSourceError, match="HTTP 429 for things, and to be left alone for 86,400 s") as told:
        client.ask(CALL)
    assert told.value.retry_after == 86_400
    with pytest.raises(TransientSourceError, match=r"rate limit.*in 8[56],\d\d\d s") as again:
        client.ask(CALL)
    assert again.value.retry_after == pytest.approx(86_400, abs=600)
    assert len(at.asked) == 1, "the system was asked again although it had said not to"
    assert system.waited == []


def test_a_short_wait_is_waited_as_told(system: System) -> None:
    at = system.serve([Reply(b"", 429, {"Retry-After": "7"}), FINE])
    clock = system.client(at)
    clock._budget._shared.put = lambda *_: None  # type: ignore[method-assign]  # time doesn't pass here
    assert clock.ask(CALL).json() == {"fine": "1"}
    assert system.waited == [7.0]


def test_a_date_is_understood(system: System) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    at = system.serve([Reply(b"", 503, {"Retry-After": when})])
    with pytest.raises(TransientSourceError) as told:
        system.client(at).ask(CALL)
    assert told.value.retry_after == pytest.approx(7_200, abs=600)


@pytest.mark.parametrize("epoch", [True, False])
def test_nothing_is_asked_once_nothing_is_left(system: System, epoch: bool) -> None:
    reset = str(40 + (int(datetime.now(UTC).timestamp()) if epoch else 0))
    at = system.serve([Reply({}, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})])
    client = system.client(at, max_wait=10)
    client.ask(CALL)
    with pytest.raises(TransientSourceError) as told:
        client.ask(CALL)
    assert told.value.retry_after == pytest.approx(40, abs=30)
    assert len(at.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_is_refused_is_not_tried_again(system: System, status: int) -> None:
    at = system.serve([Reply({"message": "your key kanarienvogel of ada@example.org"}, status)])
    with pytest.raises(FatalSourceError, match=f"HTTP {status} for things") as told:
        system.client(at).ask(CALL)
    assert len(at.asked) == 1
    assert "kanarienvogel" not in str(told.value)
    assert "ada@" not in str(told.value)


def test_a_cut_body_is_no_answer(system: System) -> None:
    at = system.serve([Reply(b'{"fine": 1', length=500), Reply(b'{"fine": 1', length=500), FINE])
    assert system.client(at).ask(CALL).json() == {"fine": "1"}
    assert len(at.asked) == 3


def test_a_gigabyte_is_refused_before_it_is_read(system: System) -> None:
    at = system.serve([Reply(b"x" * (1 << 20), times=1024)])
    with pytest.raises(FatalSourceError, match="more than 2,097,152 bytes"):
        system.client(at, max_body_mb=2).ask(CALL)


def test_a_small_body_may_not_unpack_to_a_large_one(system: System) -> None:
    packed = gzip.compress(b" " * (8 << 20))
    at = system.serve([Reply(packed, headers={"Content-Encoding": "gzip"})])
    with pytest.raises(FatalSourceError, match="more than 2,097,152 bytes"):
        system.client(at, max_body_mb=2).ask(CALL)


def test_what_is_no_json_is_no_answer(system: System) -> None:
    at = system.serve([Reply(b"<html>ada@example.org</html>")])
    with pytest.raises(ContractError, match="28 bytes that are no JSON") as told:
        system.client(at).ask(CALL).json()
    assert "ada@" not in str(told.value)


def test_a_stalling_system_is_given_up(system: System) -> None:
    at = system.serve([FINE])
    at.trouble = "stalled"
    with pytest.raises(TransientSourceError, match="didn't answer in time"):
        system.client(at, read_timeout=0.1, retry_attempts=2).ask(CALL)
    assert len(at.hears(2)) == 2


def test_a_trickle_ends_although_it_never_stops(system: System) -> None:
    at = system.serve([Reply(b"x" * 1000, times=100_000)])
    with pytest.raises(TransientSourceError, match="didn't answer in time"):
        system.client(at, call_timeout=0.01, retry_attempts=1).ask(CALL)


def test_a_redirect_to_another_host_is_not_followed(system: System) -> None:
    other = system.serve([FINE])
    at = system.serve([Reply(b"", 302, {"Location": f"{other.address}/things"})])
    with pytest.raises(FatalSourceError, match="credentials don't belong"):
        system.client(at).ask(CALL)
    assert other.asked == []


def test_a_redirect_within_the_system_is_followed_and_not_for_ever(system: System) -> None:
    def answer(asked: Asked) -> Reply:
        return (
            Reply(b"", 307, {"Location": "/moved" if asked.path == "/things" else "/round"})
            if (asked.path != "/moved")
            else FINE
        )

    at = system.serve(answer)
    assert system.client(at).ask(CALL).json() == {"fine": "1"}
    with pytest.raises(FatalSourceError, match="redirects without end"):
        system.client(at).ask(Call("round", "round"))


def test_answers_keep_the_calls_order_and_are_not_fetched_far_ahead(system: System) -> None:
    both = threading.Barrier(2, timeout=60)  # passes only if two calls are under way at once

    def answer(asked: Asked) -> Reply:
        if int(asked.query["n"]) < 2:
            both.wait()
        return Reply({"n": asked.query["n"]})

    at = system.serve(answer)
    answers = system.client(at, concurrency=2).ask_all(CALL.having(n=n) for n in range(50))
    first = [next(answers).json()["n"] for _ in range(2)]
    assert len(at.asked) <= 2 + 2 + 1
    assert first + [answer.json()["n"] for answer in answers] == [str(n) for n in range(50)]


def test_the_rate_holds_for_all_clients_of_an_account_in_a_process(system: System) -> None:
    at = system.serve([FINE])
    system.shared.account = "rated"
    for client in (system.client(at, rate_limit="2/h", max_wait=1) for _ in range(2)):
        client.ask(CALL)
    with pytest.raises(TransientSourceError, match="rate limit") as told:
        system.client(at, rate_limit="2/h", max_wait=1).ask(CALL)
    assert told.value.retry_after == pytest.approx(3600, abs=600)
    system.shared.tenant = "zeta"
    system.client(at, rate_limit="2/h", max_wait=1).ask(CALL)
    assert len(at.asked) == 3


def test_the_log_tells_the_call_and_no_secret(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = system.serve([FINE])
    system.client(at).ask(Call("users/ada", "users", {"mail": "ada@example.org"}))
    assert "127.0.0.1 users: 200" in caplog.text
    assert "kanarienvogel" not in caplog.text
    assert "ada" not in caplog.text


def test_an_answer_that_no_erasure_reaches_is_kept_for_a_day_at_most() -> None:
    assert HttpConfig(cache_ttl=86_400).cache_ttl == 86_400
    with pytest.raises(ValidationError, match="cache_ttl"):
        HttpConfig(cache_ttl=86_401)


class _Certified:
    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.leaf = authority.issue_cert("127.0.0.1")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.leaf.configure_cert(self.server)
        self.file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.file))
        self.pin = pin(ssl.PEM_cert_to_DER_cert(self.leaf.cert_chain_pems[0].bytes().decode()))


def test_a_certificate_is_verified_and_a_pin_is_too(system: System, tmp_path: Path) -> None:
    tls = _Certified(tmp_path)
    at = system.serve([FINE], tls=tls.server)
    with pytest.raises(TransientSourceError, match="can't be reached"):
        system.client(at, retry_attempts=1).ask(CALL)
    trusted: dict[str, Any] = {"tls_ca_file": str(tls.file), "tls_minimum": "1.3"}
    assert system.client(at, **trusted, tls_pins=[tls.pin]).ask(CALL).json() == {"fine": "1"}
    seen = len(at.asked)
    with pytest.raises(TransientSourceError, match="can't be reached"):
        system.client(at, **trusted, tls_pins=["A" * 44], retry_attempts=1).ask(CALL)
    assert len(at.asked) == seen, "the credentials were sent to a system whose key isn't pinned"


def test_an_old_protocol_is_refused(system: System, tmp_path: Path) -> None:
    tls = _Certified(tmp_path)
    tls.server.maximum_version = ssl.TLSVersion.TLSv1_2
    at = system.serve([FINE], tls=tls.server)
    assert system.client(at, tls_ca_file=str(tls.file)).ask(CALL).json() == {"fine": "1"}
    with pytest.raises(TransientSourceError, match="can't be reached"):
        system.client(at, tls_ca_file=str(tls.file), tls_minimum="1.3", retry_attempts=1).ask(CALL)


def test_a_file_without_certificates_is_told(system: System, tmp_path: Path) -> None:
    at = system.serve([FINE])
    with pytest.raises(ConfigError, match="tls_ca_file"):
        system.client(at, tls_ca_file=str(tmp_path / "none.pem"))


@pytest.mark.parametrize("name", ["proxy", "tls_ca_file"])
def test_a_tenant_s_file_chooses_nobody_who_could_read_the_credentials(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        HttpConfig(**{name: "http://127.0.0.1:9"})


def test_a_proxy_is_asked_instead(system: System) -> None:
    at = system.serve([FINE])
    proxy = system.serve([Reply({"by": "proxy"})])
    assert system.client(at, proxy=proxy.address).ask(CALL).json() == {"by": "proxy"}
    assert at.asked == []


def test_a_source_is_reached_as_its_connection_says(system: System) -> None:
    at, proxy = system.serve([FINE]), system.serve([FINE])
    connection = Connection({"host": at.address, "password": "kanarienvogel", "proxy": proxy.address})
    assert Lastfm(LastfmConfig(user="rj"), tenant="acme", connection=connection).check().ok
    assert (len(at.asked), len(proxy.asked)) == (0, 1)
