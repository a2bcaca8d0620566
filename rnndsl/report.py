"""The only renderer of diagnostics: as text, as coloured text, and as JSON-ready data."""

from typing import Any

from rnndsl.diagnostics import Diagnostic, Source, Span, display_width

_COLOURS = {"error": "\033[1;31m", "warning": "\033[1;33m", "note": "\033[1;34m", "bold": "\033[1m", "off": "\033[0m"}
_WINDOW = 110  # characters of a source line that a message shows


def _printable(text: str) -> str:
    """Tabs become one space and unprintable characters a replacement mark, so that columns line up."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _excerpt(source: Source, line: int, marks: list[tuple[Span, str, str]]) -> list[tuple[str, str]]:
    """The source line and one underline a mark, as (kind, text); long lines are cut around the first mark."""
    text = source.line_text(line)
    line_start = marks[0][0].start - (source.position(marks[0][0].start)[1] - 1)
    first = marks[0][0].start - line_start
    begin = max(0, first - _WINDOW // 2) if len(text) > _WINDOW else 0
    shown = text[begin : begin + _WINDOW]
    lead = "…" if begin else ""
    tail = "…" if begin + _WINDOW < len(text) else ""
    rows = [("source", lead + _printable(shown) + tail)]
    for span, char, label in marks:
        start = max(span.start - line_start - begin, 0)
        end = min(max(span.end - line_start - begin, start + 1), max(len(shown), start + 1))
        pad = " " * (len(lead) + display_width(_printable(shown[:start])))
        width = max(1, display_width(_printable(shown[start:end])))
        rows.append((char, f"{pad}{char * width} {label}".rstrip()))
    return rows


def render(diagnostic: Diagnostic, source: Source, colour: bool = False) -> str:
    """One diagnostic as the lines that a person reads; ends without a newline."""
    paint = _COLOURS if colour else dict.fromkeys(_COLOURS, "")
    line, column = source.position(diagnostic.span.start)
    by_line: dict[int, list[tuple[Span, str, str]]] = {line: [(diagnostic.span, "^", diagnostic.label)]}
    for related in diagnostic.related:
        by_line.setdefault(source.line_of(related.span.start), []).append((related.span, "-", related.label))
    margin = " " * len(str(max(by_line)))
    kind = paint[diagnostic.severity]
    out = [
        f"{kind}{diagnostic.severity}[{diagnostic.code}]{paint['off']}{paint['bold']}: {_printable(diagnostic.title)}"
        f"{paint['off']}",
        f"{margin}{paint['note']}-->{paint['off']} {_printable(source.name)}:{line}:{column}",
        f"{margin} {paint['note']}|{paint['off']}",
    ]
    previous = None
    for number in sorted(by_line):
        if previous is not None and number > previous + 1:
            out.append(f"{margin} {paint['note']}:{paint['off']}")
        previous = number
        for what, text in _excerpt(source, number, by_line[number]):
            if what == "source":
                out.append(f"{paint['note']}{number:>{len(margin)}} |{paint['off']} {text}".rstrip())
            else:
                tint = kind if what == "^" else paint["note"]
                out.append(f"{margin} {paint['note']}|{paint['off']} {tint}{text}{paint['off']}")
    for note in diagnostic.notes:
        out.append(f"{margin} = note: {_printable(note)}")
    for hint in diagnostic.hints:
        out.append(f"{margin} = help: {_printable(hint)}")
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
