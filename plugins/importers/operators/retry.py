"""Whether to try again: the class of an error says so."""

from __future__ import annotations

from datetime import timedelta
from random import SystemRandom
from typing import TYPE_CHECKING

from airflow.sdk import RetryDecision, RetryPolicy

from importers.exceptions import ImporterError, RunAbortedError, TransientSourceError

if TYPE_CHECKING:
    from airflow.sdk import Context

FIRST, LONGEST = 15.0, 900.0  # seconds
WAITS = 20
"""How often one try waits as it was told; then it has failed. A source may say 'later' for ever."""


class RetryByRemedy(RetryPolicy):
    """What a person has to mend fails at once; what passes is tried again, when the other side said or ever later.

    In a DAG that starts anew as soon as it has failed, `looping`, the first is tried ever later, too.
    """

    def __init__(self, *, looping: bool = False) -> None:
        self.looping = looping

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        name = type(exception).__name__
        match exception:
            case TransientSourceError():
                told = told_to_wait(exception)
                if told is not None:
                    return RetryDecision.retry(told, f"{name}: as it was told")
                return RetryDecision.retry(_ever_later(try_number), f"{name}: it may pass")
            case RunAbortedError():
                return RetryDecision.fail(f"{name}: trying again won't help")
            case ImporterError() if self.looping:
                return RetryDecision.retry(_ever_later(try_number), f"{name}: it may have been mended")
            case ImporterError() if type(exception) is not ImporterError:  # the base itself: nobody foresaw it
                return RetryDecision.fail(f"{name}: trying again won't help")
        return RetryDecision.default()


def _ever_later(try_number: int) -> timedelta:
    delay = min(FIRST * 2.0 ** min(try_number - 1, 10), LONGEST)
    return timedelta(seconds=delay + _jitter(delay))


def told_to_wait(error: TransientSourceError) -> timedelta | None:
    """For how long the other side asked to be left alone; None if it didn't."""
    seconds = error.retry_after
    return None if seconds is None else timedelta(seconds=max(0.0, seconds) + _jitter(1.0))


def _jitter(most: float) -> float:
    """So that what failed together doesn't come back together."""
    return SystemRandom().uniform(0, most)
