"""The page of a cell: a verdict a line, what failed in words, and the sum of it."""

import textwrap

from rnndsl.tools.verify.cell_report import CellReport, Line, versions
from rnndsl.tools.verify.finding import FAIL, INFO, NOTE, PASS, SKIP, Finding

WIDTH = 118
WHAT = 60  # columns of what a check compares


def page(c: CellReport) -> str:
    """The whole page; ends without a newline."""
    head = f"{c.cell}({', '.join(f'{n}={v}' for n, v in c.sizes.items())})  {c.program}:{c.line}"
    v = versions()
    told = f"seed {c.seed}; {', '.join(f'{b} on {d}' if d != 'CPU' else b for b, d in c.devices.items())}; rnndsl {v['rnndsl']}, torch {v['torch']}"
    lines = [head, "=" * len(head), told, "", f"{'':19}{'':{WHAT}}  {'error':>7}  {'allowed':>7}  where the error is largest"]
    for x in c.lines:
        lines += _line(x)
    return "\n".join([*lines, "", _sum(c)])


def _line(x: Line) -> list[str]:
    f = x.finding
    first = f"{f.verdict if f.verdict != INFO else '':<6}{x.check:<12} {x.what:<{WHAT}}"
    lines = [f"{first}  {_number(f.error)}  {_number(f.allowed)}  {_place(f)}".rstrip()]
    for note in f.notes:
        lines += textwrap.wrap(note, WIDTH, initial_indent=" " * 19, subsequent_indent=" " * 21, break_long_words=False)
    return lines


def _place(f: Finding) -> str:
    return f.place if f.error else ""


def _number(x: float | None) -> str:
    return f"{'' if x is None else '0' if x == 0 else f'{x:.1e}':>7}"


def _sum(c: CellReport) -> str:
    judged = [x for x in c.lines if x.finding.verdict != INFO]
    failed = ", ".join(dict.fromkeys(x.check for x in judged if x.finding.verdict == FAIL))
    words = ((FAIL, f"FAILED ({failed})"), (SKIP, "not checked"), (NOTE, "to note"))
    parts = [f"{c.count(PASS)} of {len(judged)} passed", *(f"{c.count(v)} {word}" for v, word in words if c.count(v))]
    return f"{', '.join(parts)}; {sum(x.seconds for x in c.lines):.0f} s"
