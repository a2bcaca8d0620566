"""Lane forms give the layer's values, and their Jacobians the derivatives that autograd finds: for examples, features, random cells."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from tests.agreement import layer_of, random_inputs
from tests.features import FEATURES, SIZES, program
from tests.numeric_lanes import Step, inner, random_like
from tests.random_cells import RandomCell, cells
from tests.zoo_cells import ZOO

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.rnn"))
ODD = {"D": 3, "H": 5, "N": 2, "K": 4, "V": 7, "L": 3, "B": 6, "P": 2, "M": 3}
TOLERANCE = 1e-10


def close(a: torch.Tensor, b: torch.Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    same = (a == b) | (torch.isnan(a) & torch.isnan(b))
    gap = torch.where(same, torch.zeros_like(a - b), a - b).abs()
    scale = 1 + float(b.abs()[torch.isfinite(b.abs())].max()) if torch.isfinite(b.abs()).any() else 1.0
    assert float(gap.max()) <= tolerance * scale, f"{what}: {float(gap.max()):.2e} at a scale of {scale:.1e}"


def assert_differentiates(text: str, cell: str | None, sizes: dict[str, int], seed: int = 0) -> None:
    """Values against the layer's step; true Jacobian and backward against autograd; the state's gradients against the layer's."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    name = cell or text.split("cell ")[1].split("(")[0]
    layer = layer_of(text, name, sizes)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=g))
    inputs = [x.detach()[:, 0] for x in random_inputs(layer, 1, 1, seed)]
    start = [s if s.dtype == torch.int64 else 0.5 * random_like(s, g) for s in layer.initial_state(1)]
    start = [s.clone().requires_grad_() if s.dtype != torch.int64 else s for s in start]
    _, end = layer.step(*inputs, layer.State(*start))

    step = Step(text, name, layer, [x[0] for x in inputs], tuple(s.detach()[0] for s in start))
    fields = {(c.source, c.lag): i for i, c in enumerate(step.fields) if c.role == "state"}
    for component, point in step.points:
        lanes = point.lanes
        weights = {}
        for state, value in point.updates.items():
            found = end[fields[state, 1]][0]
            close(step.sizes.plain(value, next(s.type for s in lanes.slots if s.state == state)), found.detach(), f"{state}[t]")
            weights[state] = random_like(value, g)
        at = point.given()
        for backward in (False, True):
            jacobian = component.backward if backward else component.jacobian
            truth = point.gradients(at, weights, backward)
            for symbol, value in at.items():
                tangent = random_like(value, g)
                moved = point.derivative(jacobian, {symbol: tangent})
                mine = sum(inner(weights[s], m) for s, m in moved.items())
                close(mine, inner(truth[symbol], tangent), f"{'backward' if backward else 'true'} ∂/∂{symbol}")
        # the layer itself: an old state enters its own component's new states through the recurrence alone
        loss = sum(inner(step.sizes.plain(w, _type(lanes, s)), end[fields[s, 1]][0]) for s, w in weights.items())
        leaves = [start[fields[s.state, s.lag]] for s in lanes.slots]
        if loss.requires_grad:
            theirs = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
            for slot, grad in zip(lanes.slots, theirs, strict=True):
                tangent = random_like(at[slot.symbol], g)
                moved = point.derivative(component.backward, {slot.symbol: tangent})
                mine = sum(inner(weights[s], m) for s, m in moved.items())
                close(mine, inner(grad[0].reshape(tangent.shape), tangent), f"layer ∂/∂{slot.symbol}")


def _type(lanes, state: str):
    return next(s.type for s in lanes.slots if s.state == state)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples(path: Path):
    text = path.read_text()
    for seed in range(2):
        assert_differentiates(text, None, ODD, seed)


@pytest.mark.parametrize("name", [n for n in FEATURES if "\n  state" in FEATURES[n]])
def test_features(name: str):
    assert_differentiates(program(name), "C", SIZES)


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str):
    assert_differentiates(ZOO[name].text, None, ODD)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(cells())
def test_random_cells(cell: RandomCell):
    assert_differentiates(cell.text, None, cell.sizes)
