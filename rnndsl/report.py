"""The only renderer of diagnostics: as text, as coloured text, and as JSON-ready data."""

from dataclasses import dataclass
from typing import Any

from rnndsl.source import Diagnostic, Source, Span, display_width

_COLOURS = {"error": "\033[1;31m", "warning": "\033[1;33m", "note": "\033[1;34m", "bold": "\033[1m", "off": "\033[0m"}
WINDOW = 116  # columns of a message; a longer source line is cut
_SENTENCE = 400


def _said(text: str) -> str:
    """A sentence of a message; a name in it may be a megabyte long."""
    text = _printable(text)
    return text if len(text) <= _SENTENCE else f"{text[: _SENTENCE // 2]} … {text[-_SENTENCE // 2 :]}"


def _printable(text: str) -> str:
    """Tabs become one space and unprintable characters a replacement mark, so that columns line up."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


@dataclass(frozen=True)
class _Mark:
    """An underlined range of one line."""

    span: Span
    label: str
    char: str  # `^` the place itself, `-` a place that helps to understand it


def _excerpt(source: Source, line: int, marks: list[_Mark], paint: dict[str, str], window: int) -> tuple[list[str], list[_Mark]]:
    """A source line and its underlines, and the marks that a cut of a long line leaves out.

    The line is cut around the first of `marks`. Marks that do not overlap share one row: the label of the rightmost
    stands at its end, the others hang below their marks.
    """
    text = source.line_text(line)
    line_start = source.start_of(line)
    first = marks[0].span.start - line_start
    begin = max(0, first - window // 2) if len(text) > window else 0
    shown = text[begin : begin + window]
    lead = "…" if begin else ""
    tail = "…" if begin + window < len(text) else ""
    rows = [(lead + _printable(shown) + tail).rstrip()]

    placed: list[tuple[int, int, _Mark]] = []  # display columns
    beyond = []
    for mark in marks:
        start, end = mark.span.start - line_start - begin, mark.span.end - line_start - begin
        if start > len(shown) or end < 0:
            beyond.append(mark)
            continue
        start = max(start, 0)
        end = max(min(end, len(shown)), start + 1)
        column = len(lead) + display_width(_printable(shown[:start]))
        placed.append((column, column + max(1, display_width(_printable(shown[start:end]))), mark))
    while placed:
        row: list[tuple[int, int, _Mark]] = []
        rest: list[tuple[int, int, _Mark]] = []
        for place in placed:
            free = all(place[1] <= start or end <= place[0] for start, end, _ in row)
            (row if free else rest).append(place)
        rows.extend(_underlines(sorted(row, key=lambda p: p[0]), paint))
        placed = rest
    return rows, beyond


def _underlines(row: list[tuple[int, int, _Mark]], paint: dict[str, str]) -> list[str]:
    """The underlines of marks that do not overlap, left to right, and their labels."""
    tint = {"^": paint["kind"], "-": paint["note"]}

    def across(pieces: list[tuple[int, str, str]]) -> str:
        out, at = "", 0
        for column, text, colour in pieces:
            out += " " * (column - at) + f"{colour}{text}{paint['off']}"
            at = column + display_width(text)
        return out

    pieces = [(start, mark.char * (end - start), tint[mark.char]) for start, end, mark in row]
    *left, (start, _, last) = row
    rows = [(across([*pieces[:-1], (start, f"{pieces[-1][1]} {_said(last.label)}".rstrip(), tint[last.char])]))]
    hanging = [(start, mark) for start, _, mark in left if mark.label]
    if hanging:
        rows.append(across([(start, "|", tint[mark.char]) for start, mark in hanging]))
    while hanging:
        *hanging, (start, mark) = hanging
        bars = [(column, "|", tint[other.char]) for column, other in hanging]
        rows.append(across([*bars, (start, _said(mark.label), tint[mark.char])]))
    return rows


def render(diagnostic: Diagnostic, source: Source, colour: bool = False, columns: int = WINDOW) -> str:
    """One diagnostic as the lines that a person reads; ends without a newline. columns: that a source line and its number may take."""
    paint = dict(_COLOURS if colour else dict.fromkeys(_COLOURS, ""))
    paint["kind"] = paint[diagnostic.severity]
    line, column = source.position(diagnostic.span.start)
    by_line = {line: [_Mark(diagnostic.span, diagnostic.label, "^")]}
    for related in diagnostic.related:
        by_line.setdefault(source.line_of(related.span.start), []).append(_Mark(related.span, related.label, "-"))
    margin = " " * len(str(max(by_line)))
    bar = f"{paint['note']}|{paint['off']}"
    out = [
        f"{paint['kind']}{diagnostic.severity}[{diagnostic.code}]{paint['off']}{paint['bold']}: "
        f"{_said(diagnostic.title)}{paint['off']}",
        f"{margin}{paint['note']}-->{paint['off']} {_printable(source.name)}:{line}:{column}",
        f"{margin} {bar}",
    ]
    elsewhere = []
    previous = None
    for number in sorted(by_line):
        if previous is not None and number > previous + 1:
            out.append(f"{margin} {paint['note']}:{paint['off']}")
        previous = number
        (text, *underlines), beyond = _excerpt(source, number, by_line[number], paint, columns - len(margin) - 5)
        out.append(f"{paint['note']}{number:>{len(margin)}} |{paint['off']} {text}".rstrip())
        out.extend(f"{margin} {bar} {row}" for row in underlines)
        elsewhere.extend(beyond)
    for mark in elsewhere:
        out.append(f"{margin} = note: column {source.position(mark.span.start)[1]}: {_said(mark.label)}")
    for note in diagnostic.notes:
        out.append(f"{margin} = note: {_said(note)}")
    for hint in diagnostic.hints:
        out.append(f"{margin} = help: {_said(hint)}")
    return "\n".join(out)


def as_data(diagnostic: Diagnostic, source: Source) -> dict[str, Any]:
    """One diagnostic as plain data: what `--json` prints. Lines and columns are 1-based, ends exclusive."""

    def place(span: Span) -> dict[str, int]:
        line, column = source.position(span.start)
        end_line, end_column = source.position(span.end)
        return {"line": line, "column": column, "end_line": end_line, "end_column": end_column}

    return {
        "file": source.name,
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.title,
        "label": diagnostic.label,
        **place(diagnostic.span),
        "related": [{"label": r.label, **place(r.span)} for r in diagnostic.related],
        "notes": list(diagnostic.notes),
        "hints": list(diagnostic.hints),
    }
