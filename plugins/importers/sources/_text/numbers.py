"""Numbers as people write them: decimal commas, and groups of thousands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

TYPESET = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}
"""What office programs write for what people type: blanks at which no line breaks, and a curved apostrophe."""


@dataclass(frozen=True)
class Numbers:
    """What stands before the decimals, and what between thousands, if anything."""

    decimal: str = "."
    thousands: str = ""

    @property
    def plain(self) -> bool:
        """Whether they are written as a parser takes them."""
        return self == Numbers()

    @property
    def _between(self) -> str:
        return TYPESET.get(self.thousands, self.thousands)

    @cached_property
    def _written(self) -> str:
        """Nobody groups behind a zero, or what has an exponent: `0.500` and `1.234E+03` are of another notation."""
        decimals = rf"(?:{re.escape(self.decimal)}\d*)?"
        groups = rf"|[1-9]\d{{0,2}}(?:[{re.escape(self._between)}]\d{{3}})+{decimals}" if self.thousands else ""
        return rf"^\s*[+-]?(?:\d*{decimals}(?:[eE][+-]?\d+)?{groups}|(?i:nan|inf|infinity))\s*$"

    def example(self, kind: pa.DataType) -> str:
        """How one is written, as a part of a sentence; empty where that is plain, or the type isn't one of numbers."""
        decimals = f"{self.decimal}5" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else ""
        if self.plain or not (decimals or (pa.types.is_integer(kind) and self.thousands)):
            return ""
        return f" written as 1{self.thousands}234{decimals}"

    def as_parsed(self, text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """The texts that are such numbers as a parser takes them; others as they are, if it doesn't take them either.

        `1.5` isn't a number where the decimal is a comma: it comes out with a mark that no number has.
        """
        if self.plain:
            return text
        fits = pc.match_substring_regex(text, self._written)
        bare = text
        plain = len(self._between) < 2 or pc.all(pc.string_is_ascii(text)).as_py()
        for separator in self.thousands if plain else self._between:
            bare = pc.replace_substring(bare, separator, "")
        bare = pc.replace_substring(bare, self.decimal, ".") if self.decimal != "." else bare
        return pc.if_else(fits, bare, pc.binary_join_element_wise(text, "?", ""))
