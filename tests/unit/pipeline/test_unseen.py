"""What is said of columns that no sampled record has: of records that needn't have each."""

import pyarrow as pa
import pytest

from importers.core.model import Column, Reads, Stream
from importers.core.settings import StreamSettings
from importers.core.tenant import Load, Privacy
from importers.pipeline.unseen import notes

N, S = pa.int64(), pa.string()
USER = pa.struct([("id", S), ("plan", S)])


def said(before: dict, seen: dict, *, optional: tuple[str, ...] = (), **privacy) -> tuple[str, ...]:
    privacy = {"purpose": "tests", "lawful_basis": "contract", "unclassified": "drop"} | privacy
    privacy.setdefault("subject", {"none": True, "reason": "invented"})
    settings = StreamSettings((), Privacy.model_validate(privacy), Load(optional=list(optional)))
    columns = tuple(Column(name, kind, None) for name, kind in before.items())
    return notes(Stream("plays", columns, Reads.SNAPSHOT), pa.schema(seen), settings)


KEPT = {"id": "keep", "amount": "keep"}


@pytest.mark.parametrize(
    ("before", "seen", "renamed"),
    [
        ({"id": N, "amount": N}, {"id": N, "total": N}, "amount (it may be total now), which"),
        ({"id": N, "amount": N}, {"id": N, "total": S}, "amount, which"),
        ({"id": N, "amount": N}, {"id": N, "total": N, "sum": N}, "amount, which"),
        ({"id": N, "amount": N, "total": N}, {"id": N, "total": N}, "amount (it may be total now), which"),
        ({"id": N, "amount": N, "old": N}, {"id": N, "old": N, "total": N}, "amount (it may be total now), which"),
        ({"id": N, "amount": N}, {"id": N, "ann@example.org": N}, "amount (it may be a name that isn't shown now)"),
        ({"id": N, "amount": N}, {"id": N}, "amount, which"),
    ],
)
def test_a_column_that_nothing_has_is_told_and_the_one_that_it_may_be(before, seen, renamed):
    (note,) = said(before, seen, columns=KEPT)
    assert note.startswith(f"no record of the sample has {renamed}")


def test_nobody_misses_what_is_there_is_dropped_or_may_be_missing():
    before = {"id": N, "amount": N}
    assert said(before, {**before, "total": N}, columns=KEPT) == ()
    assert said({**before, "x": N}, before, columns=KEPT) == ()
    assert said({**before, "x": N}, before, columns={**KEPT, "x": "drop"}) == ()
    assert said(before, {"id": N}, columns=KEPT, optional=("amount",)) == ()
    (note,) = said(before, {"id": N, "total": N}, columns={**KEPT, "total": "drop"})
    assert "no record of the sample has amount, which" in note  # the tenant has said what `total` is


@pytest.mark.parametrize("treat", ["pseudonymise", "drop"])
def test_the_subject_is_told_apart_and_first(treat):
    policy = {"columns": {**KEPT, "who": treat}, "subject": {"column": "who", "domain": "listener"}}
    whose, other = said({"who": S, "amount": N, "id": N}, {"whom": S, "id": N}, **policy)
    assert "says whose it is: none has 'who', the subject (it may be whom now)" in whose
    assert "no record of the sample has amount, which" in other


@pytest.mark.parametrize("seen", [{"amount": N, "user": pa.struct([("plan", S)])}, {"amount": N}])
def test_a_subject_within_an_object_too(seen):
    columns = {"user.id": "pseudonymise", "user.plan": "keep", "amount": "keep"}
    subject = {"column": "user.id", "domain": "listener"}
    (note,) = said({"user": USER, "amount": N}, seen, columns=columns, subject=subject)
    assert note.startswith("no record of the sample says whose it is: none has 'user.id', the subject. ")
