"""YAML as most people write it, read by libyaml: ten times faster, and only what `yaml_marks` would read the same.

Whatever is unusual (an alias, a tag, a key that is there twice or isn't text, a directive, a fault) makes no value
here: `yaml_marks` then reads the text, and has the words for what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from ruamel.yaml.nodes import ScalarNode

# By YAML 1.1, which libyaml speaks, these end a line; tabs and directives the two read differently as well.
_UNUSUAL = re.compile("[\x85\u2028\u2029\ufeff\t]|^[%.-]|\n(?:%|---|\\.\\.\\.)")
_BLOCKS = ("|", ">")
_TEXT = "tag:yaml.org,2002:str"
_AS_WRITTEN = frozenset((_TEXT, "tag:yaml.org,2002:timestamp"))
_VALUES = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))


class UnusualError(Exception):
    """The text is for `yaml_marks`."""


class PlainReader:
    """Reads one document; `lines` as `yaml_marks.Marked` has them. What a word means is by ruamel.yaml's rules."""

    def __init__(self, rules: Any, max_depth: int, max_nodes: int) -> None:
        self._resolver, self._constructor = rules.resolver, rules.constructor
        self._doubtful = frozenset(self._resolver.versioned_resolver)
        self._depth, self._left = max_depth, max_nodes
        self.lines: dict[tuple[str | int, ...], int] = {}

    def read(self, text: str) -> Any:
        """The value. Raises UnusualError."""
        if not yaml.__with_libyaml__ or _UNUSUAL.search(text):
            raise UnusualError
        events = _events(text)
        try:
            first = next(events)
            if not isinstance(first, yaml.MappingStartEvent):
                raise UnusualError
            value = self._value(first, events, ())
            if next(events, None) is not None:
                raise UnusualError
        except (yaml.YAMLError, StopIteration):
            raise UnusualError from None
        return value

    def _value(self, event: Any, events: Iterator[Any], path: tuple[str | int, ...]) -> Any:
        self._left -= 1
        if event.anchor is not None or event.tag is not None or self._left < 0 or len(path) >= self._depth:
            raise UnusualError
        start, end = event.start_mark, event.end_mark
        self.lines.setdefault(path, start.line + 1)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.MappingStartEvent):
            if event.flow_style and start.index == end.index:  # `[a: 1]`
                raise UnusualError
            return self._mapping(events, path)
        found: list[Any] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            found.append(self._value(item, events, (*path, len(found))))
        return found

    def _mapping(self, events: Iterator[Any], path: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(key := next(events), yaml.MappingEndEvent):
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarEvent) or key.anchor is not None or self._tag(key) != _TEXT:
                raise UnusualError
            if key.value in found:
                raise UnusualError
            at = (*path, key.value)
            self.lines[at] = line
            found[key.value] = self._value(next(events), events, at)
        return found

    def _tag(self, event: Any) -> str:
        if event.tag is not None or event.style in _BLOCKS or event.start_mark.line != event.end_mark.line:
            raise UnusualError
        if not event.implicit[0] or event.value[:1] not in self._doubtful:
            return _TEXT
        return str(self._resolver.resolve(ScalarNode, event.value, (True, False)))

    def _scalar(self, event: Any) -> Any:
        tag = self._tag(event)
        if tag in _AS_WRITTEN:
            return event.value
        if tag not in _VALUES:
            raise UnusualError
        try:
            return self._constructor.construct_object(ScalarNode(tag, event.value))
        except ValueError:
            raise UnusualError from None


def _events(text: str) -> Iterator[Any]:
    """Without those that only frame a document: a second document's follow the first's."""
    parser: Any = yaml.CLoader(text)
    while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
        if isinstance(event, yaml.AliasEvent):
            raise UnusualError
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent):
            yield event
