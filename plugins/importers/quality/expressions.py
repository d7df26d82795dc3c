"""Python's regular expressions, as Great Expectations has them, for Rust's engine, which takes linear time.

Both read much of their syntax differently, without a word: Python's `$` also stands before a last newline, to Rust
`[a&&b]` is an intersection, and a combining accent is part of a word. So what a pattern says is Python's own parser's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypeAlias

from importers.exceptions import ConfigError

_parser, _codes = import_module("re._parser"), import_module("re._constants")
Item: TypeAlias = tuple[Any, Any]

POSIX = re.compile(r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]")
CATEGORIES = {
    _codes.CATEGORY_DIGIT: (r"\d", r"0-9"),
    _codes.CATEGORY_SPACE: (r"\s\x1c-\x1f", r"\t-\r\x20"),
    _codes.CATEGORY_WORD: (r"\p{L}\p{N}_", r"0-9A-Za-z_"),
}
"""What is in each, of Unicode and with Python's flag for ASCII."""
OPPOSITES = {
    _codes.CATEGORY_NOT_DIGIT: _codes.CATEGORY_DIGIT,
    _codes.CATEGORY_NOT_SPACE: _codes.CATEGORY_SPACE,
    _codes.CATEGORY_NOT_WORD: _codes.CATEGORY_WORD,
}
LETTERS_I = "Ii\u0130\u0131"
"""One letter to Python where case doesn't count; to Unicode those with and without a Turkish dot are others."""


def in_rust(pattern: str) -> str:
    """What finds something in the same texts.

    Raises re.error or OverflowError if Python can't read the pattern, LookupError if Rust's engine can't do it
    (look-around, back-references), ConfigError if it looks like what other engines read otherwise.
    """
    if found := POSIX.search(pattern):
        raise ConfigError(
            "Python's regular expressions have no such class of characters",
            got=found[0],
            do=r"write its characters, such as [A-Za-z]; \w, \d and \s are there, [^\W\d_] is any letter",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that `[a&&b]` may come to mean something else
        parsed = _parser.parse(pattern)
    return _sequence(parsed, parsed.state.flags, last=True)


def _sequence(items: Sequence[Item], flags: int, *, last: bool) -> str:
    """`last`: nothing comes after it."""
    ends = len(items) - 1
    return "".join(_item(op, said, flags, last=last and place == ends) for place, (op, said) in enumerate(items))


def _item(op: Any, said: Any, flags: int, *, last: bool) -> str:
    if op is _codes.LITERAL:
        return _set([(op, said)], flags)
    if op is _codes.NOT_LITERAL:
        return _set([(_codes.NEGATE, None), (_codes.LITERAL, said)], flags)
    if op is _codes.IN:
        return _set(said, flags)
    if op is _codes.ANY:
        return "(?s:.)" if flags & re.DOTALL else "."
    if op is _codes.AT:
        return _place(said, flags, last=last)
    if op is _codes.BRANCH:
        return f"(?:{'|'.join(_sequence(branch, flags, last=last) for branch in said[1])})"
    if op is _codes.SUBPATTERN:
        _, added, removed, items = said
        return f"(?:{_sequence(items, (flags | added) & ~removed, last=last)})"
    if op in (_codes.MAX_REPEAT, _codes.MIN_REPEAT):
        least, most, items = said
        times = f"{least}," if most is _codes.MAXREPEAT else f"{least},{most}"
        return f"(?:{_sequence(items, flags, last=last and most == 1)}){{{times}}}"
    raise LookupError(f"Rust's engine has no {op}")


def _place(said: Any, flags: int, *, last: bool) -> str:
    lines = flags & re.MULTILINE
    if said is _codes.AT_END and not lines:
        if not last:
            raise LookupError("Rust's engine can't look for a newline that something else is to find")
        return r"(?:\n?\z)"
    return {
        _codes.AT_BEGINNING: "(?m:^)" if lines else r"\A",
        _codes.AT_BEGINNING_STRING: r"\A",
        _codes.AT_END: "(?m:$)",
        _codes.AT_END_STRING: r"\z",
        _codes.AT_BOUNDARY: r"(?-u:\b)" if flags & re.ASCII else r"\b",
    }[said]  # not \B, which Python doesn't find in an empty text


def _set(items: Sequence[Item], flags: int) -> str:
    """One character of those, or of all others."""
    negated = items[0][0] is _codes.NEGATE
    items = items[negated:]
    ranges = [said if op is _codes.RANGE else (said, said) for op, said in items if op is not _codes.CATEGORY]
    folds = bool(ranges and flags & re.IGNORECASE)
    if folds and flags & re.ASCII:
        raise LookupError("Rust's engine lets case count or not, whatever the alphabet")
    if folds and any(first <= ord(letter) <= end for first, end in ranges for letter in LETTERS_I):
        ranges += [(ord(letter), ord(letter)) for letter in LETTERS_I]
    characters = "".join(_said(one) if one == end else f"{_said(one)}-{_said(end)}" for one, end in ranges)
    categories = "".join(_category(said, flags) for op, said in items if op is _codes.CATEGORY)
    found = f"[{'^' * negated}{characters}{categories}]"
    return f"(?i:{found})" if folds else found


def _category(said: Any, flags: int) -> str:
    of_unicode, of_ascii = CATEGORIES[OPPOSITES.get(said, said)]
    return f"[{'^' * (said in OPPOSITES)}{of_ascii if flags & re.ASCII else of_unicode}]"


def _said(code: int) -> str:
    return chr(code) if chr(code).isascii() and chr(code).isalnum() else f"\\x{{{code:x}}}"
