"""How many calls an account may make: counted by all workers together, with what the system itself says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from random import SystemRandom
from time import sleep, time
from typing import Any

from importers.core.registry import optional
from importers.exceptions import TransientSourceError
from importers.transport.http.shared import Shared

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}  # seconds
EPOCH = 1_000_000_000
"""A reset that is larger is a point in time (X, GitHub), else it is seconds from now."""


class Budget:
    """Never more than `rate` in any window of its length; nothing at all while the system wants to be left alone."""

    def __init__(self, shared: Shared, rate: str | None, longest: float, wait: Callable[[float], None] = sleep) -> None:
        """`longest` is how many seconds a call may be held up."""
        self._shared, self._longest, self._wait = shared, longest, wait
        self._items = _item(rate) if rate else None
        self._limiter = (
            optional("limits", "http").strategies.MovingWindowRateLimiter(shared.counters()) if rate else None
        )

    def take(self) -> None:
        """Wait for one's turn. Raises TransientSourceError with `retry_after` if that takes too long."""
        waited = 0.0
        while (seconds := self._missing()) > 0:
            if waited + seconds > self._longest:
                raise TransientSourceError(
                    "the account's rate limit is used up",
                    do=f"try again when it has recovered, in {seconds:,.0f} s",
                    retry_after=seconds,
                )
            seconds += SystemRandom().uniform(0, 0.05)  # so that workers don't come back in step
            self._wait(seconds)
            waited += seconds

    def pause(self, seconds: float) -> None:
        """The system wants no more calls for so long, from no worker."""
        self._shared.put("pause", repr(time() + seconds).encode(), seconds)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Stop before the system has to say no: `X-RateLimit-Remaining: 0` and its like."""
        for prefix in ("x-ratelimit-", "x-rate-limit-", "ratelimit-"):
            if headers.get(f"{prefix}remaining") == "0" and (reset := headers.get(f"{prefix}reset", "")).isdigit():
                self.pause(max(0.0, int(reset) - (time() if int(reset) > EPOCH else 0)))

    def _missing(self) -> float:
        paused = self._shared.get("pause")
        if paused is not None and (left := float(paused) - time()) > 0:
            return left
        if self._limiter is None:
            return 0.0
        whose = self._shared.tenant, self._shared.account
        with self._shared.reached():
            if self._limiter.hit(self._items, *whose):
                return 0.0
            return max(0.01, float(self._limiter.get_window_stats(self._items, *whose).reset_time) - time())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from seconds or a date (RFC 9110, 10.2.3); None where nothing sensible is said."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", said):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except ValueError:
        return None


def _item(rate: str) -> Any:
    amount, _, span = rate.partition("/")
    number, unit = re.fullmatch(r"(\d*)([a-z]+)", span).groups()  # type: ignore[union-attr]  # by the setting's pattern
    return optional("limits", "http").RateLimitItemPerSecond(int(amount), int(number or 1) * UNITS[unit])
