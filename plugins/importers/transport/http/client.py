"""Asks one system, for one tenant: within its budget, as often as it makes sense, and says what a refusal means."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import tenacity

from importers.core.registry import optional
from importers.exceptions import ContractError, FatalSourceError, ImporterError, TransientSourceError
from importers.transport.causes import cause, host_and_port
from importers.transport.http.address import DIRECT, Route
from importers.transport.http.auth import Auth
from importers.transport.http.budget import Budget, retry_after
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Shared
from importers.transport.http.tls import context

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx2

logger = logging.getLogger(__name__)

REDIRECTS = 5
BACK_OFF = tenacity.wait_random_exponential(multiplier=0.5, max=20)  # seconds


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is below the system's address, or a link that it gave; with a `form` it is a POST.

    `label` is what the log calls it: paths and parameters may name people.
    """

    path: str
    label: str
    params: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] | None = None

    def having(self, **values: Any) -> Call:
        """The same with these parameters, or parts of the form where there is one."""
        if self.form is None:
            return replace(self, params={**self.params, **values})
        return replace(self, form={**self.form, **values})

    def said(self, name: str, default: Any = None) -> Any:
        return (self.params if self.form is None else self.form).get(name, default)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete body. Header names are in lower case."""

    host: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, numbers as text: nothing is rounded on the way. Raises ContractError for what isn't JSON."""
        try:
            return json.loads(self.body, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            got = f"{len(self.body):,} bytes that are no JSON"
            raise ContractError(
                f"{self.host} doesn't answer as its API does", got=got, do="see what stands there"
            ) from None


Judge = Callable[[Answer], ImporterError | None]
"""What an answer means beyond HTTP, as a system's own documentation has it; None if nothing."""


class Client:
    """Close it. Threads may share it."""

    def __init__(
        self,
        address: str,
        config: HttpConfig,
        auth: Auth,
        shared: Shared,
        judge: Judge = lambda _: None,
        wait: Callable[[float], None] = sleep,
        route: Route = DIRECT,
        trusted: SSLContext | None = None,
    ) -> None:
        """`trusted` is what `tls.context` makes of the settings and the route, where somebody has it already."""
        httpx2 = optional("httpx2", "http")
        # what it logs holds whole addresses, and with them names and keys
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._httpx2, self._config, self._auth, self._shared, self._judge = httpx2, config, auth, shared, judge
        self._wait = wait
        self._address = address.rstrip("/") + "/"
        self.host = urlsplit(address).hostname or ""
        self._budget = Budget(shared, config.rate_limit, config.max_wait, wait)
        timeout = httpx2.Timeout(config.read_timeout, connect=config.connect_timeout)
        limits = httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)
        self._session = httpx2.Client(
            verify=trusted or context(config, route),
            proxy=route.proxy,
            timeout=timeout,
            limits=limits,
            follow_redirects=False,
        )

    def close(self) -> None:
        self._session.close()

    def ask(self, call: Call) -> Answer:
        """The answer, tried as often as it makes sense.

        Raises TransientSourceError, with `retry_after` if the system or the budget says when; FatalSourceError for
        what is refused; ContractError for an answer that is none.
        """
        name = self._cached_as(call)
        kept = self._shared.get(name) if name else None
        if kept is not None:
            return Answer(self.host, 200, {}, kept)
        answer = self._tried(call)
        if name:
            self._shared.put(name, answer.body, self._config.cache_ttl)
        return answer

    def ask_all(self, calls: Iterable[Call]) -> Iterator[Answer]:
        """The answers in the calls' order, a few calls ahead of whoever takes them."""
        width = self._config.concurrency
        with ThreadPoolExecutor(width, thread_name_prefix="importers-http") as pool:
            ahead: deque[Future[Answer]] = deque()
            try:
                for call in calls:
                    ahead.append(pool.submit(self.ask, call))
                    if len(ahead) > width:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def _cached_as(self, call: Call) -> str:
        if not self._config.cache_ttl or not self._shared.lasting or call.form is not None:
            return ""
        said = json.dumps([self._address, call.path, sorted(call.params.items())], default=str)
        return f"get:{hashlib.sha256(said.encode()).hexdigest()}"

    def _tried(self, call: Call) -> Answer:
        trying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._config.retry_attempts),
            retry=tenacity.retry_if_exception(self._worth_it),
            wait=_as_told,
            sleep=self._wait,
            reraise=True,
        )
        return trying(self._once, call)

    def _worth_it(self, error: BaseException) -> bool:
        return isinstance(error, TransientSourceError) and (error.retry_after or 0) <= self._config.max_wait

    def _once(self, call: Call) -> Answer:
        self._budget.take()
        begun = perf_counter()
        token = self._auth.token()
        answer = self._sent(call, token)
        if answer.status == 401 and self._auth.renews:
            self._auth.forget(token)
            answer = self._sent(call, self._auth.token())
        milliseconds = (perf_counter() - begun) * 1000
        logger.debug(
            "%s %s: %d, %.0f ms, %d bytes", self.host, call.label, answer.status, milliseconds, len(answer.body)
        )
        self._budget.heed(answer.headers)
        wrong = self._judge(answer) or self._refusal(answer, call)
        if wrong is not None:
            if answer.status == 429 and isinstance(wrong, TransientSourceError) and wrong.retry_after:
                self._budget.pause(wrong.retry_after)
            raise wrong
        return answer

    def _sent(self, call: Call, token: str) -> Answer:
        url = self._pinned(call.path)
        for _ in range(REDIRECTS):
            answer = self._exchanged(self._request(url, call, token))
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = self._pinned(urljoin(url, answer.headers.get("location", "")))
        raise FatalSourceError(f"{self.host} redirects without end", got=call.label, do="correct the address")

    def _request(self, url: str, call: Call, token: str) -> httpx2.Request:
        signed, headers = self._auth.sign(call, token)
        method = "GET" if signed.form is None else "POST"
        params = {name: value for name, value in signed.params.items() if value is not None}
        whole = self._httpx2.URL(url).copy_merge_params(params) if params else url
        request: httpx2.Request = self._session.build_request(method, whole, data=signed.form, headers=headers)
        return request

    def _pinned(self, link: str) -> str:
        """The link as an address of this system. Raises FatalSourceError for another's: the token isn't for it."""
        url = urljoin(self._address, link.lstrip("/") if "://" not in link else link)
        if _origin(url) != _origin(self._address):
            what = f"{self.host} sends us elsewhere, where the credentials don't belong"
            raise FatalSourceError(what, got=f"a link to {urlsplit(url).hostname}", do="correct the address")
        return url

    @property
    def _place(self) -> str:
        return host_and_port(self._address) or "the API"

    def _exchanged(self, request: httpx2.Request) -> Answer:
        try:
            response = self._session.send(request, stream=True)
            try:
                body = self._body(response)
            finally:
                response.close()
        except self._httpx2.TimeoutException as error:
            what = f"{self._place} didn't answer in time"
            raise TransientSourceError(what, got=type(error).__name__) from None
        except self._httpx2.HTTPError as error:  # their texts may quote an address
            raise TransientSourceError(f"{self._place} can't be reached", got=cause(error)) from None
        return Answer(self.host, response.status_code, dict(response.headers), body)

    def _body(self, response: httpx2.Response) -> bytes:
        most, until = self._config.max_body_mb << 20, monotonic() + self._config.call_timeout
        parts, size = [], 0
        for part in response.iter_bytes():
            size += len(part)
            if size > most:
                do = "ask for smaller pages, or raise `max_body_mb`"
                raise FatalSourceError(f"{self.host} answers with too much", got=f"more than {most:,} bytes", do=do)
            if monotonic() > until:
                raise TransientSourceError(f"{self.host} didn't answer in time", got=f"{size:,} bytes until then")
            parts.append(part)
        return b"".join(parts)

    def _refusal(self, answer: Answer, call: Call) -> ImporterError | None:
        status = answer.status
        got = f"HTTP {status} for {call.label}"
        if 200 <= status < 300:
            return None
        if status == 429 or status >= 500 or status in (408, 425):
            told = retry_after(answer.headers)
            do = "try again later"
            if told is not None and told > self._config.max_wait:
                got += f", and to be left alone for {told:,.0f} s"
                do = f"try again then: `max_wait` lets a call wait for {self._config.max_wait:g} s"
            return TransientSourceError(f"{self.host} can't answer now", got=got, do=do, retry_after=told)
        if status in (401, 403):
            do = "correct the connection, and see that the account may read this"
            return FatalSourceError(f"{self.host} refuses the credentials", got=got, do=do)
        do = "correct the settings" if status in (404, 410) else "see the API's documentation"
        return FatalSourceError(f"{self.host} refuses the call", got=got, do=do)


def _as_told(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    told: Any = getattr(error, "retry_after", None)
    return BACK_OFF(state) if told is None else float(told)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
