"""A place's path says all of it, and the sweeper knows every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from importers.keys.keyring import RunKey
from importers.staging.area import Staging
from importers.staging.place import Made, RunPlace, split_attempt, split_quarantined
from importers.staging.quarantine import Quarantine
from importers.staging.sweeper import sweep, sweep_quarantine

RUN = RunPlace("acme", "listening", "plays", 7)
ATTEMPT = "0123456789abcdef" * 2


@pytest.mark.parametrize("made", Made)
def test_a_path_is_read_back_as_the_place_that_it_names(made: Made) -> None:
    place = RUN.partition(12, made)
    assert split_attempt(place.attempt(ATTEMPT)) == (place, ATTEMPT)
    assert split_quarantined(place.quarantined(ATTEMPT)) == (place, ATTEMPT)


def test_no_two_kinds_share_a_path() -> None:
    assert len({RUN.partition(1, made).path for made in Made}) == len(Made)


@pytest.mark.parametrize("made", Made)
def test_a_dead_run_s_data_goes_whatever_made_it(made: Made, tmp_path: Path) -> None:
    key = RunKey(bytes(32))
    staging, quarantine = Staging(str(tmp_path / "staging")), Quarantine(str(tmp_path / "quarantine"))
    with staging.writer(RUN.partition(0, made), key) as writer:
        staged = writer.finish()
    assert [found.attempt for found in staging.attempts(RUN.partition(0, made), key)] == [staged.attempt]
    assert not any(staging.attempts(RUN.partition(0, other), key) for other in Made if other is not made)
    file = tmp_path / "quarantine" / RUN.partition(0, made).quarantined(ATTEMPT)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"sealed")
    now, day = datetime.now(UTC), timedelta(days=1)
    assert sweep(staging, lambda _: False, lambda _: day, now).deleted == 1
    assert sweep_quarantine(quarantine, lambda *_: None, lambda _: False, now).deleted == 1
