"""What tells the lines of many rows apart, in pages and in pictures: a colour, dashes, and the mark of a point."""

from dataclasses import dataclass

LIGHT = ("#1f5fa8", "#c2410c", "#0f766e", "#a21c6f", "#8a6100", "#111827", "#2b8cc4", "#6d4bc3")  # on white
DARK = ("#6cb2f7", "#ff8f5a", "#3fd0b4", "#f08ac9", "#e5b73b", "#f3f4f6", "#9bd9ff", "#b7a1f5")  # on black
DASHES = ((), (5, 2), (1.5, 1.5))  # on and off, in widths of the line
MARKS = ("circle", "square", "triangle", "diamond")
BANDS = 6  # at most so many lines have the spread of their seeds around them


@dataclass(frozen=True)
class Style:
    """Numbers of one in each of these."""

    colour: int
    dash: int
    mark: int


def style_of(row: int) -> Style:
    """How the line of a row is drawn, by the row's number."""
    return Style(row % len(LIGHT), row // len(LIGHT) % len(DASHES), row % len(MARKS))
