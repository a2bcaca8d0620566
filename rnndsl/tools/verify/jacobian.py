"""The Jacobian that the compiler derives against autograd, entry by entry in small sizes."""

import torch
from torch import Tensor

from rnndsl.calculus.analysis import Component
from rnndsl.runtime.complex_parts import real_view
from rnndsl.tools.verify.compare import Gap
from rnndsl.tools.verify.context import Context
from rnndsl.tools.verify.finding import REPORT, Finding, judged
from rnndsl.tools.verify.numeric.lanes import Point
from rnndsl.tools.verify.numeric.step import Step
from rnndsl.tools.verify.subject import Case

CASE = Case(2, 1, given=True)
ALLOWED = 1e-10
ADVICE = "next: do not rely on what `rnndsl explain` says of this component; the layers' gradients are made otherwise, and have lines of their own"

Matrix = dict[tuple[str, str], Tensor]  # (new state, old value) to [entries of the one, entries of the other], complex ones as two


def jacobian(c: Context, states: tuple[str, ...]) -> Finding:
    """The formulas of one component: with surrogates against the layer, without them against the true derivative."""
    s = c.small
    gaps: list[Gap] = []
    layer = s.layer()
    given = s.arguments(CASE, torch.float64)
    assert given.state is not None
    fields = {(f.role, f.source, f.lag): i for i, f in enumerate(c.plan.carries)}
    numbers = {f.field: i for i, f in enumerate(c.plan.carries)}
    for b in range(CASE.batch):
        inputs, state = [x[b, 0] for x in given.inputs], tuple(v[b] for v in given.state)
        step = Step(c.system, layer, inputs, state)
        component, point = next((k, p) for k, p in step.points if k.states == states)
        old = {f"{x.state}[t-{x.lag}]": fields["state", x.state, x.lag] for x in point.lanes.slots}
        theirs = _of_layer(layer, inputs, state, {n: numbers[n] for n in states}, old)
        gaps += _compared(_of_formulas(component, point, True), theirs, f"sequence {b}")
        true = _of_lanes(point) if c.surrogates else theirs
        gaps += _compared(_of_formulas(component, point, False), true, f"sequence {b}, without surrogates")
    return judged(gaps, "the formula", "autograd", (ADVICE, REPORT))


def _of_layer(layer, inputs: list[Tensor], state: tuple[Tensor, ...], new: dict[str, int], old: dict[str, int]) -> Matrix:
    """By autograd through one step of the layer. new, old: names, and the fields of the state that they are."""
    leaves = [v.unsqueeze(0).clone() for v in state]
    for i in old.values():
        leaves[i].requires_grad_()
    _, end = layer.step(*(x.unsqueeze(0) for x in inputs), layer.State(*leaves))
    return _rows({n: end[i][0] for n, i in new.items()}, {n: leaves[i] for n, i in old.items()})


def _of_lanes(point: Point) -> Matrix:
    """By autograd through the lanes, every surrogate taken for what it stands for."""
    leaves = {s.symbol: point.values[s.symbol].detach().clone().requires_grad_() for s in point.lanes.slots}
    again = Point(point.lanes, point.sizes, {k: v.detach() for k, v in point.values.items() if k in point.given()} | leaves)
    types = {s.state: s.type for s in point.lanes.slots}
    updates = {n: point.sizes.plain(u, types[n]) for n, u in again.updates.items()}
    return _rows(updates, {f"{s.state}[t-{s.lag}]": leaves[s.symbol] for s in point.lanes.slots})


def _rows(new: dict[str, Tensor], old: dict[str, Tensor]) -> Matrix:
    found: Matrix = {}
    for name, value in new.items():
        rows = []
        for entry in _real(value):
            grads = torch.autograd.grad(entry, list(old.values()), retain_graph=True, allow_unused=True, materialize_grads=True) if entry.requires_grad else None
            rows.append([torch.zeros_like(_real(v)) for v in old.values()] if grads is None else [_real(g) for g in grads])
        found |= {(f"{name}[t]", o): torch.stack(columns) for o, columns in zip(old, zip(*rows, strict=True), strict=True)}
    return found


def _of_formulas(component: Component, point: Point, backward: bool) -> Matrix:
    """By the formulas: what each old entry, moved alone, moves."""
    jacobian = component.backward if backward else component.jacobian
    assert jacobian is not None
    types = {s.state: s.type for s in point.lanes.slots}
    found: Matrix = {}
    for slot in point.lanes.slots:
        shape = point.sizes.shape(slot.type)
        columns: dict[str, list[Tensor]] = {}
        zero = torch.zeros(shape, dtype=torch.complex128 if slot.type.is_complex else torch.float64)
        for k in range(_real(zero).numel()):
            tangent = torch.zeros_like(_real(zero))
            tangent[k] = 1.0
            laid = torch.view_as_complex(tangent.reshape(*shape, 2)) if slot.type.is_complex else tangent.reshape(shape)
            for n, moved in point.derivative(jacobian, {slot.symbol: point.sizes.laid(laid, slot.type)}).items():
                value = point.sizes.plain(moved, types[n])
                columns.setdefault(n, []).append(_real(value.to(torch.complex128) if types[n].is_complex else value.real))
        found |= {(f"{n}[t]", f"{slot.state}[t-{slot.lag}]"): torch.stack(v, 1) for n, v in columns.items()}
    return found


def _compared(mine: Matrix, theirs: Matrix, case: str) -> list[Gap]:
    """The worst entry of each derivative, relative to the largest of all."""
    scale = max(float(torch.nan_to_num(m.abs(), posinf=0.0).max()) for m in theirs.values()) or 1.0
    gaps = []
    for key, m in theirs.items():
        same = (m == mine[key]) | (torch.isnan(m) & torch.isnan(mine[key]))
        gap = torch.where(same, 0.0, torch.nan_to_num((m - mine[key]).abs(), nan=torch.inf, posinf=torch.inf) / scale)
        at = divmod(int(gap.argmax()), m.shape[1])
        gaps.append(Gap(f"∂{key[0]}/∂{key[1]}", at, ("row", "column"), float(gap[at]), ALLOWED, mine[key][at].item(), m[at].item(), case))
    return gaps


def _real(t: Tensor) -> Tensor:
    """The entries one behind the other, a complex one as two."""
    return real_view(t).reshape(-1)
