"""Ways to run a sequence that must give the same numbers."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnndsl.plan.ir import Plan
from rnndsl.tools.verify.numeric.scope import Scope
from rnndsl.tools.verify.numeric.values import number
from rnndsl.tools.verify.observe import Fields, Run
from rnndsl.tools.verify.subject import Arguments


def whole(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
    """In one call."""
    state = None if given.state is None else layer.State(*given.state)
    y, end = layer(*given.inputs, state=state, reset=given.reset)
    return _tuple(y), tuple(end)


def halves(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
    """In two calls, the second from the state that the first returns."""
    half = given.inputs[0].shape[1] // 2
    front, middle = whole(layer, _steps(given, 0, half, given.state))
    back, end = whole(layer, _steps(given, half, None, middle))
    return _behind([front, back], 1), end


def stepwise(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
    """By `step`; without resets."""
    assert given.reset is None
    state = layer.initial_state(given.inputs[0].shape[0]) if given.state is None else layer.State(*given.state)
    found = []
    for t in range(given.inputs[0].shape[1]):
        y, state = layer.step(*(x[:, t] for x in given.inputs), state)
        found.append(_tuple(y))
    return tuple(torch.stack(o, 1) for o in zip(*found, strict=True)), tuple(state)


def apart(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
    """Every sequence by itself, and what lies between two resets in a call of its own, without resets."""
    assert given.reset is not None
    rows = []
    for b, reset in enumerate(given.reset):
        ends = [*sorted({0, *reset.nonzero().flatten().tolist()}), len(reset)]
        pieces, end = [], None
        for start, stop in pairwise(ends):
            state = None if given.state is None or bool(reset[start]) else tuple(s[b : b + 1] for s in given.state)
            y, end = whole(layer, Arguments(tuple(x[b : b + 1, start:stop] for x in given.inputs), state, None))
            pieces.append(y)
        assert end is not None
        rows.append((_behind(pieces, 1), end))
    return _behind([y for y, _ in rows], 0), _behind([end for _, end in rows], 0)


def seeded(seed: int) -> Run:
    """In one call, after the generator of every device was given a seed."""

    def run(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
        device = given.inputs[0].device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            return whole(layer, given)

    return run


def interpreted(plan: Plan) -> Run:
    """Equation by equation in the order of the text, one sequence and one step at a time, by an interpreter. float64 alone."""
    cell = plan.cell

    def run(layer: Any, given: Arguments) -> tuple[Fields, Fields]:
        scope = Scope(cell, layer, {n: getattr(layer, n) for n in layer._tensors})
        start: dict[tuple[str, str, int], Tensor] = {}
        for c in plan.carries:
            v = next((v for v in cell.variables if v.name == c.source), None)
            value = scope.value(v.value) if v is not None and v.role == "state" and v.value is not None else number(0.0)
            scope.put((c.role, c.source, c.lag), scope.sizes.plain(value, c.type), c.type)
            start[c.role, c.source, c.lag] = scope.env[c.role, c.source, c.lag]
        rows = []
        for b in range(given.inputs[0].shape[0]):
            scope.env |= start
            for c, s in zip(plan.carries, given.state or (), strict=False):
                scope.put((c.role, c.source, c.lag), s[b], c.type)
            steps = []
            for t in range(given.inputs[0].shape[1]):
                if given.reset is not None and given.reset[b, t]:
                    scope.env |= start
                for v, x in zip(cell.of_role("input"), given.inputs, strict=True):
                    scope.put(("input", v.name, 0), x[b, t], v.type)
                for statement in cell.body:
                    scope.operation(statement)
                steps.append(tuple(_plain(scope, scope.value(o.value), o.value.type) for o in cell.outputs))
                _shift(scope, plan)
            end = tuple(_plain(scope, scope.env[c.role, c.source, c.lag], c.type) for c in plan.carries)
            rows.append((tuple(torch.stack(o) for o in zip(*steps, strict=True)), end))
        outputs = tuple(torch.stack(o) for o in zip(*(y for y, _ in rows), strict=True))
        ends = tuple(torch.stack(e) for e in zip(*(end for _, end in rows), strict=True))
        return outputs, tuple(e.to(s.dtype) for e, s in zip(ends, layer.initial_state(1), strict=True))

    return run


def _plain(scope: Scope, value: Tensor, t: Any) -> Tensor:
    """A value in its declared shape, complex where its type is."""
    value = scope.sizes.plain(value, t)
    return value.to(torch.complex128) if t.is_complex else value


def _shift(scope: Scope, plan: Plan) -> None:
    """What the next step sees one step further back."""
    for c in sorted(plan.carries, key=lambda c: -c.lag):
        if c.role == "clock":
            scope.env[c.role, c.source, c.lag] = scope.env[c.role, c.source, c.lag] + 1
        else:
            value = scope.env[c.role, c.source, c.lag - 1]
            scope.put((c.role, c.source, c.lag), scope.sizes.plain(value, c.type), c.type)


def _tuple(y: Any) -> Fields:
    return (y,) if isinstance(y, Tensor) else tuple(y)


def _steps(given: Arguments, start: int, stop: int | None, state: Fields | None) -> Arguments:
    """The same from one step to another, from a state."""
    part = slice(start, stop)
    return Arguments(tuple(x[:, part] for x in given.inputs), state, None if given.reset is None else given.reset[:, part])


def _behind(parts: list[Fields], axis: int) -> Fields:
    return tuple(torch.cat(p, axis) for p in zip(*parts, strict=True))
