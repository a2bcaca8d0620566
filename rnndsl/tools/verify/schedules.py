"""A schedule that is parallel over time against the sequential one of the same backend, from calm weights to chaotic ones."""

import math

import torch

from rnndsl.runtime.triton.launch import TOLERANCE
from rnndsl.tiles import NEWTON, SEQUENTIAL
from rnndsl.tools.verify.compare import Gap, allowance, differences
from rnndsl.tools.verify.context import Backend, Context
from rnndsl.tools.verify.finding import FAIL, NOTE, PASS, REPORT, SKIP, Finding, judged
from rnndsl.tools.verify.observe import observe
from rnndsl.tools.verify.runs import whole
from rnndsl.tools.verify.subject import Case

SCALES = (0.1, 1.0, 2.0, 5.0)
CASE, LONG = Case(3, 29, given=True, reset=True), Case(3, 300, given=True, reset=True)  # in the interpreter; on a GPU
TILES = {SEQUENTIAL: {"channels": 8, "ahead": 2}, NEWTON: {"channels": 8, "lanes": 4, "lane_steps": 2}}  # small ones, in the interpreter
ADVICE = 'next: set schedule="sequential" for this cell until it is mended'


def parallel(c: Context, b: Backend, dtype: torch.dtype, schedule: str) -> Finding:
    """Both schedules at several scales of the weights: outputs, states, gradients; rounds and residuals."""
    case = CASE if b.is_interpreted else LONG
    given = c.subject.arguments(case, dtype, b.device)
    gaps: list[Gap] = []
    notes: list[str] = []
    wrong: list[str] = []
    limit = TOLERANCE[dtype][0]
    for scale in SCALES:
        layers = {s: c.subject.layer(b.name, dtype, b.device, s, scale) for s in (SEQUENTIAL, schedule)}
        if b.is_interpreted:
            for s, layer in layers.items():
                layer.tiles = TILES.get(s)
        if all(p.schedule != schedule for p in layers[schedule].plan_for(*given.inputs)):
            return Finding(SKIP, notes=(f"no recurrence of this cell has it on {b.name}",))
        want, found = (observe(c.subject, whole, layer, given) for layer in layers.values())
        at = f"weights × {scale:g}"
        lost = c.lost(case, scale)
        chaotic = [n for n, r in lost.items() if math.isinf(r)]
        allowed = allowance(dtype, lost, unit=limit)
        gaps += differences({n: v for n, v in found.items() if n not in chaotic}, want, allowed, f"{case}, {at}")
        for report in layers[schedule].solve_report():
            notes.append(f"{at}: {report}")
            if not report.residual <= limit:
                wrong.append(f"{at}: residual {report.residual:.1e} of {report.recurrence} is more than {limit:.0e}")
        if chaotic:
            notes.append(f"{at}: chaotic, rounding alone moves the reference too far; judged by the residual, not by {', '.join(chaotic)}")
    result = judged(gaps, schedule, SEQUENTIAL, (ADVICE, REPORT), tuple(notes))
    if result.verdict == SKIP and not wrong:
        return Finding(NOTE, notes=tuple(notes))
    if wrong and result.verdict in (PASS, SKIP):
        return Finding(FAIL, result.error, result.allowed, result.place, result.case, (*wrong, *notes, ADVICE, REPORT))
    return result
