"""A line of the page: what was compared, the verdict, the largest difference, what is allowed, and where."""

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


def judged(gap: tuple[Gap, str] | None, got: str, want: str, advice: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Finding:
    """A comparison: it passes where the gap is within what is allowed. got, want: whose numbers they are; advice: what to do after a failure."""
    if gap is None:
        return Finding(SKIP, notes=(*notes, "there is nothing to compare"))
    g, case = gap
    if g.fits:
        return Finding(PASS, g.error, g.allowed, g.place, case, notes)
    there = f"there {got} has {shown(g.got)}, {want} {shown(g.want)}"
    return Finding(FAIL, g.error, g.allowed, g.place, case, (f"{there}; {case}", *notes, *advice))


def shown(value: complex) -> str:
    """A number, to the digits that tell it from its neighbour."""
    if isinstance(value, complex):
        return f"{value.real:.9g}{value.imag:+.9g}j"
    return f"{value:.9g}"
