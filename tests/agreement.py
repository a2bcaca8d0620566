"""Compares a generated layer with the oracle: outputs, states, gradients, resets, halves, single steps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import rnndsl
from tests.oracle import Oracle

TOLERANCE = 1e-9
ODD = {"D": 3, "H": 5, "N": 2, "K": 3, "V": 7, "B": 9, "L": 3, "M": 4}  # of sizes of these names


def layer_of(text: str, cell: str, sizes: dict, **settings) -> nn.Module:
    """A layer in float64, in evaluation mode."""
    cls = getattr(rnndsl.load(text), cell)
    known = inspect.signature(cls).parameters
    settings = {"dtype": torch.float64, "backend": "reference"} | settings
    return cls(**{k: v for k, v in sizes.items() if k in known}, **settings).eval()


def tensors_of(layer: nn.Module) -> dict[str, Tensor]:
    """Params and consts by name, constrained."""
    return {n: getattr(layer, n) for n in layer._tensors}


def random_inputs(layer: nn.Module, batch: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Inputs [B, T, ...] that require gradients."""
    g = torch.Generator().manual_seed(seed)
    dtype = layer._own_dtype()
    found = []
    for _, shape, is_complex in layer._inputs:
        kind = dtype.to_complex() if is_complex else dtype
        found.append(torch.randn(batch, steps, *map(int, shape), dtype=kind, generator=g).requires_grad_())
    return found


