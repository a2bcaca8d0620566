"""The page of a cell: a verdict a line, what failed in words, and the sum of it."""

import textwrap
from collections.abc import Callable

from rnndsl.tools.columns import columns
from rnndsl.tools.verify.cell_report import CellReport, Line, versions
from rnndsl.tools.verify.finding import FAIL, INFO, NOTE, PASS, SKIP, Finding

WIDTH = 140  # where nobody asks for another
PROSE = 118  # columns of notes at most
WHAT = 60  # columns of what a check compares
_CHECK, _NUMBERS = 19, 20  # columns of a verdict and its check, and of the two numbers
_COLOURS = {PASS: "32", FAIL: "1;31", SKIP: "33", NOTE: "36"}

Paint = Callable[[str, str], str]  # a text, and the verdict that it tells -> the text in colour


def plain(text: str, verdict: str) -> str:
    """Text as it is."""
    return text


def coloured(text: str, verdict: str) -> str:
    """Text in the colour of a verdict, for a terminal."""
    return f"\033[{_COLOURS[verdict]}m{text}\033[0m" if verdict in _COLOURS else text


def page(c: CellReport, paint: Paint = plain) -> str:
    """The whole page; ends without a newline."""
    head = f"{c.cell}({', '.join(f'{n}={v}' for n, v in c.sizes.items())})  {c.program}:{c.line}"
    v = versions()
    told = f"seed {c.seed}; {', '.join(f'{b} on {d}' if d != 'CPU' else b for b, d in c.devices.items())}; rnndsl {v['rnndsl']}, torch {v['torch']}"
    what = _what_columns()
    place = "where the error is largest" if what == WHAT else "where"
    lines = [head, "=" * min(len(head), columns(WIDTH)), *textwrap.wrap(told, columns(WIDTH)), ""]
    lines.append(f"{'':{_CHECK}}{'':{what}}  {'error':>7}  {'allowed':>7}  {place}")
    for x in c.lines:
        lines += _line(x, what, paint)
    return "\n".join([*lines, "", _sum(c, paint)])


def _what_columns() -> int:
    """Columns of what is compared: fewer where the page is narrow; there, the place stands on a line of its own."""
    return max(min(WHAT, columns(WIDTH) - _CHECK - _NUMBERS - len("  where")), 20)


def _line(x: Line, wide: int, paint: Paint) -> list[str]:
    f = x.finding
    verdict = f"{f.verdict if f.verdict != INFO else '':<6}"
    what, *rest = textwrap.wrap(x.what, wide) or [""]
    first = f"{paint(verdict, f.verdict)}{x.check:<12} {what:<{wide}}  {_number(f.error)}  {_number(f.allowed)}"
    place, notes = _place(f), list(f.notes)
    fits = _CHECK + wide + _NUMBERS + len(place) <= columns(WIDTH)
    lines = [f"{first}  {place if fits else ''}".rstrip(), *(" " * _CHECK + line for line in rest)]
    if place and not fits:
        notes = [f"largest at {place}", *notes]
    for note in notes:
        lines += textwrap.wrap(note, min(columns(WIDTH), PROSE), initial_indent=" " * _CHECK, subsequent_indent=" " * (_CHECK + 2), break_long_words=False)
    return lines


def _place(f: Finding) -> str:
    return f.place if f.error else ""


def _number(x: float | None) -> str:
    return f"{'' if x is None else '0' if x == 0 else f'{x:.1e}':>7}"


def _sum(c: CellReport, paint: Paint) -> str:
    judged = [x for x in c.lines if x.finding.verdict != INFO]
    failed = ", ".join(dict.fromkeys(x.check for x in judged if x.finding.verdict == FAIL))
    words = ((FAIL, f"FAILED ({failed})"), (SKIP, "not checked"), (NOTE, "to note"))
    parts = [f"{c.count(PASS)} of {len(judged)} passed", *(paint(f"{c.count(v)} {word}", v) for v, word in words if c.count(v))]
    return f"{', '.join(parts)}; {sum(x.seconds for x in c.lines):.0f} s"
