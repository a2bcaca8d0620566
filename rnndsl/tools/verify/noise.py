"""Noise in training: random, but the same numbers on every backend from the same seed."""

import torch

from rnndsl.tools.verify.compare import allowance, differences
from rnndsl.tools.verify.context import REFERENCE, Backend, Context
from rnndsl.tools.verify.finding import NOTE, REPORT, Finding, judged
from rnndsl.tools.verify.observe import Values, observe
from rnndsl.tools.verify.runs import seeded
from rnndsl.tools.verify.subject import Case

CASE = Case(3, 13, given=True, reset=True)


def in_training(c: Context, b: Backend) -> Finding:
    """A backend against the reference on the same device, from one seed; the reference against itself, and another seed against both."""
    allowed = allowance(torch.float64, c.lost(CASE), c.unit(b, CASE, torch.float64))
    want = _drawn(c, REFERENCE, b.device, c.settings.seed)
    found = _drawn(c, b, b.device, c.settings.seed)
    result = judged(differences(found, want, allowed, f"{CASE}, in training"), b.name, "the reference", (f'next: train this cell with backend="{REFERENCE.name}"', REPORT))
    others = differences(_drawn(c, REFERENCE, b.device, c.settings.seed + 1), want, allowed, CASE)
    if b == REFERENCE and all(g.error == 0 for g in others):
        return Finding(NOTE, result.error, result.allowed, result.place, result.case, ("another seed gives the same numbers: the noise changes nothing",))
    return result


def _drawn(c: Context, b: Backend, device: str, seed: int) -> Values:
    layer = c.subject.layer(b.name, device=device).train()
    return observe(c.subject, seeded(seed), layer, c.subject.arguments(CASE, torch.float64, device))
