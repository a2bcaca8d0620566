"""The formatter: a program in the canonical style. Only blanks and line ends change; docs/editors.md states the style.

The author's line breaks inside brackets, redundant brackets and the text of comments stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lark import Token

from rnndsl.diagnostics import Source, display_width
from rnndsl.syntax.parser import parse, tokens_of
from rnndsl.syntax.rows import Row, rows
from rnndsl.syntax.spacing import spaced

_INDENT = 2
_GAP = "  "  # between a statement and its comment


class MeaningChanged(AssertionError):
    """The formatter got something else than the program that it was given: its own mistake, never the program's."""


def formatted(source: Source) -> str:
    """A program in the canonical style; formatting that again changes nothing.

    Raises RnnError for syntax errors, MeaningChanged rather than give another program back.
    """
    tree = parse(source)
    tokens = list(tokens_of(source.text))
    before = rows(source.text, tokens)
    text = _text(before)
    again = list(tokens_of(text))
    same = _said(tokens) == _said(again) and _comments(before) == _comments(rows(text, again))
    if not same or parse(Source(source.name, text)) != tree:
        raise MeaningChanged(f"formatting would change {source.name}; it is left as it was")
    return text


def _said(tokens: list[Token]) -> list[tuple[str, str]]:
    return [(t.type, str(t)) for t in tokens if t.type != "_NEWLINE"]


def _comments(found: list[Row]) -> list[str]:
    return [c for row in found for c in row.comments]


def _text(found: list[Row]) -> str:
    blanks = _blank_lines(found, levels := _levels(found))
    lines = _with_comments(found, _code(found, levels), blanks)
    return "\n".join(lines) + "\n" if lines else ""


# Indentation


def _levels(found: list[Row]) -> list[int]:
    """How deep each row's statement lies: 0 for a file's items, 1 in a cell, 2 in a repeat. Comments lie as what they stand in."""
    levels: list[int] = []
    level = column = 0  # column: where the author's `cell` stands
    following = _following(found)
    for row, word in zip(found, following, strict=True):
        if row.inside:
            levels.append(levels[-1])
        elif not row.tokens:
            if level == 1 and row.column <= column and word in ("", "cell", "def"):
                level = 0  # from here on, comments are about what follows the cell
            levels.append(level)
        else:
            if word in ("cell", "def"):
                level, column = 0, row.column
            elif word == "end":
                level = 1
            levels.append(level)
            level += word in ("cell", "repeat")
    return levels


def _following(found: list[Row]) -> list[str]:
    """The first word of the statement that each row begins or is followed by; empty at the end of the file."""
    words = [""]
    for row in reversed(found):
        words.append(str(row.tokens[0]) if row.tokens and not row.inside else words[-1])
    return words[:0:-1]


def _blank_lines(found: list[Row], levels: list[int]) -> list[bool]:
    """Whether an empty line stands above each row."""
    blanks = []
    leads = _leads_to_cell(found)
    for i, row in enumerate(found):
        above = found[i - 1]
        if i == 0:
            blanks.append(False)
        elif not row.inside and levels[i] == 0 and (levels[i - 1] > 0 or _is_header(above) or (above.tokens and leads[i])):
            blanks.append(True)
        elif _opens(above) or _closes(row):
            blanks.append(False)
        else:
            blanks.append(row.blank_before)
    return blanks


def _leads_to_cell(found: list[Row]) -> list[bool]:
    """Whether each row is a cell's header or one of the comments right above it."""
    leads: list[bool] = []
    below: Row | None = None
    for row in reversed(found):
        leads.append(_is_header(row) or bool(not row.tokens and below and not below.blank_before and leads[-1]))
        below = row
    return leads[::-1]


def _is_header(row: Row) -> bool:
    return bool(row.tokens) and not row.inside and row.tokens[0] == "cell"


def _opens(row: Row) -> bool:
    return bool(row.tokens) and row.tokens[-1] in ("(", "[", ":")


def _closes(row: Row) -> bool:
    return bool(row.tokens) and row.tokens[0] in (")", "]", "end")


# Code


@dataclass(frozen=True)
class _Bracket:
    """An open bracket: where the rows inside it begin, and where the one that closes it does."""

    inside: int
    close: int


def _code(found: list[Row], levels: list[int]) -> list[str]:
    """Each row's code, indented; for a comment alone, its indentation."""
    lines: list[str] = []
    open_: list[_Bracket] = []
    blanks = _blanks(found)
    for row, level in zip(found, levels, strict=True):
        indent = level * _INDENT
        if row.inside:
            indent = open_[-1].close if _closes(row) else open_[-1].inside
        line = " " * indent
        for k, token in enumerate(row.tokens):
            line += (" " if next(blanks) and k else "") + token
            if token in ("(", "["):
                last = k == len(row.tokens) - 1
                column = display_width(line)
                open_.append(_Bracket(indent + _INDENT, indent) if last else _Bracket(column, column - 1))
            elif token in (")", "]"):
                open_.pop()
        lines.append(line)
    return lines


def _blanks(found: list[Row]) -> Iterator[bool]:
    """Whether a blank belongs before each token of the file."""
    statement: list[Token] = []
    for row in found:
        if not row.inside:
            yield from spaced(statement)
            statement = []
        statement += row.tokens
    yield from spaced(statement)


# Comments


def _with_comments(found: list[Row], code: list[str], blanks: list[bool]) -> list[str]:
    """The lines of the file. Comments that stood under one another still do, as near to the code as its longest line lets them."""
    lines: list[str] = []
    run: list[int] = []  # the rows since the last empty line

    def flush() -> None:
        columns: dict[int, int] = {}  # where the author's column of comments goes
        for i in run:
            if found[i].tokens and found[i].comments:
                old = found[i].comment_column
                columns[old] = max(columns.get(old, 0), _width(code[i]) + len(_GAP))
        for i in run:
            row = found[i]
            if not row.tokens or not row.comments:
                lines.append(code[i] + "".join(row.comments))
                continue
            column = columns[row.comment_column]
            first, *rest = row.comments
            lines.append(code[i] + " " * (column - _width(code[i])) + first)
            lines.extend(" " * column + c for c in rest)

    for i, blank in enumerate(blanks):
        if blank:
            flush()
            lines.append("")
            run = []
        run.append(i)
    flush()
    return lines


def _width(code: str) -> int:
    """The columns that the last line of a row takes: a docstring may have several."""
    return display_width(code[code.rfind("\n") + 1 :])
