"""How a request shows who is asking. Tokens that somebody has to grant first are in `oauth`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from importers.transport.http.client import Call


class Auth(Protocol):
    """`token` is what the next request is signed with, and `forget` says that it was refused."""

    renews: bool
    """Whether a refused token can be replaced."""

    def token(self) -> str: ...

    def forget(self, token: str) -> None: ...

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        """The call with what it needs, and headers."""


class _Fixed:
    renews = False

    def forget(self, token: str) -> None:
        """There is no other."""


@dataclass(frozen=True, repr=False)
class ApiKey(_Fixed):
    """A key among the parameters of a call, or in its form."""

    key: str
    parameter: str

    @classmethod
    def under(cls, parameter: str) -> Callable[[str], ApiKey]:
        return partial(cls, parameter=parameter)

    def token(self) -> str:
        return self.key

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call.having(**{self.parameter: token}), {}


@dataclass(frozen=True, repr=False)
class Basic(_Fixed):
    """A user's name and password (RFC 7617), `NAME:PASSWORD`."""

    user_info: str

    def token(self) -> str:
        return b64encode(self.user_info.encode()).decode()

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call, {"Authorization": f"Basic {token}"}


@dataclass(frozen=True, repr=False)
class InHeader(_Fixed):
    """A token or a key in a header: `Authorization: Bearer TOKEN` (RFC 6750), `X-Api-Key: KEY`."""

    secret: str
    header: str = "Authorization"
    word: str = "Bearer"

    def token(self) -> str:
        return self.secret

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call, {self.header: f"{self.word} {token}".strip()}


class Anybody(_Fixed):
    """Nobody is asked who they are."""

    def token(self) -> str:
        return ""

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:  # noqa: ARG002
        return call, {}
