"""The rows of a program as its author wrote them: the tokens of each line and its comments, which the parser never sees."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lark import Token

from rnndsl.diagnostics import display_width

TAB = 8  # columns from one tab stop to the next, for comments that stand under one another


@dataclass(frozen=True)
class Row:
    """One line: its tokens, then its comments, of which the second and later ones are lines of their own below the first.

    A row without tokens is a comment alone. Columns count from 0, as shown.
    """

    tokens: tuple[Token, ...]
    comments: tuple[str, ...]
    column: int  # of what stands first
    comment_column: int
    blank_before: bool  # whether an empty line stands above it
    inside: bool  # whether it begins inside brackets


def rows(text: str, tokens: list[Token]) -> list[Row]:
    """The rows of a program without syntax errors; `tokens` are all that it has."""
    found: list[Row] = []
    below: list[str] = []  # comments that go on below the last row

    def finish() -> None:
        if below:
            found[-1] = replace(found[-1], comments=(*found[-1].comments, *below))
            below.clear()

    for row in _written(text, tokens):
        if not row.tokens and not row.blank_before and found and _has_comment_at(row.column, found[-1]):
            below.extend(row.comments)
        else:
            finish()
            found.append(row)
    finish()
    return found


def _has_comment_at(column: int, row: Row) -> bool:
    return bool(row.tokens and row.comments) and row.comment_column == column


def _written(text: str, tokens: list[Token]) -> Iterator[Row]:
    """A row a line that is not empty."""
    at = depth = 0
    blank = False
    for line, end in _lines(text, tokens):
        behind = _end(line[-1]) if line else at
        comment = text[behind : _start(end)].strip()
        comment_at = text.index("#", behind) if comment else behind
        if line or comment:
            column = _column(text, _start(line[0]) if line else comment_at)
            yield Row(tuple(line), (comment,) if comment else (), column, _column(text, comment_at), blank, depth > 0)
            blank = False
        blank = blank or end.count("\n") > 1
        depth += sum((t in ("(", "[")) - (t in (")", "]")) for t in line)
        at = _end(end)


def _lines(text: str, tokens: list[Token]) -> Iterator[tuple[list[Token], Token]]:
    """The tokens of each line and the newline behind them; what stands behind a cell's header on the same line is a line of its own."""
    line: list[Token] = []
    depth, in_header = 0, False
    for token in [*tokens, Token("_NEWLINE", "", start_pos=len(text))]:
        if token.type == "_NEWLINE":
            yield line, token
            line, in_header = [], in_header and depth > 0
            continue
        if line and in_header and not depth and line[-1] == ":":
            yield line, Token("_NEWLINE", "", start_pos=_end(line[-1]))
            line, in_header = [], False
        in_header = in_header or (token == "cell" and not depth)
        line.append(token)
        depth += (token in ("(", "[")) - (token in (")", "]"))


def _start(token: Token) -> int:
    return token.start_pos or 0


def _end(token: Token) -> int:
    return _start(token) + len(token)


def _column(text: str, offset: int) -> int:
    """The column at which a character is shown."""
    first, *rest = text[text.rfind("\n", 0, offset) + 1 : offset].split("\t")
    column = display_width(first)
    for part in rest:
        column += TAB - column % TAB + display_width(part)
    return column