def some_resets(batch: int, steps: int, seed: int = 0) -> Tensor:
    """Resets at the first step, in the middle and at the last one."""
    reset = torch.rand(batch, steps, generator=torch.Generator().manual_seed(seed)) < 0.25
    if batch and steps:
        reset[0, 0] = True
        reset[-1, steps // 2] = True
        reset[-1, -1] = True
    return reset


def as_dict(value, names) -> dict[str, Tensor]:
    return dict(zip(names, value, strict=True)) if isinstance(value, tuple) else dict(zip(names, (value,), strict=True))


def difference(a: Tensor, b: Tensor) -> float:
    """The largest relative-to-scale difference; equal infinities agree."""
    assert a.shape == b.shape, (a.shape, b.shape)
    assert a.is_complex() == b.is_complex()
    if a.numel() == 0:
        return 0.0
    both = (a == b) | (torch.isnan(a) & torch.isnan(b))
    gap = torch.where(both, torch.zeros_like(a), a - b).abs()
    scale = b.abs()[torch.isfinite(b.abs())]
    return float(gap.max().detach()) / (1 + (float(scale.max().detach()) if scale.numel() else 0.0))


def total(values: dict[str, Tensor], seed: int) -> Tensor:
    """A scalar that weighs every finite entry differently."""
    g = torch.Generator().manual_seed(seed)
    out = torch.zeros((), dtype=torch.float64)
    for v in values.values():
        v = torch.view_as_real(v) if v.is_complex() else v
        w = torch.randn(v.shape, generator=g, dtype=torch.float64)
        out = out + (torch.where(torch.isfinite(v), v, torch.zeros_like(v)) * w).sum()
    return out


@dataclass
class Case:
    """One cell, its sizes, and how much of it to run."""

    text: str
    cell: str
    sizes: dict
    batch: int = 3
    steps: int = 7
    seed: int = 0
    backend: str = "reference"


def assert_agrees(case: Case, tolerance: float = TOLERANCE) -> None:
    """Everything that a call can be asked for agrees with the oracle, or with a call made otherwise."""
    torch.manual_seed(case.seed)
    layer = layer_of(case.text, case.cell, case.sizes, backend=case.backend)
    oracle = Oracle(case.text, case.cell)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    inputs = random_inputs(layer, case.batch, case.steps, case.seed)
    states = list(layer.State._fields)

    for reset in (None, some_resets(case.batch, case.steps, case.seed)):
        got, got_state = layer(*inputs, reset=reset)
        want, want_state = oracle.run(case.sizes, tensors_of(layer), inputs, None, reset)
        got = as_dict(got, want)
        for name in want:
            assert difference(got[name], want[name]) < tolerance, f"output {name}"
        declared = dict(zip(want_state, states, strict=False))
        for name, field in declared.items():
            assert difference(getattr(got_state, field), want_state[name]) < tolerance, f"state {name}"
        leaves = [*layer.parameters(), *inputs]
        loss_got = total({**got, **{n: getattr(got_state, f) for n, f in declared.items()}}, 1)
        loss_want = total({**want, **want_state}, 1)
        if loss_got.requires_grad or loss_want.requires_grad:
            mine = torch.autograd.grad(loss_got, leaves, allow_unused=True, materialize_grads=True)
            theirs = torch.autograd.grad(loss_want, leaves, allow_unused=True, materialize_grads=True)
            labels = [n for n, _ in layer.named_parameters()] + [n for n, _, _ in layer._inputs]
            for label, a, b in zip(labels, mine, theirs, strict=True):
                assert difference(a, b) < tolerance * 10, f"gradient of {label}"

        half = case.steps // 2
        cut = lambda v, part: None if v is None else v[:, part]  # noqa: E731
        front, middle = layer(*[x[:, :half] for x in inputs], reset=cut(reset, slice(None, half)))
        back, end = layer(*[x[:, half:] for x in inputs], state=middle, reset=cut(reset, slice(half, None)))
        front, back = as_dict(front, want), as_dict(back, want)
        for name in want:
            assert difference(torch.cat([front[name], back[name]], 1), got[name]) < tolerance, f"halves: output {name}"
        for field in layer.State._fields:
            assert difference(getattr(end, field), getattr(got_state, field)) < tolerance, f"halves: state {field}"

    state = layer.initial_state(case.batch)
    whole, end = layer(*inputs)
    whole = as_dict(whole, want)
    for t in range(case.steps):
        one, state = layer.step(*[x[:, t] for x in inputs], state)
        for name, value in as_dict(one, want).items():
            assert difference(value, whole[name][:, t]) < tolerance, f"step {t}: output {name}"
    for field in layer.State._fields:
        assert difference(getattr(state, field), getattr(end, field)) < tolerance, f"steps: state {field}"


def sizes_of(text: str, cell: str) -> dict[str, int]:
    """Odd sizes for every size of a cell."""
    known = inspect.signature(getattr(rnndsl.load(text), cell)).parameters
    return {n: ODD.get(n, 3) for n, p in known.items() if p.default is p.empty}


def against_reference(
    text: str, cell: str, sizes: dict, batch: int, steps: int, dtype=torch.float64, reset: bool = True, backend: str = "cpu",
    device: str = "cpu", scale: float = 1.0, schedule: str = "auto", tiles: dict | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:  # fmt: skip
    """Outputs, states and gradients on a backend and on the reference in float64, from the same weights and a given state."""
    found = []
    for which, kind in ((backend, dtype), ("reference", torch.float64)):
        torch.manual_seed(0)
        layer = layer_of(text, cell, sizes, backend="reference")
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(0.3 * torch.randn_like(p)).mul_(scale)
        inputs = [x.detach() for x in random_inputs(layer, batch, steps)]
        state = [s + 0.2 * torch.randn_like(s) if s.dtype != torch.int64 else s for s in layer.initial_state(batch)]
        layer = layer.to(kind).to(device)
        layer.backend = which
        if which != "reference":
            layer.schedule, layer.tiles = schedule, tiles

        def cast(t: Tensor, kind=kind) -> Tensor:
            t = t.to(device)
            return t if t.dtype == torch.int64 else t.to(kind.to_complex() if t.is_complex() else kind).requires_grad_()

        inputs, state = [cast(x) for x in inputs], [cast(s) for s in state]
        y, end = layer(*inputs, state=state, reset=some_resets(batch, steps).to(device) if reset else None)
        outputs = {f"output {i}": v for i, v in enumerate(y if isinstance(y, tuple) else (y,))}
        outputs |= {f"state {n}": v for n, v in zip(end._fields, end, strict=True) if v.dtype != torch.int64}
        leaves = dict(layer.named_parameters()) | {n: x for (n, _, _), x in zip(layer._inputs, inputs, strict=True)}
        leaves |= {f"first {i}": s for i, s in enumerate(state) if s.requires_grad}
        wide = {n: v.cpu().to(torch.complex128 if v.is_complex() else torch.float64) for n, v in outputs.items()}
        grads = torch.autograd.grad(total(wide, 3), list(leaves.values()), allow_unused=True, materialize_grads=True)
        found.append({n: v.detach() for n, v in wide.items()} | {f"gradient of {n}": g for n, g in zip(leaves, (g.cpu() for g in grads), strict=True)})
    return {n: (found[0][n].to(found[1][n].dtype), found[1][n]) for n in found[1]}


def assert_close(values: dict[str, tuple[Tensor, Tensor]], tolerance: float) -> None:
    """Every value agrees, relative to its scale."""
    for name, (got, want) in values.items():
        assert difference(got, want) < tolerance, name
