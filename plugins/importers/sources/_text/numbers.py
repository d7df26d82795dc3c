"""Numbers as people write them: decimal commas, and groups of thousands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Numbers:
    """What stands before the decimals, and what between thousands, if anything."""

    decimal: str = "."
    thousands: str = ""

    @property
    def plain(self) -> bool:
        """Whether they are written as a parser takes them."""
        return self == Numbers()

    @cached_property
    def _written(self) -> str:
        groups = rf"|\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+" if self.thousands else ""
        number = rf"(?:\d+{groups})?(?:{re.escape(self.decimal)}\d+)?(?:[eE][+-]?\d+)?"
        return rf"^\s*[+-]?(?:{number}|(?i:nan|inf|infinity))\s*$"

    def as_parsed(self, text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """The texts that are such numbers as a parser takes them; others as they are, if it doesn't take them either.

        `1.5` isn't a number where the decimal is a comma: it comes out with a mark that no number has.
        """
        if self.plain:
            return text
        fits = pc.match_substring_regex(text, self._written)
        bare = pc.replace_substring(text, self.thousands, "") if self.thousands else text
        bare = pc.replace_substring(bare, self.decimal, ".") if self.decimal != "." else bare
        return pc.if_else(fits, bare, pc.binary_join_element_wise(text, "?", ""))
