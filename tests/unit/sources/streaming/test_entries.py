"""Entries with fields that nobody has classified."""

from __future__ import annotations

import pyarrow as pa
import pytest

from importers.core.model import Column, Reads, Stream
from importers.exceptions import ContractError
from importers.sources.streaming._entries import entries_batch

STREAM = Stream("events", (Column("n", pa.int64(), None),), Reads.POSITION)


@pytest.mark.parametrize(
    ("sampled", "why", "remedy"),
    [
        (False, "the source's `columns` don't name", "Name them there, with their types, and say in `privacy.columns`"),
        (True, "the sample didn't show", "Raise `sample_rows` until it does, or name all fields in `columns`, and say"),
    ],
)
def test_a_new_field_is_named_as_are_both_places_to_mend(sampled: bool, why: str, remedy: str) -> None:
    entries = [{b"n": b"1"}, {b"mail": b"ada@example.org", b"bob@example.org": b"1", b"zip": b"12345"}]
    with pytest.raises(ContractError) as told:
        entries_batch(STREAM, entries, ["n"], {}, ["k@1", "k@2"], sampled=sampled)
    said = str(told.value)
    assert f"entries have fields that {why}, so that nobody has classified them; got mail, zip and 1 whose" in said
    assert remedy in said
    assert "@example" not in said


def test_of_many_fields_the_first_are_named_and_the_others_counted() -> None:
    entry = {f"f{number}".encode(): b"" for number in range(8)}
    with pytest.raises(ContractError, match=r"got f0, f1, f2, f3, f4 and 3 more\."):
        entries_batch(STREAM, [entry], ["n"], {}, ["k@1"], sampled=False)
