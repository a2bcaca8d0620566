"""A line of the page: what was compared, the verdict, the largest difference, what is allowed, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnndsl.tools.verify.compare import Gap

PASS, FAIL, SKIP, NOTE, INFO = "pass", "FAIL", "skip", "note", "info"
REPORT = "please report it, with the program and this page"


@dataclass(frozen=True)
class Finding:
    """notes: further lines, in words. A note or a skipped check is no failure."""

    verdict: str
    error: float | None = None
    allowed: float | None = None
    place: str = ""  # which value, and where in it
    case: str = ""  # the call
    notes: tuple[str, ...] = ()


def judged(gaps: Sequence[Gap], got: str, want: str, advice: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Finding:
    """A comparison: it passes where every gap is within what is allowed. got, want: whose numbers they are; advice: what to do after a failure."""
    if not gaps:
        return Finding(SKIP, notes=(*notes, "there is nothing to compare"))
    g = max(gaps, key=lambda g: g.error / g.allowed)
    if g.fits:
        return Finding(PASS, g.error, g.allowed, g.place, g.case, notes)
    there = f"there {got} has {shown(g.got)}, {want} {shown(g.want)}; {g.case}"
    wrong = dict.fromkeys(x.name for x in gaps if not x.fits)
    right = dict.fromkeys(x.name for x in gaps if x.name not in wrong)
    all_of_it = f"wrong: {', '.join(wrong)}" + (f"; right: {', '.join(right)}" if right else "")
    return Finding(FAIL, g.error, g.allowed, g.place, g.case, (there, all_of_it, *notes, *advice))


def shown(value: complex) -> str:
    """A number, to the digits that tell it from its neighbour."""
    if isinstance(value, complex):
        return f"{value.real:.9g}{value.imag:+.9g}j"
    return f"{value:.9g}"
