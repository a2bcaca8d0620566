"""Compares a generated layer with the oracle: outputs, states, gradients, resets, halves, single steps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

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
    schedule: str = "auto"


@dataclass
class _Call:
    """A layer with some params and consts, and what to call it with, from the start and from a given state."""

    layer: nn.Module
    oracle: Oracle
    case: Case

    def __post_init__(self) -> None:
        case = self.case
        self.inputs = random_inputs(self.layer, case.batch, case.steps, case.seed)
        self.declared = list(self.oracle.declared("state", case.sizes))
        self.fields = dict(zip(self.declared, self.layer.State._fields, strict=False))  # of the state tuple, by the states' own names
        g = torch.Generator().manual_seed(case.seed + 1)
        start = self.layer.initial_state(case.batch)
        self.given: dict[str, Tensor] = {}
        for name, field in self.fields.items():
            value = getattr(start, field).detach()
            value = torch.where(value.abs().isfinite(), value, torch.zeros_like(value))
            self.given[name] = (value + 0.3 * torch.randn(value.shape, dtype=value.dtype, generator=g)).requires_grad_()

    def state(self) -> Any:
        """The given state; what it holds of the time before is as at the start."""
        return self.layer.initial_state(self.case.batch)._replace(**{self.fields[n]: v for n, v in self.given.items()})

    def by_oracle(self, given: bool, reset: Tensor | None, noise: float = 0.0) -> tuple[dict, dict]:
        """Outputs and last states by name."""
        return self.oracle.run(self.case.sizes, tensors_of(self.layer), self.inputs, self.given if given else None, reset, noise)

    def last(self, state: Any) -> dict[str, Tensor]:
        """The declared states of a state tuple."""
        return {n: getattr(state, f) for n, f in self.fields.items()}

    def gradients(self, outputs: dict[str, Tensor], states: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a sum that weighs each entry differently, in params, inputs and the given state."""
        leaves = dict(self.layer.named_parameters())
        leaves |= {n: x for (n, _, _), x in zip(self.layer._inputs, self.inputs, strict=True)}
        leaves |= {f"first {n}": v for n, v in self.given.items()}
        loss = total({f"output {n}": v for n, v in outputs.items()} | {f"state {n}": v for n, v in states.items()}, 1)
        if not loss.requires_grad:
            return {n: torch.zeros_like(v) for n, v in leaves.items()}
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))


def _call_of(case: Case) -> _Call:
    """Params off their first values, and consts without a value that are not zero."""
    torch.manual_seed(case.seed)
    layer = layer_of(case.text, case.cell, case.sizes, backend=case.backend, schedule=case.schedule)
    oracle = Oracle(case.text, case.cell)
    valued = oracle.consts(case.sizes)
    for name, value in valued.items():
        _near(getattr(layer, name), value, TOLERANCE, f"const {name}")
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for name in oracle.declared("const", case.sizes):
            if name not in valued:
                getattr(layer, name).copy_(0.5 * torch.randn_like(getattr(layer, name)))
    return _Call(layer, oracle, case)


