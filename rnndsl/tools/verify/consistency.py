"""Calls that must go together: two halves and the whole, steps and a call, resets and separate sequences. In float64."""

import torch

from rnndsl.tools.verify.compare import allowance, differences
from rnndsl.tools.verify.context import Backend, Context
from rnndsl.tools.verify.finding import REPORT, Finding, judged
from rnndsl.tools.verify.observe import Run, observe
from rnndsl.tools.verify.runs import apart, halves, stepwise, whole
from rnndsl.tools.verify.subject import Case

CASE = Case(3, 13, given=True, reset=True)
DECODING = Case(3, 7, given=True)


def in_halves(c: Context, b: Backend) -> Finding:
    """Two calls with the carried state against one."""
    return _same(c, b, halves, CASE, "the halves", "next: do not carry a state from call to call on this backend until it is mended")


def by_steps(c: Context, b: Backend) -> Finding:
    """`step` against `forward`, with gradients and without: decoding may have a kernel of its own."""
    return _same(c, b, stepwise, DECODING, "step", 'next: decode with backend="reference" until it is mended', decoding=True)


def by_resets(c: Context, b: Backend) -> Finding:
    """Resets against sequences that are run apart."""
    advice = "next: on this backend call the layer once for each sequence, instead of with a reset, until it is mended"
    return _same(c, b, apart, CASE, "separate sequences", advice)


def _same(c: Context, b: Backend, run: Run, case: Case, what: str, advice: str, decoding: bool = False) -> Finding:
    layer = c.subject.layer(b.name, device=b.device)
    given = c.subject.arguments(case, torch.float64, b.device)
    allowed = allowance(torch.float64, c.lost(case), c.unit(b, case, torch.float64))
    want = observe(c.subject, whole, layer, given)
    gaps = differences(observe(c.subject, run, layer, given), want, allowed, case)
    if decoding:
        gaps += differences(observe(c.subject, run, layer, given, gradients=False), want, allowed, f"{case}, without gradients")
    return judged(gaps, what, "the one call", (advice, REPORT))
