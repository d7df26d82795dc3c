"""Python's own `re` is the second source: the same texts have something that a pattern finds."""

import re
import sys
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers.core.tenant import Expectation
from importers.exceptions import ConfigError
from importers.quality.expressions import in_rust
from importers.quality.patterns import MatchRegex
from importers.quality.vocabulary import rule_of

pytestmark = pytest.mark.filterwarnings("ignore:Possible:FutureWarning")

TEXTS = [
    *("", "\n", "\n\n", "a", "a\n", "A", "b", "ab", "a b", "ab\nab", " ", "\x1c", "a\x1cb", "\u00a0", "x_y", "k9"),
    *("é", "e\u0301", "ß", "SS", "ſ", "K", "\u212a", "i", "I", "İ", "ı", "١٢", "12", "½", "日本", "𝔸"),
    *("a&b", "a-b", "--", "&", "~", "|", "[", "]", "a]", "^", "#", "{2}", "\\", "."),
]
PATTERNS = [
    *(
        "a$",
        "^a$",
        "^$",
        "$",
        "^",
        "",
        "(?:a$)?",
        "a|b$",
        "(?:(a)|b$)",
        "(?m)^$",
        "(?m)a$",
        r"(?m)^b",
        r"\Aa\Z",
        r"a\Z",
    ),
    *("a.", "(?s)a.", "a(?s:.)b", "[^a]", "(?x) a b  # both", "(?x: a )b", "a{2}", "a{,2}b", "(ab){1,2}?", "a*?b+"),
    *(
        "[a&&b]",
        "[a-z--b]",
        "[~~]",
        "[|||]",
        "[[(]",
        "[]a]",
        "[^]]",
        "[+-]",
        r"[\w-]",
        r"[^\W\d_]",
        r"[\s\S]",
        r"[.^\\]",
    ),
    *(
        r"\w",
        r"^\w+$",
        r"\W",
        r"^\s*$",
        r"^\S$",
        r"\d",
        r"^\d+$",
        r"\D",
        r"(?a)^\w+$",
        r"(?a)\s",
        r"(?a)\D",
        r"\bab?\b",
    ),
    *("(?i)ss", "(?i)k", "(?i)s", "(?i)i", "(?i)[h-j]", "(?i)[^h-j]", "(?i)ı", "(?i)É", "(?i:a)b", "(?i)a(?-i:B)"),
    *(r"\x41", r"\u00e9", r"\U0001d538", r"\.", r"\0", "#", "(?P<name>a)", "(?#why)a", "(?a)\\ba"),
]


def found(pattern, texts):
    return pl.Series(texts).str.contains(in_rust(pattern)).to_list()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_what_python_finds(pattern):
    assert found(pattern, TEXTS) == [bool(re.search(pattern, text)) for text in TEXTS]


@pytest.mark.parametrize("pattern", [r"\w", r"\W", r"\d", r"\s", r"(?i)[a-z]", "(?i)[^ß-ÿ]"])
def test_a_class_has_the_characters_that_python_has_in_it(pattern):
    """Of those that its Unicode knows: the engine's may be younger."""
    known = [chr(code) for code in range(0x30000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    wrong = [
        f"{ord(c):x}"
        for c, is_in in zip(known, found(pattern, known), strict=True)
        if is_in != bool(re.match(pattern, c))
    ]
    assert not wrong, sys.version


def groups(inner):
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        several.map("".join),
        several.map("|".join).map("({})".format),
        st.tuples(inner, st.sampled_from(["*", "+?", "?", "{2}", "{1,2}", "{,1}"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
        st.tuples(st.sampled_from(["(?i:", "(?m:", "(?s:", "(?-i:"]), inner).map(lambda two: f"{two[0]}{two[1]})"),
    )


CHARACTERS = "aAbiıkſ-&~|^]["
SETS = st.tuples(
    st.sampled_from(["", "^"]),
    st.lists(
        st.sampled_from([r"\w", r"\S", r"\d", "a-i", *CHARACTERS[:-2], r"\]", "[", r"\^"]), min_size=1, max_size=4
    ),
).map(lambda said: f"[{said[0]}{''.join(said[1])}]")
ATOMS = st.one_of(
    SETS, st.sampled_from(["^", "$", r"\A", r"\Z", ".", r"\w", r"\W", r"\s", "\n", r"\n", *CHARACTERS[:7]])
)


@settings(max_examples=200, deadline=None)
@given(st.recursive(ATOMS, groups, max_leaves=8), st.lists(st.text(CHARACTERS + "\n e\u0301"), min_size=1, max_size=20))
def test_any_pattern_finds_what_python_finds_or_is_not_for_the_engine(pattern, texts):
    try:
        compiled = re.compile(pattern)
    except re.error:  # such as a range that ends before it begins
        return
    try:
        told = found(pattern, texts)
    except LookupError:
        return
    assert told == [bool(compiled.search(text)) for text in texts]


@pytest.mark.parametrize(
    ("pattern", "compiles"),
    [
        *((pattern, False) for pattern in ("(?<=a)b", "a(?!b)", r"(a)\1", r"(?>a)b", r"\B", "(?ia)k")),
        *((pattern, False) for pattern in ("a$\n", "(a$|b)c?", "(?:a$)+")),
        (r"^\p{Lu}\z", True),  # which only the engine knows
    ],
)
def test_what_the_engine_cannot_do_is_left_to_great_expectations(pattern, compiles):
    assert MatchRegex(column="name", regex=pattern).compiles == compiles


def rule(pattern):
    return rule_of(Expectation(type="expect_column_values_to_match_regex", kwargs={"column": "name", "regex": pattern}))


@pytest.mark.parametrize("pattern", ["[[:alpha:]]", "^[_[:digit:]]+$", "[[:^space:]]"])
def test_what_other_engines_take_for_a_class_is_refused(pattern):
    with pytest.raises(ConfigError, match=r"no such class.*\[:\^?\w+:\].*A-Za-z"):
        rule(pattern)


@pytest.mark.parametrize("pattern", ["a(", "a{99999999999}"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match="regular expression isn't valid"):
        rule(pattern)
