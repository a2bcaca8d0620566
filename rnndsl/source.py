"""A program's text, places in it, and what is wrong there, as data."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from unicodedata import category, east_asian_width


def printable(text: str) -> str:
    """A line of text with blanks for what no line shows, or what would break it."""
    return "".join(c if c.isprintable() else " " for c in text)


@dataclass(frozen=True, order=True)
class Span:
    """A half-open range of character offsets into a source text."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """The range that begins where this one does and ends where `other` does."""
        return Span(self.start, other.end)


NOWHERE = Span(0, 0)


@dataclass(frozen=True)
class Source:
    """A program's text and the name that messages give it."""

    name: str
    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0] + [i + 1 for i, c in enumerate(self.text) if c == "\n"]

    def line_of(self, offset: int) -> int:
        """The 1-based line that holds the character at `offset`."""
        return bisect_right(self._starts, offset)

    def start_of(self, line: int) -> int:
        """The offset at which a 1-based line begins."""
        return self._starts[line - 1]

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of the character at `offset`."""
        line = self.line_of(offset)
        return line, offset - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a 1-based line, without its newline."""
        start = self._starts[line - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]

    def cited(self, line: int, most: int | None = None) -> str:
        """A 1-based line as comments of generated text name it, with its place; cut behind so many characters of its own."""
        return printable(f"{self.name}:{line}  {self.line_text(line).strip()[:most]}")

    def slice(self, span: Span) -> str:
        """The characters of `span`."""
        return self.text[span.start : span.end]


@dataclass(frozen=True)
class Related:
    """Another place that helps to understand a diagnostic."""

    span: Span
    label: str


@dataclass(frozen=True)
class Diagnostic:
    """One thing wrong with a program: an error, or a warning.

    `title` says what is wrong, `label` what stands at `span`; the label makes sense without the title.
    """

    code: str
    title: str
    span: Span
    label: str = ""
    related: tuple[Related, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    severity: str = "error"


def display_width(text: str) -> int:
    """Terminal columns that `text` takes: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(c) in "WF" else 0 if category(c) in ("Mn", "Me") else 1 for c in text)
