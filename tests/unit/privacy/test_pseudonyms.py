import hashlib
import hmac
import unicodedata
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.keys.keyring import Keyring
from importers.privacy.pseudonyms import has_pseudonyms, normalised, pseudonyms

KEY = hashlib.sha256(b"a test's key").digest()
# What both Rust and Arrow call white space; Python's strip() also takes the separators 0x1c to 0x1f.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def by_hand(text: str | None, *, exact: bool = False) -> uuid.UUID | None:
    if text is None:
        return None
    if exact:
        text = unicodedata.normalize("NFKC", text).strip(SPACE)
    elif not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).strip(SPACE).lower())
    else:
        text = text.strip(SPACE).lower()
    if not text:
        return None
    return uuid.UUID(bytes=hmac.new(KEY.hex().encode(), text.encode(), hashlib.sha256).digest()[:16])


known_to_this_python = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=12)


@pytest.mark.parametrize("exact", [False, True])
@given(st.lists(st.none() | known_to_this_python | st.sampled_from(["", " ", "Ada", "ada ", "ＡＤＡ", "é", "e\u0301"])))
def test_is_hmac_sha256_of_the_normalised_text(exact: bool, texts: list[str | None]) -> None:
    """Few of them, and many: these are worked on otherwise."""
    expected = [by_hand(text, exact=exact) for text in texts]
    for more in ([], ["Ada "] * 300):
        made = pseudonyms(pa.array(texts + more, pa.string()), KEY, case_sensitive=exact)
        assert made.to_pylist()[: len(texts)] == expected


@pytest.mark.parametrize("many", [1, 300])
def test_letters_case_counts_where_the_domain_says_so(many: int) -> None:
    """One by one, in columns of ASCII, and beside a letter that isn't."""
    ids = ["4iV5W9", " 4iV5W9\t", "4IV5W9", "4iv5w9"] * many
    for more in ([], ["é"]):
        made = pseudonyms(pa.array(ids + more), KEY, case_sensitive=True).to_pylist()
        assert made[:4] == [by_hand(text, exact=True) for text in ids[:4]]
        assert (made[0] == made[1], len(set(made[: len(ids)]))) == (True, 3)
        assert len(set(pseudonyms(pa.array(ids + more), KEY).to_pylist()[: len(ids)])) == 1


@pytest.mark.parametrize("text", ["\u210c", "\u0130\u0327", " \u00c9\u3000"])
def test_is_normalised_before_and_after_it_is_lowered(text: str) -> None:
    assert pseudonyms(pa.array([text]), KEY).to_pylist() == [by_hand(text)]


@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=12), max_size=9))
def test_few_ascii_texts_have_the_pseudonyms_that_many_have(texts: list[str]) -> None:
    many = pseudonyms(pa.array([*texts, *map(str, range(300))]), KEY)
    assert pseudonyms(pa.array(texts, pa.string()), KEY).equals(many[: len(texts)])
    assert many.to_pylist()[: len(texts)] == list(map(by_hand, texts))


@pytest.mark.parametrize("count", [0, 1, 7, 5000, 20000])
@pytest.mark.parametrize("distinct", [3, 10**9])
def test_long_and_sliced_arrays(count: int, distinct: int) -> None:
    texts = [None if i % 11 == 0 else f" User{i % distinct}" for i in range(count + 3)]
    got = pseudonyms(pa.array(texts).slice(3), KEY)
    assert got.type == pa.uuid()
    assert got.to_pylist() == [by_hand(text) for text in texts[3:]]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([42, None, -7], pa.int64()),
        pa.array([42, None, -7], pa.int8()),
        pa.array(["42", None, "-7"], pa.large_string()),
        pa.array([" 42", None, "-7\n"], pa.string_view()),
        pa.array(["0", "42", None, "-7"]).dictionary_encode().slice(1),
        pa.array([0, 42, None, -7]).dictionary_encode().slice(1),
    ],
)
def test_integers_and_texts_join(values: pa.Array) -> None:
    assert pseudonyms(values, KEY).to_pylist() == [by_hand("42"), None, by_hand("-7")]


def test_uuids_join_with_their_text() -> None:
    number = uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")
    as_uuid = pa.array([number.bytes, None], pa.uuid())
    assert pseudonyms(as_uuid, KEY).to_pylist() == [by_hand(str(number)), None]
    assert pseudonyms(pa.array([str(number).upper(), None]), KEY).equals(pseudonyms(as_uuid, KEY))


def test_nothing_joins_those_without_an_identifier() -> None:
    assert pseudonyms(pa.array(["", "  ", "\u3000", None]), KEY).null_count == 4
    assert pseudonyms(pa.nulls(2), KEY).to_pylist() == [None, None]


def test_ascii_texts_do_not_depend_on_their_neighbours() -> None:
    alone, beside = normalised(pa.array([" Ada\x1f", "I"])), normalised(pa.array([" Ada\x1f", "I", "é"]))
    assert alone.to_pylist() == beside.to_pylist()[:2] == ["ada\x1f", "i"]


def test_joins_inside_a_domain_and_nowhere_else() -> None:
    people = pa.array(["ada", "bob"])
    ring = Keyring([KEY])
    keys = [ring.tenant(tenant).pseudonym(domain) for tenant in ("acme", "globex") for domain in ("listener", "artist")]
    tokens = [token for key in keys for token in pseudonyms(people, key).to_pylist()]
    assert len(set(tokens)) == 8
    assert pseudonyms(people, ring.tenant("acme").pseudonym("listener")).to_pylist() == tokens[:2]


def test_are_what_stored_data_was_written_with() -> None:
    """Worked out with Python's hmac alone, HKDF by RFC 5869. With other values nothing would join any more."""
    key = Keyring([bytes(range(32))]).tenant("acme").pseudonym("listener")
    assert list(map(str, pseudonyms(pa.array(["Ada@Example.org ", "42", "\uff3ao\u00eb"]), key).to_pylist())) == [
        "69103b86-ff1f-0f67-413c-bd17fa42a8d9",
        "26b4c4fd-85ae-6b5d-35a3-a3523ed23fbe",
        "902e96b6-ce88-3ad3-b444-eff90ebd398d",
    ]


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.binary(), pa.timestamp("us"), pa.decimal128(5, 2)])
def test_what_has_no_one_spelling_has_no_pseudonym(kind: pa.DataType) -> None:
    assert not has_pseudonyms(kind)
    assert not has_pseudonyms(pa.dictionary(pa.int8(), kind))
