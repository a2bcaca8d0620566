"""What a run gives: outputs, states and gradients, by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import real_view
from rnndsl.tools.verify.subject import Arguments, Subject

Fields = tuple[Tensor, ...]
Run = Callable[[Any, Arguments], tuple[Fields, Fields]]  # a layer and its arguments to outputs [B, T, ...] and last states [B, ...]


@dataclass(frozen=True)
class Value:
    """A tensor in float64 or complex128, on the CPU. eps: that of the dtype in which it came; lead: what its first axes count."""

    tensor: Tensor
    eps: float
    lead: tuple[str, ...] = ()


Values = dict[str, Value]


def observe(subject: Subject, run: Run, layer: Any, given: Arguments, gradients: bool = True) -> Values:
    """Outputs and states of a run, and the gradients of a weighted sum of them in params, inputs and the given state."""
    if not gradients:
        with torch.no_grad():
            return _returned(subject, layer, *run(layer, given))
    given = replace(
        given,
        inputs=tuple(_leaf(x) for x in given.inputs),
        state=None if given.state is None else tuple(_leaf(s) for s in given.state),
    )
    outputs, fields = run(layer, given)
    found = _returned(subject, layer, outputs, fields)
    declared = {raw: name for name, raw in layer._raw.items()}
    params = {declared.get(n, n): p for n, p in layer.named_parameters()}
    inputs = {n: x for (n, _, _), x in zip(layer._inputs, given.inputs, strict=True)}
    state = {f"the given {n}": s for (n, _, _), s in zip(layer._fields, given.state or (), strict=False) if s.requires_grad}
    leads = {**dict.fromkeys(params, ()), **dict.fromkeys(inputs, ("sequence", "step")), **dict.fromkeys(state, ("sequence",))}
    leaves = params | inputs | state
    total = _weighted([t for t in (*outputs, *fields) if t.is_floating_point() or t.is_complex()])
    grads = [torch.zeros_like(t) for t in leaves.values()]
    if total is not None and total.requires_grad:
        grads = list(torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True))
    return found | {f"gradient of {n}": _value(g, leads[n]) for n, g in zip(leaves, grads, strict=True)}


def _returned(subject: Subject, layer: Any, outputs: Fields, fields: Fields) -> Values:
    found = {f"output {n}": _value(t, ("sequence", "step")) for n, t in zip(subject.outputs, outputs, strict=True)}
    return found | {f"state {n}": _value(t, ("sequence",)) for (n, _, _), t in zip(layer._fields, fields, strict=True)}


def _leaf(t: Tensor) -> Tensor:
    return t.detach().clone().requires_grad_() if t.is_floating_point() or t.is_complex() else t


def _value(t: Tensor, lead: tuple[str, ...]) -> Value:
    real = t.dtype.to_real() if t.is_complex() else t.dtype
    eps = torch.finfo(real).eps if real.is_floating_point else 0.0
    return Value(t.detach().to("cpu", torch.complex128 if t.is_complex() else torch.float64), eps, lead)


def _weighted(tensors: list[Tensor]) -> Tensor | None:
    """A number that weighs every finite entry differently; weights are short enough for any dtype to hold them."""
    generator = torch.Generator().manual_seed(4)
    total = None
    for t in tensors:
        real = real_view(t)
        weights = (torch.randn(real.shape, generator=generator) * 32).round().to(real.device, torch.float64) / 32
        part = (torch.where(torch.isfinite(real), real, torch.zeros_like(real)).to(torch.float64) * weights).sum()
        total = part if total is None else total + part
    return total