def _near(got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
    off = difference(got, want)
    assert off < tolerance, f"{what}: off by {off:.1e}"


def _all_near(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float, what: str) -> None:
    for name in want:
        _near(got[name], want[name], tolerance, f"{what} {name}")


def assert_agrees(case: Case, tolerance: float = TOLERANCE) -> None:
    """Everything that a call can be asked for agrees with the oracle, or with a call made otherwise."""
    call = _call_of(case)
    layer, inputs = call.layer, call.inputs
    resets = some_resets(case.batch, case.steps, case.seed)
    for given, reset in ((False, None), (True, None), (True, resets)):
        how = "" if not given else "from a given state: " if reset is None else "with resets: "
        want, want_state = call.by_oracle(given, reset)
        got, got_state = layer(*inputs, state=call.state() if given else None, reset=reset)
        got = as_dict(got, want)
        _all_near(got, want, tolerance, f"{how}output")
        _all_near(call.last(got_state), want_state, tolerance, f"{how}state")
        slopes = call.gradients(want, want_state)
        _all_near(call.gradients(got, call.last(got_state)), slopes, tolerance * 10, f"{how}gradient of")
        if not given:
            whole, end, whole_slopes = want, got_state, slopes

        half = case.steps // 2
        cut = lambda v, part: None if v is None else v[:, part]  # noqa: E731
        begin = call.state() if given else None
        front, middle = layer(*[x[:, :half] for x in inputs], state=begin, reset=cut(reset, slice(None, half)))
        back, last = layer(*[x[:, half:] for x in inputs], state=middle, reset=cut(reset, slice(half, None)))
        front, back = as_dict(front, want), as_dict(back, want)
        joined = {n: torch.cat([front[n], back[n]], 1) for n in want}
        _all_near(joined, want, tolerance, f"{how}halves: output")
        _all_near(last._asdict(), got_state._asdict(), tolerance, f"{how}halves: state")
        _all_near(call.gradients(joined, call.last(last)), slopes, tolerance * 10, f"{how}halves: gradient of")

    for grad in (True, False):
        how = "" if grad else " without gradients"
        with torch.set_grad_enabled(grad):
            state = layer.initial_state(case.batch)
            rows: list[dict[str, Tensor]] = []
            for t in range(case.steps):
                one, state = layer.step(*[x[:, t] for x in inputs], state)
                rows.append(as_dict(one, whole))
                _all_near(rows[-1], {n: v[:, t] for n, v in whole.items()}, tolerance, f"step{how}: output")
            _all_near(state._asdict(), end._asdict(), tolerance, f"steps{how}: state")
        if grad and rows:
            joined = {n: torch.stack([row[n] for row in rows], 1) for n in whole}
            _all_near(call.gradients(joined, call.last(state)), whole_slopes, tolerance * 10, "steps: gradient of")
    with torch.no_grad():
        got, got_state = layer(*inputs)
        _all_near(as_dict(got, whole), whole, tolerance, "without gradients: output")
        _all_near(got_state._asdict(), end._asdict(), tolerance, "without gradients: state")
    if case.backend != "reference" and call.oracle.declared("noise", case.sizes):
        _assert_same_in_training(call, tolerance)


def _assert_same_in_training(call: _Call, tolerance: float) -> None:
    """From one seed, the noise of a call is the same on every backend."""
    found = []
    for backend in (call.case.backend, "reference"):
        call.layer.train().backend = backend
        torch.manual_seed(call.case.seed)
        y, state = call.layer(*call.inputs)
        outputs = {str(i): v for i, v in enumerate(y if isinstance(y, tuple) else (y,))}
        found.append((outputs, call.last(state), call.gradients(outputs, call.last(state))))
    for got, want, what in zip(*found, ("output", "state", "gradient of"), strict=True):
        _all_near(got, want, tolerance * 10, f"in training: {what}")


ROUNDING = 1e-12  # of every operation, relative; a thousand times what float64 makes


def well_conditioned(case: Case) -> bool:
    """Whether rounding changes the numbers of a cell, gradients among them, so little that two right implementations agree.

    Not so on a kink, at a jump, after chaos, or where a gradient is not finite.
    """
    call = _call_of(case)
    resets = some_resets(case.batch, case.steps, case.seed)
    for given, reset in ((False, None), (True, resets)):
        found = []
        for noise in (0.0, ROUNDING, ROUNDING):
            outputs, states = call.by_oracle(given, reset, noise)
            found.append([*outputs.values(), *states.values(), *call.gradients(outputs, states).values()])
        if any(v.isnan().any() for v in found[0]) or any(difference(a, b) > 1e4 * ROUNDING for other in found[1:] for a, b in zip(found[0], other, strict=True)):
            return False
    return True


def runs(case: Case) -> None:
    """Calls a cell in every way, whatever the numbers are."""
    call = _call_of(case)
    y, state = call.layer(*call.inputs, state=call.state(), reset=some_resets(case.batch, case.steps))
    call.gradients({str(i): v for i, v in enumerate(y if isinstance(y, tuple) else (y,))}, call.last(state))
    call.layer.step(*[x[:, 0] for x in call.inputs], state)
    with torch.no_grad():
        call.layer(*call.inputs)
        call.layer.step(*[x[:, 0] for x in call.inputs], state)


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
        state = [s.detach() + 0.2 * torch.randn_like(s) if s.dtype != torch.int64 else s for s in layer.initial_state(batch)]
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


def kernels_run(text: str, cell: str, backend: str) -> bool:
    """Whether a backend has kernels for every recurrence of a cell."""
    cls = getattr(rnndsl.load(text), cell)
    return backend == "reference" or not cls._kernels[backend].refused
