"""libyaml's reading against ruamel.yaml's: what the fast one gives is what the other says."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from importers.core import yaml_fast
from importers.core.yaml_fast import PlainReader, UnusualError
from importers.core.yaml_marks import MAX_DEPTH, MAX_NODES, Marked, read_yaml

EXAMPLES = sorted((Path(__file__).parents[3] / "include" / "tenants").glob("*.yaml"))


def fast(text: str, nodes: int = MAX_NODES) -> Marked | None:
    reader = PlainReader(YAML(typ="safe", pure=True), MAX_DEPTH, nodes)
    try:
        return Marked(reader.read(text), reader.lines, ())
    except UnusualError:
        return None


def slow(text: str) -> Marked:
    with patch.object(yaml_fast.yaml, "__with_libyaml__", False):
        return read_yaml(text, "f")


chars = st.text(alphabet=" -[]{}&*!|>'\"%@a1,?#<~.=xoe+_0\\/:", max_size=9)
keys = st.sampled_from(["a", "b", "c", "'d'", '"e"', "1", "a b", "?x", "-y", "a:b", "a#b", "<<", "no", "0o7"]) | chars
values = chars | st.sampled_from(
    ["no", "012", "0o17", "0x1F", "1e3", "~", "null", "-.inf", "2024-02-30", "1:30", "1_0"]
)
lines = st.builds("{}{}: {}".format, st.sampled_from(["", "  ", "    ", "- ", "  - "]), keys, values)
texts = st.one_of(
    st.lists(lines | chars, max_size=5).map("\n".join),
    chars.map("a: [{}]".format),
    chars.map("a: {{{}}}".format),
    values.map("a: {}".format),
    st.text(alphabet=" \n\r\x85\u2028\t:-[]{}ab", max_size=20).map("a: 1\n{}".format),
)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_what_is_read_fast_is_what_the_rules_of_yaml_1_2_say(text: str) -> None:
    found = fast(text)
    if found is not None:
        expected = slow(text)
        assert (repr(found.value), found.lines, found.problems) == (
            repr(expected.value),
            expected.lines,
            expected.problems,
        )


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_file_as_people_write_it_is_read_fast(file: Path) -> None:
    text = file.read_text()
    assert fast(text) == slow(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: &x 1",
        "a: &x 1\nb: *x",
        "a: !t 1",
        "!!map {a: 1}",
        "1: a",
        "<<: {a: 1}",
        "a: [b: 1]",
        "a: 1\n---\nb: 2",
        "---\na: 1",
        "%YAML 1.1\n---\na: 1",
        "a: |\n  text",
        "a: one\n  two",
        "a: 'one\n  two'",
        "a:\t1",
        "a: \x85 b",
        "a: [",
        "",
        "a",
        "- a",
        "a: " + "[" * MAX_DEPTH,
    ],
)
def test_what_is_unusual_is_left_to_the_careful_reader(text: str) -> None:
    assert fast(text) is None


def test_too_much_is_left_to_the_careful_reader() -> None:
    assert fast("a: [1, 2]", nodes=4) is not None
    assert fast("a: [1, 2]", nodes=3) is None
