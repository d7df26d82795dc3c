"""YAML 1.2 as plain values, with the line of every key and item kept for messages.

Text in, values out: no tags that make objects, no duplicate keys, no bombs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from importers.core.secret_shapes import secret_shape
from importers.core.yaml_fast import PlainReader, UnusualError
from importers.exceptions import ConfigError

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where in a file: `("pipelines", "listening", "expect", 0)`."""

MAX_CHARS = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Counted with aliases written out, so that a few lines can't become gigabytes."""

_CORE = "tag:yaml.org,2002:"
_PLAIN = frozenset(_CORE + kind for kind in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq"))
_WORD = re.compile(r"'[\w!.:/-]{2,}'")


@dataclass(frozen=True, slots=True)
class Marked:
    """A document as plain values, where its parts stand (lines count from 1), and what is wrong with it as YAML."""

    value: Any
    lines: Mapping[KeyPath, int]
    problems: tuple[ConfigError, ...]


def dotted(path: KeyPath) -> str:
    """A path as people write it: `pipelines.listening.expect[0]`. A key that looks like a secret isn't shown."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{'(hidden)' if secret_shape(part) else part}"
    return text.removeprefix(".")


def read_yaml(text: str, file: str) -> Marked:
    """One document. What makes it unreadable is its only problem, and its value is then None."""
    if len(text) > MAX_CHARS:
        return _unreadable(ConfigError("the file is too big", got=f"{len(text):,} characters", do=_SIZE, file=file))
    yaml = YAML(typ="safe", pure=True)
    with suppress(UnusualError):
        fast = PlainReader(yaml, MAX_DEPTH, MAX_NODES)
        return Marked(fast.read(text), fast.lines, ())
    yaml.max_depth = MAX_DEPTH
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(text)
        if root is None:
            raise ConfigError("the file is empty", do="a tenant file starts with `tenant: NAME`", line=1)
        reading = _Reading(file, yaml.constructor)
        value = reading.value(root, ())
    except ConfigError as error:
        return _unreadable(error.at(file=file))
    except MarkedYAMLError as error:
        return _unreadable(_syntax(error, file, len(text.splitlines())))
    except YAMLError as error:  # a character that YAML forbids; the error knows its position only
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        return _unreadable(ConfigError("the file holds a character that YAML forbids", file=file, line=line))
    return Marked(value, reading.lines, tuple(reading.problems))


_UNCLOSED = ("quoted scalar", "simple key", "stream end", "end of stream")
_SIZE = f"a tenant file has at most {MAX_CHARS:,} characters; aliases written out, {MAX_NODES:,} values"


def _unreadable(error: ConfigError) -> Marked:
    return Marked(None, {}, (error,))


def _syntax(error: MarkedYAMLError, file: str, lines: int) -> ConfigError:
    """What the parser met, and where to look: for what was never closed, where it was opened."""
    problem, context = error.problem or "", error.context or ""
    if "maximum depth" in problem:
        problem = f"it nests deeper than {MAX_DEPTH} levels"
    mark = error.problem_mark or error.context_mark
    if error.context_mark and any(sign in f"{context} {problem}" for sign in _UNCLOSED):
        mark = error.context_mark
    if error.context_mark and mark is not error.context_mark:
        context += f" that starts on line {error.context_mark.line + 1}"
    tab = "found character '\\t'" in problem
    # An alias or a tag may be a secret that lacks its quotation marks: words of the file aren't repeated.
    what = ", ".join(part for part in (context, _WORD.sub("(hidden)", problem.split("\n")[0])) if part)
    return ConfigError(
        f"this isn't valid YAML: {what}",
        do="indent by spaces, never tabs" if tab else _INDENT if _misplaced(problem) else "",
        file=file,
        line=min(mark.line + 1, lines) if mark else 1,
    )


_INDENT = "see that the keys of one mapping begin in the same column: here, or on the line before"


def _misplaced(problem: str) -> bool:
    """Whether the parser met a key where the indentation lets none be."""
    return "mapping values are not allowed" in problem or "block mapping start" in problem


class _Reading:
    """Walks the nodes of one document, keeping lines and collecting what is wrong."""

    def __init__(self, file: str, constructor: Any) -> None:
        self.file, self.constructor = file, constructor
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[ConfigError] = []
        self.nodes = 0

    def value(self, node: Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise ConfigError("the file's aliases hold too much", do=_SIZE, line=node.start_mark.line + 1)
        if str(node.tag) not in _PLAIN:
            self.problem(
                node, f"`{dotted(path)}` has a YAML tag", "plain text, numbers, lists and mappings are allowed"
            )
            return None
        if isinstance(node, MappingNode):
            return {key: self.value(child, (*path, key)) for key, child in self.entries(node, path)}
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, number)) for number, child in enumerate(node.value)]
        return self.scalar(node, path)

    def entries(self, node: MappingNode, path: KeyPath) -> Iterator[tuple[str, Node]]:
        first: dict[str, int] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if str(key_node.tag) == _CORE + "merge":
                self.problem(key_node, "`<<` merges are not part of YAML 1.2", "write the keys out, or use an alias")
            elif not isinstance(key_node, ScalarNode) or str(key_node.tag) != _CORE + "str":
                self.problem(key_node, f"a key{f' in `{dotted(path)}`' if path else ''} isn't text", "put it in quotes")
            elif key in first:
                what = f"`{dotted((*path, key))}` is there twice, first on line {first[key]}"
                self.problem(key_node, what, "keep one of them")
            else:
                first[key] = self.lines[(*path, key)] = line
                yield key, child

    def scalar(self, node: Node, path: KeyPath) -> Any:
        if str(node.tag) in (_CORE + "str", _CORE + "timestamp"):  # YAML 1.2 has no dates: they stay as written
            return node.value
        try:
            return self.constructor.construct_object(node)
        except (ValueError, YAMLError):
            kind = str(node.tag).removeprefix(_CORE)
            self.problem(node, f"`{dotted(path)}` can't be read as {kind}", "put text in quotes")
            return None

    def problem(self, node: Node, what: str, do: str) -> None:
        self.problems.append(ConfigError(what, do=do, file=self.file, line=node.start_mark.line + 1))
