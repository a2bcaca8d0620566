"""Offsets into a program's text, and the lines and characters that editors count by."""

from collections.abc import Callable

from rnndsl.diagnostics import Source

_UNITS: dict[str, Callable[[str], int]] = {
    "utf-8": lambda c: 1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4,
    "utf-16": lambda c: 2 if c > "\uffff" else 1,
    "utf-32": lambda c: 1,
}


class Positions:
    """Lines and characters from 0, characters in the units of an encoding: utf-16, unless the editor asked for another."""

    def __init__(self, source: Source, encoding: str = "utf-16"):
        self._source = source
        self._units = _UNITS[encoding]
        self._lines = source.text.count("\n") + 1

    def of(self, offset: int) -> tuple[int, int]:
        """Where a character stands; the end of the text for any offset behind it."""
        offset = min(offset, len(self._source.text))
        line, column = self._source.position(offset)
        return line - 1, sum(map(self._units, self._source.text[offset - column + 1 : offset]))

    def offset(self, line: int, character: int) -> int:
        """The offset of a place; one behind a line's end, or inside a character, is moved back to where one begins."""
        if line >= self._lines:
            return len(self._source.text)
        at = self._source.start_of(line + 1)
        for c in self._source.line_text(line + 1):
            character -= self._units(c)
            if character < 0:
                break
            at += 1
        return at
