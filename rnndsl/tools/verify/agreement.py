"""Each backend against the reference in float64, in each dtype of the inputs."""

import math

import torch

from rnndsl.runtime.backend import BACKENDS
from rnndsl.runtime.dtypes import HALF
from rnndsl.tools.verify.compare import Gap, allowance, differences, not_finite
from rnndsl.tools.verify.context import REFERENCE, Backend, Context, threads
from rnndsl.tools.verify.finding import NOTE, PASS, REPORT, Finding, judged
from rnndsl.tools.verify.kinks import jumps
from rnndsl.tools.verify.observe import observe
from rnndsl.tools.verify.runs import interpreted, whole
from rnndsl.tools.verify.subject import Case

CASES = (
    Case(3, 13, given=True, reset=True), Case(1, 1), Case(2, 1, given=True, reset=True), Case(1, 29, given=True), Case(11, 5, reset=True),
    Case(2, 0, given=True),
)  # fmt: skip
PLAIN = 1e-3  # what the reference itself may lose in float32 before it is worth a note


def equations(c: Context) -> Finding:
    """The reference against an interpreter of the equations, in float64."""
    gaps: list[Gap] = []
    for case in CASES[:3]:
        found = observe(c.subject, interpreted(c.plan), c.subject.layer(), c.subject.arguments(case, torch.float64))
        gaps += differences(c.reference(case), found, allowance(torch.float64, c.lost(case)), case)
    advice = "next: trust no backend with this cell: all are held against the reference"
    return judged(gaps, "the reference", "the interpreter", (advice, REPORT))


def finite(c: Context) -> Finding:
    """Whether the equations give finite numbers at the random inputs."""
    notes: dict[str, str] = {}
    for case in CASES:
        for name, v, index in not_finite(c.reference(case)):
            value = v.tensor[index].item()
            notes.setdefault(name, f"{Gap(name, index, v.lead, math.inf, 0.0, value, value, str(case)).place} is {value} ({case})")
    if not notes:
        return Finding(PASS)
    told = "this is what the equations give at random inputs, and no fault of a backend that has it at the same place"
    return Finding(NOTE, notes=(*list(notes.values())[:6], told))


def rounding(c: Context) -> Finding:
    """The reference in float32 against itself in float64: what the others are measured by."""
    gaps = [g for case in CASES for g in differences(c.reference(case, torch.float32), c.reference(case), lambda *_: PLAIN, case)]
    if all(g.fits for g in gaps):
        return judged(gaps, "float32", "float64")
    g = max(gaps, key=lambda g: g.error)
    return Finding(NOTE, g.error, g.allowed, g.place, g.case, ("the cell amplifies rounding; in float32 nobody can be held to more",))


def _threaded(c: Context, b: Backend, dtype: torch.dtype) -> list[Case]:
    """A call of so much work that a backend shares it among threads."""
    least = BACKENDS[b.name].threaded_from
    if least is None or dtype != torch.float64 or c.threads == 1:
        return []
    return [Case(11, 1 + least // (11 * c.subject.states), given=True, reset=True)]


def backend(c: Context, b: Backend, dtype: torch.dtype) -> Finding:
    """A backend on inputs of a dtype against the reference in float64, whose products are half where those of such inputs are."""
    gaps: list[Gap] = []
    blind: set[str] = set()
    overflows: list[str] = []
    layer = c.subject.layer(b.name, dtype, b.device)
    for case in (*CASES, *_threaded(c, b, dtype)):
        with threads(1 if case in CASES else c.threads):
            found = observe(c.subject, whole, layer, c.subject.arguments(case, dtype, b.device))
        own, exact, lost = c.reference(case, dtype), c.reference(case, products=dtype if dtype in HALF else None), c.lost(case)
        beyond = [n for n, _, index in not_finite(own) if exact[n].tensor[index].isfinite()]
        overflows += beyond
        gaps += differences(found, own if beyond else exact, allowance(dtype, lost, c.unit(b, case, dtype)), case, own)
        if dtype != torch.float64:
            blind |= {n for n, r in lost.items() if math.isinf(r)}
    notes = []
    if blind:
        notes.append(f"not judged, since rounding alone moves the reference too far: {', '.join(sorted(blind))}")
    if overflows:
        notes.append(f"not finite in the reference either, in this dtype, which it is then held against: {', '.join(dict.fromkeys(overflows))}")
    advice = ["next: see whether the other lines pass" if b == REFERENCE else 'next: use backend="reference" for this cell until it is mended']
    if dtype != torch.float64 and (at := jumps(c)):
        advice.append(f"the cell jumps ({at}): a value within rounding of a jump may fall on either side; see whether --seed 1 agrees")
    return judged(gaps, b.name, "the reference", (*advice, REPORT), tuple(notes))
