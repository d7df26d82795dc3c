"""Where a CSV record ends, and which of its newlines don't end it.

Inside quotes a newline is data. A parser walks every byte to know; here the parity of the quotes before a newline
tells, as long as they are *tidy*: none opens in the middle of a field. Where one does (`5" pipe`), a regular
expression walks as the parser does, slower.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from importers.sources._text.blocks import NEWLINE, Bytes, Positions, count
from importers.transport.text import Fill

LINE = re.compile(rb"[^\r\n]++")
SCAN = 1 << 20
"""Bytes looked at together while planning: what fits the processor's cache."""


class Split(NamedTuple):
    """Where a file may be cut, and how many newlines are between the front and there."""

    at: int
    newlines: int


@dataclass(frozen=True)
class Dialect:
    """The characters that give a CSV file its shape, each one byte; all but the delimiter may be absent."""

    delimiter: bytes = b","
    quote: bytes = b'"'
    escape: bytes = b""
    comment: bytes = b""

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A record and its end, as group 1; or, as group 2, what has a quote that is never closed.

        Possessive throughout: a quote once opened isn't reconsidered, and no input takes more than one walk.
        """
        plain = self._plain
        field = b"(?:" + self._quoted() + b"|(?!" + re.escape(self.quote) + b"))" + plain if self.quote else plain
        ending = rb"(\r\n|\n|\r|\Z)"
        more = re.escape(self.delimiter) + field
        return re.compile(field + b"(?:" + more + b")*+" + ending + b"|(.+)", re.DOTALL)

    def _quoted(self, without: bytes = b"") -> bytes:
        """An expression for a cell in quotes."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        inner = b"[^" + quote + escape + without + b"]*+"
        pair = b"(?:" + quote + quote + (b"|" + escape + b"." if escape else b"") + b")"
        return quote + inner + b"(?:" + pair + inner + b")*+" + quote

    @cached_property
    def _plain(self) -> bytes:
        """An expression for a cell without quotes, or what follows them."""
        escape = re.escape(self.escape)
        plain = b"[^" + re.escape(self.delimiter) + escape + rb"\r\n]*+"
        return plain + (b"(?:" + escape + b"." + plain + b")*+" if escape else b"")

    @cached_property
    def _strayless(self) -> re.Pattern[bytes]:
        """Records none of whose cells has newlines, and text behind its closing quote."""
        end = b"(?:" + re.escape(self.delimiter) + rb"|\r\n|\n|\r|\Z)"
        closed = self._quoted() + rb"[ \t]*+(?=" + end + b")"
        in_line = self._quoted(rb"\r\n") + self._plain
        bare = b"(?!" + re.escape(self.quote) + b")" + self._plain
        return re.compile(b"(?:(?:" + closed + b"|" + in_line + b"|" + bare + b")" + end + b")*+", re.DOTALL)

    @cached_property
    def _cells(self) -> re.Pattern[bytes]:
        """Each cell of a record, with what is in its quotes, and what follows them."""
        end = b"(?:" + re.escape(self.delimiter) + rb"|\Z)"
        return re.compile(b"(" + self._quoted() + b")?+(" + self._plain + b")" + end, re.DOTALL)

    @cached_property
    def _remark(self) -> re.Pattern[bytes]:
        return re.compile(rb"(?:\A|(?<=[\r\n]))" + re.escape(self.comment) + rb"[^\r\n]*+")

    @cached_property
    def _beside(self) -> npt.NDArray[np.bool_]:
        allowed = np.zeros(256, np.bool_)
        allowed[list(self.delimiter + self.quote + b"\r\n")] = True
        return allowed

    def records(self, data: bytes | bytearray, length: int) -> tuple[list[tuple[int, int]], int]:
        """[start, end) of every record that isn't an empty line, without its newline; and where a torn one starts."""
        if not self.escape and (not self.quote or data.find(self.quote, 0, length) < 0):
            return [match.span() for match in LINE.finditer(data, 0, length)], length
        found: list[tuple[int, int]] = []
        for match in self.record.finditer(data, 0, length):
            if match.group(2) is not None:
                return found, match.start()
            if match.start(1) > match.start():
                found.append((match.start(), match.start(1)))
        return found, length

    def strays(self, data: bytearray, length: int) -> list[tuple[int, int]]:
        """[start, end) of the records in which a cell has newlines, and text behind its closing quote.

        Its quotes are two that stand alone, each in a record of its own: what is between them is no cell.
        """
        if not self.quote or data.find(self.quote, 0, length) < 0:
            return []
        block = np.frombuffer(data, np.uint8, length)
        quotes = self._quotes(data, length, block)
        if not self.escape and self.tidy(block, quotes) and self.closed(block, quotes):
            return []
        if (strayless := self._strayless.match(data, 0, length)) and strayless.end() == length:
            return []
        return [span for span in self.records(data, length)[0] if self._is_stray(data, *span)]

    def _is_stray(self, data: bytearray, start: int, end: int) -> bool:
        cells = (match.groups(b"") for match in self._cells.finditer(data, start, end))
        return any(after.strip() and (b"\n" in quoted or b"\r" in quoted) for quoted, after in cells)

    def starts(self, data: bytearray, length: int) -> Positions:
        """Where each record begins that isn't an empty line, of data that ends with one's end."""
        block = np.frombuffer(data, np.uint8, length)
        quotes = self._quotes(data, length, block)
        newlines = np.flatnonzero(block == NEWLINE)
        if self.escape or not newlines.size or not self.tidy(block, quotes):
            return self._walked_starts(data, length)
        ends = newlines[np.searchsorted(quotes, newlines) & 1 == 0]
        starts = np.concatenate([np.zeros(1, np.int64), ends + 1])
        starts = starts[starts < length]
        after = block[np.minimum(starts + 1, length - 1)]
        empty = (block[starts] == NEWLINE) | ((block[starts] == ord("\r")) & (after == NEWLINE))
        if self.comment and ((block[starts] == ord("\r")) & ~empty).any():  # what `_write_over` has left
            return self._walked_starts(data, length)
        kept: Positions = starts[~empty]
        return kept

    def _walked_starts(self, data: bytearray, length: int) -> Positions:
        return np.array([start for start, _ in self.records(bytes(data[:length]), length)[0]], np.int64)

    def cut(self, data: bytearray, length: int, *, final: bool, tidy: bool = False) -> int:
        """How many bytes are whole records (see `blocks.Cut`); `tidy` if the plan found the whole file so.

        Comments among them are empty lines afterwards.
        """
        if self.comment and self._remark.search(data, 0, length):
            if self.escape or (self.quote and data.find(self.quote, 0, length) >= 0):
                return self._walked_without_remarks(data, length, final)
            length = self._without_remarks(data, length, final)
        if not self.escape:
            block = np.frombuffer(data, np.uint8, length)
            quotes = count(block, self.quote[0]) if self.quote and data.find(self.quote, 0, length) >= 0 else 0
            if not quotes or tidy or self.tidy(block, np.flatnonzero(block == self.quote[0])):
                if not final:
                    return self._last_end(data, length, bool(quotes & 1))
                if not quotes & 1:
                    return length
        return self._walked(data, length, final)

    def _last_end(self, data: bytearray, length: int, inside: bool) -> int:
        end = length
        while at := data.rfind(b"\n", 0, end) + 1 or data.rfind(b"\r", 0, max(end - 1, 0)) + 1:
            inside ^= bool(self.quote and data.count(self.quote, at, end) & 1)
            if not inside:
                return at
            end = at - 1
        return 0

    def _walked(self, data: bytearray, length: int, final: bool) -> int:
        whole = 0
        for match in self.record.finditer(data, 0, length):
            if match.group(2) is not None:
                break
            if match.group(1) or final:
                whole = match.end()
        return whole

    def _without_remarks(self, data: bytearray, length: int, final: bool) -> int:
        """Writes over the comments, where no quote can hide one; up to where that is done, as a last one may go on."""
        for start, end in [match.span() for match in self._remark.finditer(data, 0, length)]:
            if end == length and not final:
                return start
            _write_over(data, start, end)
        return length

    def _walked_without_remarks(self, data: bytearray, length: int, final: bool) -> int:
        at = whole = 0
        while at < length:
            if remark := self._remark.match(data, at, length):
                if remark.end() == length and not final:
                    break
                _write_over(data, at, remark.end())
            match = self.record.match(data, at, length)
            if match is None or match.group(2) is not None:
                break
            at = match.end()
            if match.group(1) or final:
                whole = at
        return whole

    def tidy(self, block: Bytes, quotes: Positions, *, inside: bool = False, before: int = NEWLINE) -> bool:
        """Whether each quote that parity takes for an opening one follows a delimiter, a newline or a quote.

        Then a parser takes it for one too. Text that follows a closing quote changes nothing up to the next delimiter,
        and a quote in it would be an opening one behind text.
        """
        opening = quotes[int(inside) :: 2]
        if opening.size and opening[0] == 0:
            if not self._beside[before]:
                return False
            opening = opening[1:]
        return bool(self._beside[block[opening - 1]].all())

    def closed(self, block: Bytes, quotes: Positions, *, inside: bool = False) -> bool:
        """Whether a delimiter, a newline or a quote follows each quote that closes, where the block goes on."""
        closing = quotes[int(not inside) :: 2]
        closing = closing[: -1 if closing.size and closing[-1] == block.size - 1 else None]
        return bool(self._beside[block[closing + 1]].all())

    def splits(self, fill: Fill, start: int, end: int, pieces: int) -> tuple[list[Split], bool, bool]:
        """Record boundaries nearest after equal cuts of [start, end), and whether its quotes are tidy and closed.

        If they aren't tidy, or an escape makes them mean something else, there are no boundaries.
        """
        targets = [start + (end - start) * piece // pieces for piece in range(1, pieces)]
        cuts: list[Split] = []
        data, at, inside, before, newlines = bytearray(SCAN), start, False, NEWLINE, 0
        closed = True
        while at < end:
            got = fill(memoryview(data)[: min(SCAN, end - at)], at)
            if not got or self.escape:
                return [], False, False
            block = np.frombuffer(data, np.uint8, got)
            quotes = self._quotes(data, got, block)
            if not self.tidy(block, quotes, inside=inside, before=before):
                return [], False, False
            closed = closed and self.closed(block, quotes, inside=inside)
            closed = closed and (inside or not self._is_quote(before) or bool(self._beside[block[0]]))
            while targets and targets[0] < at + got:
                cut = self._first_end(data, got, max(targets[0] - at, 0), quotes, inside)
                if not cut:
                    break
                cuts.append(Split(at + cut, newlines + count(block[:cut], NEWLINE)))
                targets = [target for target in targets if target >= at + cut]
            at, inside, before = at + got, inside ^ bool(quotes.size & 1), data[got - 1]
            newlines += count(block, NEWLINE) if targets else 0
        return [cut for cut in cuts if cut.at < end], True, closed

    def _is_quote(self, byte: int) -> bool:
        return bool(self.quote) and byte == self.quote[0]

    def _quotes(self, data: bytearray, length: int, block: Bytes) -> Positions:
        if not self.quote or data.find(self.quote, 0, length) < 0:
            return np.empty(0, np.int64)
        return np.flatnonzero(block == self.quote[0])

    @staticmethod
    def _first_end(data: bytearray, length: int, at: int, quotes: Positions, inside: bool) -> int:
        while at := data.find(b"\n", at, length) + 1:
            if not inside ^ bool(np.searchsorted(quotes, at) & 1):
                return at
        return 0


def _write_over(data: bytearray, start: int, end: int) -> None:
    """Carriage returns are empty lines: no byte moves, and newlines count as before."""
    data[start:end] = b"\r" * (end - start)
