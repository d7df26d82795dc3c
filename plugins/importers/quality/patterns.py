"""Rules on the text of a value: regular expressions, and SQL's LIKE as PostgreSQL has it."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from importers.exceptions import ConfigError
from importers.quality.columns import Columns
from importers.quality.expressions import in_rust
from importers.quality.rowwise import Judged, RowRule, known

_Patterns = Annotated[list[str], Field(min_length=1)]


class TextRule(RowRule):
    """A rule that looks for patterns in a column's text, and holds where any is found."""

    column: str

    @property
    @abstractmethod
    def patterns(self) -> Sequence[str]: ...

    @abstractmethod
    def regex_of(self, pattern: str) -> str:
        """Rust's regular expression for a pattern. Raises ConfigError for one that means nothing."""

    def judged(self, at: Columns) -> Judged:
        x = at(self.column)
        text = x.text()
        return known(x, self.holds([text.str.contains(self.regex_of(pattern)) for pattern in self.patterns]))

    def holds(self, found: list[pl.Expr]) -> pl.Expr:
        return reduce(or_, found)


class _None(TextRule):
    """Holds where no pattern is found."""

    def holds(self, found: list[pl.Expr]) -> pl.Expr:
        return ~reduce(or_, found)


class _AnyOrAll(TextRule):
    match_on: Literal["any", "all"] = "any"

    def holds(self, found: list[pl.Expr]) -> pl.Expr:
        return reduce(or_ if self.match_on == "any" else and_, found)


class PatternRule(TextRule):
    """Searches text for Python's regular expressions, with Rust's linear-time engine."""

    def regex_of(self, pattern: str) -> str:
        """Raises LookupError, too, for what the engine can't do."""
        try:
            return in_rust(pattern)
        except (re.error, OverflowError):
            return pattern  # nothing else is meant by \p{L}, which Python doesn't know

    @property
    def compiles(self) -> bool:
        """Whether the engine can do every pattern. Raises ConfigError for one that engines read differently."""
        try:
            for pattern in self.patterns:
                pl.Series([""]).str.contains(self.regex_of(pattern))
        except (LookupError, pl.exceptions.ComputeError):
            return False
        return True


class MatchRegex(PatternRule):
    """The pattern, as Python writes them, occurs somewhere in the text."""

    regex: str

    @property
    def patterns(self) -> Sequence[str]:
        return [self.regex]


class NotMatchRegex(_None, MatchRegex):
    """The pattern occurs nowhere in the text."""


class _RegexList(PatternRule):
    regex_list: _Patterns

    @property
    def patterns(self) -> Sequence[str]:
        return self.regex_list


class MatchRegexList(_AnyOrAll, _RegexList):
    """Any of the patterns, or all, occur."""


class NotMatchRegexList(_None, _RegexList):
    """None of the patterns occurs."""


class LikeRule(TextRule):
    """Compares the whole text with SQL patterns: `%` is any text, `_` one character. Case counts."""

    escape: Annotated[str, Field(min_length=1, max_length=1)] = "\\"

    def regex_of(self, pattern: str) -> str:
        wild = {"%": ".*", "_": "."}
        said, characters = [], iter(pattern)
        for character in characters:
            if character == self.escape:
                escaped = next(characters, "")
                if not escaped:
                    raise ConfigError("a LIKE pattern ends with its escape", got=pattern, do="double the escape")
                said.append(re.escape(escaped))
            else:
                said.append(wild.get(character) or re.escape(character))
        return f"(?s)^{''.join(said)}$"


class MatchLike(LikeRule):
    """The whole text is like the SQL pattern."""

    like_pattern: str

    @property
    def patterns(self) -> Sequence[str]:
        return [self.like_pattern]


class NotMatchLike(_None, MatchLike):
    """The text isn't like the SQL pattern."""


class _LikeList(LikeRule):
    like_pattern_list: _Patterns

    @property
    def patterns(self) -> Sequence[str]:
        return self.like_pattern_list


class MatchLikeList(_AnyOrAll, _LikeList):
    """The text is like any of the SQL patterns, or all."""


class NotMatchLikeList(_None, _LikeList):
    """The text is like none of the SQL patterns."""
