"""Microsoft's clients of a namespace of Event Hubs: who is let in, and what their errors ask of a reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from ssl import SSLCertVerificationError
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from importers.core.registry import optional
from importers.exceptions import FatalSourceError, ImporterError, TransientSourceError
from importers.transport.http.oauth import OAuth2

PAUSE = 0.2  # seconds before the first of the calls that are tried again
GROUP = "$Default"
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a namespace is, and what lets one in: a policy's shared access key, or tokens of Microsoft Entra ID.

    `port`, and `authority`, the file of who is trusted, where they aren't what the service has.
    """

    host: str
    policy: str = ""
    key: str = field(default="", repr=False)
    port: int | None = None
    authority: str | None = None
    tokens: OAuth2 | None = field(default=None, repr=False)


class EntraCredential:
    """Tokens as Microsoft's client asks for them, in place of azure-identity's: ours are got once for all workers."""

    def __init__(self, tokens: OAuth2) -> None:
        self._tokens = tokens

    async def get_token(self, *_: str, **__: Any) -> Any:
        """Raises FatalSourceError or TransientSourceError where none is granted."""
        token, until = self._tokens.granted()
        return optional("azure.core.credentials", "azure-event-hubs").AccessToken(token, int(until))


class Clients:
    """One for each question, and for each partition that is read. `timeout` is in seconds."""

    def __init__(self, address: Address, *, group: str | None, timeout: float, extra: str) -> None:
        self._hubs, self._aio = optional("azure.eventhub", extra), optional("azure.eventhub.aio", extra)
        self._address, self._group, self._timeout = address, group or GROUP, timeout

    async def ask(self, topic: str, question: Callable[[Any], Awaitable[AnswerT]]) -> AnswerT:
        """Raises FatalSourceError, or TransientSourceError once the time-out is over."""
        tries = AsyncRetrying(
            stop=stop_after_delay(self._timeout),
            wait=wait_random_exponential(PAUSE, max=5),
            retry=retry_if_exception_type(TransientSourceError),
            reraise=True,
        )
        return await tries(self._asked, topic, question)

    async def _asked(self, topic: str, question: Callable[[Any], Awaitable[AnswerT]]) -> AnswerT:
        try:
            async with asyncio.timeout(self._timeout):
                return await question(self.made(topic))
        except TimeoutError:
            raise silent(self._timeout) from None
        except self._hubs.exceptions.EventHubError as error:
            raise self.remedy(error, f"asking for the event hub '{topic}'") from None

    @cached_property
    def _credential(self) -> Any:
        at = self._address
        if at.tokens is not None:
            return EntraCredential(at.tokens)
        return self._aio.EventHubSharedKeyCredential(at.policy, at.key)

    def made(self, topic: str) -> Any:
        """One that tries nothing again by itself. It connects for each question and for each partition that is read."""
        at = self._address
        elsewhere = {"custom_endpoint_address": f"sb://{at.host}:{at.port}"} if at.port else {}
        trusted = {"connection_verify": at.authority} if at.authority else {}
        return self._aio.EventHubConsumerClient(
            fully_qualified_namespace=at.host,
            eventhub_name=topic,
            consumer_group=self._group,
            credential=self._credential,
            transport_type=self._hubs.TransportType.Amqp,
            retry_total=0,
            **elsewhere,
            **trusted,
        )

    def remedy(self, error: Exception, doing: str) -> ImporterError:
        """By what the reader has to do. Names AMQP's condition, never the text: that quotes addresses."""
        condition = getattr(error, "error", None) or type(error).__name__
        what = f"Event Hubs failed while {doing}"
        if condition == "not-found":
            do = "correct `topic` or `consumer_group`"
            return FatalSourceError(f"{what}: there is no such event hub, or group", got=condition, do=do)
        is_refused = isinstance(error, self._hubs.exceptions.AuthenticationError) and condition != "internal-error"
        if is_refused or condition == "unauthorized-access":
            who, do = "key", "check the connection string, and that its policy has the right to listen"
            if self._address.tokens is not None:
                who, do = "application", "see that it has the role Azure Event Hubs Data Receiver"
            return FatalSourceError(f"{what}: it refuses this {who}", got=condition, do=do)
        if _is_untrusted(error):
            do = "check ssl.ca.location and the host"
            return FatalSourceError(f"{what}: no trusted connection is possible", got=condition, do=do)
        return TransientSourceError(what, got=condition, do="see that the namespace can be reached, then run again")


def _is_untrusted(error: BaseException | None) -> bool:
    """By what it was raised from: the client takes it for a connection that was lost."""
    while error is not None and not isinstance(error, SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def silent(seconds: float) -> TransientSourceError:
    return TransientSourceError(
        f"Event Hubs hasn't answered for {seconds:g} s", do="see that the namespace can be reached, then run again"
    )
