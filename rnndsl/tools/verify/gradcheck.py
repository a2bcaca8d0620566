"""The reference's gradients against differences, in float64, entry by entry in small sizes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from rnndsl.runtime.complex_parts import real_view
from rnndsl.tools.verify.compare import Gap, not_finite
from rnndsl.tools.verify.context import Context
from rnndsl.tools.verify.finding import FAIL, REPORT, SKIP, Finding, judged
from rnndsl.tools.verify.kinks import kinks
from rnndsl.tools.verify.observe import observe
from rnndsl.tools.verify.runs import whole
from rnndsl.tools.verify.subject import Arguments, Case

CASE = Case(2, 3, given=True)
STEP = 1e-6
ALLOWED = 1e-6  # of a central difference
KINK = 1e-3  # where differences to either side lie so far apart, there is a kink or a jump between them
ADVICE = "next: do not train this cell: the reference's gradient is wrong, or the cell has a kink there that was not seen"


def gradcheck(c: Context) -> Finding:
    """Central differences and torch.autograd.gradcheck; none where a derivative is a surrogate, none across a kink."""
    if c.surrogates:
        named = ", ".join(f"`{n}`" for n in c.surrogates)
        return Finding(SKIP, notes=(f"surrogate derivative in {named}: its gradient is chosen, and is no slope of the values",))
    s = c.small
    layer = s.layer()
    bad = list(not_finite(observe(s, whole, layer, s.arguments(CASE, torch.float64))))
    if bad:
        return Finding(SKIP, notes=(f"{bad[0][0]} is not finite",))
    weighted = _weighted(_call(s, layer))
    gaps, kinked, total = _differences(weighted, _leaves(s, layer))
    notes: tuple[str, ...] = ()
    if kinked:
        notes = (f"{kinked} of {total} entries lie at a kink or a jump and were left out ({kinks(c) or 'of the equations'})",)
        if not gaps:
            return Finding(SKIP, notes=notes)
    found = judged(gaps, "the gradient", "the difference", (ADVICE, REPORT), notes)
    if found.verdict == FAIL or kinked:
        return found
    try:
        torch.autograd.gradcheck(_call(s, layer), [leaf.tensor for leaf in _leaves(s, layer)], eps=STEP)
    except GradcheckError as e:
        why = " ".join(str(e).split())[:200]
        return Finding(FAIL, found.error, found.allowed, found.place, found.case, (f"torch.autograd.gradcheck: {why}", ADVICE, REPORT))
    return found


@dataclass(frozen=True)
class Leaf:
    """A tensor that gradients are taken in; key: its name as the layer has it."""

    name: str
    key: str
    tensor: Tensor
    lead: tuple[str, ...]


def _leaves(s: Any, layer: Any) -> list[Leaf]:
    given = s.arguments(CASE, torch.float64)
    leaves = [Leaf(n.split(".")[1] if "." in n else n, n, p, ()) for n, p in layer.named_parameters()]
    leaves += [Leaf(n, n, x, ("sequence", "step")) for (n, _, _), x in zip(layer._inputs, given.inputs, strict=True)]
    states = zip(layer._fields, given.state, strict=True)
    leaves += [Leaf(f"the given {n}", n, t, ("sequence",)) for (n, _, _), t in states if t.is_floating_point() or t.is_complex()]
    return [Leaf(leaf.name, leaf.key, leaf.tensor.detach().clone().requires_grad_(), leaf.lead) for leaf in leaves]


def _call(s: Any, layer: Any) -> Callable[..., tuple[Tensor, ...]]:
    """The layer as a function of its leaves: params, inputs and the given state, to real outputs and states."""
    names = [n for n, _ in layer.named_parameters()]
    given = s.arguments(CASE, torch.float64)

    class Called(torch.nn.Module):
        """`whole` as a module's call, so that params can be put in place."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, arguments: Arguments) -> tuple[Tensor, ...]:
            outputs, fields = whole(self.layer, arguments)
            return tuple(real_view(t) for t in (*outputs, *fields) if t.is_floating_point() or t.is_complex())

    called = Called()

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        params = {f"layer.{n}": t for n, t in zip(names, tensors, strict=False)}
        rest = iter(tensors[len(names) :])
        inputs = tuple(next(rest) for _ in given.inputs)
        state = tuple(next(rest) if t.is_floating_point() or t.is_complex() else t for t in given.state or ())
        return torch.func.functional_call(called, params, (Arguments(inputs, state, None),))

    return function


def _weighted(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """A weighted sum of what a function returns."""

    def total(*tensors: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        return sum(((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in function(*tensors)), torch.zeros(()).double())

    return total


def _differences(total: Callable[..., Tensor], leaves: list[Leaf]) -> tuple[list[Gap], int, int]:
    """The worst entry of each leaf against a central difference; entries at a kink, which are left out, and entries in all."""
    tensors = [leaf.tensor for leaf in leaves]
    here = total(*tensors)
    gradients = [torch.zeros_like(t) for t in tensors]
    if here.requires_grad:
        gradients = list(torch.autograd.grad(here, tensors, allow_unused=True, materialize_grads=True))
    largest = max((float(g.abs().max()) for g in gradients if g.numel()), default=0.0) or 1.0

    def there() -> float:
        with torch.no_grad():
            return float(total(*tensors))

    gaps, kinked, count = [], 0, 0
    for leaf, gradient in zip(leaves, gradients, strict=True):
        real, slopes = (real_view(t) for t in (leaf.tensor.detach(), gradient))
        unit = max(float(slopes.abs().max()), 1e-3 * largest) if slopes.numel() else 1.0
        worst_here: Gap | None = None
        for at in torch.cartesian_prod(*map(torch.arange, real.shape)).reshape(-1, real.dim()).tolist() if real.dim() else [[]]:
            index, count = tuple(at), count + 1
            before = real[index].item()
            real[index] = before + STEP
            above = there()
            real[index] = before - STEP
            below = there()
            real[index] = before
            forward, backward = (above - float(here)) / STEP, (float(here) - below) / STEP
            if abs(forward - backward) > KINK * largest:
                kinked += 1
                continue
            central, slope = (forward + backward) / 2, float(slopes[index])
            error = abs(slope - central) / unit if math.isfinite(central) else math.inf
            if worst_here is None or error > worst_here.error:
                worst_here = Gap(f"gradient of {leaf.name}", index, leaf.lead, error, ALLOWED, slope, central, str(CASE))
        gaps += [worst_here] if worst_here is not None else []
    return gaps, kinked, count
