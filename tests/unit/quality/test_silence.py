"""What Great Expectations logs stays unsaid while any of several threads uses it."""

from __future__ import annotations

import logging

from importers.quality.gx import _Silence


def test_the_last_one_out_ends_the_silence() -> None:
    logger, silence = logging.getLogger("great_expectations"), _Silence()
    before = logger.level
    silence.__enter__()  # one thread …
    silence.__enter__()  # … and another
    silence.__exit__()
    assert not logger.isEnabledFor(logging.CRITICAL)
    silence.__exit__()
    assert logger.level == before
