from types import SimpleNamespace

import pytest

from importers.core.model import LoadMode, Remains, RunKind
from importers.pipeline import remains


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (RunKind.INCREMENTAL, "2 rows in an older version, as the newer is in quarantine"),
        (RunKind.REPLAY, "2 rows of the keys of rows that are in quarantine, newer or older ones"),
        (RunKind.WINDOW, "2 rows of the keys of rows that are in quarantine, newer or older ones"),
    ],
)
def test_which_version_is_newer_is_said_of_runs_that_bring_new_ones_alone(kind: RunKind, said: str) -> None:
    """Whoever replays old rows has newer ones of their keys in the table, perhaps."""
    job = SimpleNamespace(tenant=SimpleNamespace(tenant="acme"), stream=SimpleNamespace(target="calls"))
    run = SimpleNamespace(kind=kind, mode=LoadMode.MERGE)
    assert remains._untouched(job, run, Remains(withheld=2, rows=None, unlike=())) == [f"acme.calls: {said}"]
