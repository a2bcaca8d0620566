"""Lane forms give the layer's values, and their Jacobians the derivatives that autograd finds: for examples, features, random cells."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from rnndsl import compiler
from rnndsl.diagnostics import Source
from rnndsl.tools.verify.numeric.step import Step
from rnndsl.tools.verify.numeric.values import inner, random_like
from tests.agreement import layer_of, random_inputs
from tests.choice import some
from tests.features import FEATURES, SIZES, program
from tests.random_cells import RandomCell, cells
from tests.zoo_cells import ZOO, name_of

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.rnn"))
ODD = {"D": 3, "H": 5, "N": 2, "K": 4, "V": 7, "L": 3, "B": 6, "P": 2, "M": 3}
TOLERANCE = 1e-10


def close(a: torch.Tensor, b: torch.Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    same = (a == b) | (torch.isnan(a) & torch.isnan(b))
    gap = torch.where(same, torch.zeros_like(a - b), a - b).abs()
    scale = 1 + float(b.abs()[torch.isfinite(b.abs())].max()) if torch.isfinite(b.abs()).any() else 1.0
    assert float(gap.max()) <= tolerance * scale, f"{what}: {float(gap.max()):.2e} at a scale of {scale:.1e}"


def step_of(text: str, cell: str, layer, inputs: list[torch.Tensor], state: tuple) -> Step:
    """One step of one sequence of a program's cell."""
    source = Source("cell.rnn", text)
    plan = next(p for p in compiler.compiled(source).plans if p.cell.name == cell)
    return Step(compiler.system(plan, source, dict(layer._sizes)), layer, inputs, state)


def assert_differentiates(text: str, cell: str | None, sizes: dict[str, int], seed: int = 0) -> None:
    """Values against the layer's step; true Jacobian and backward against autograd; the state's gradients against the layer's."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    name = cell or name_of(text)
    layer = layer_of(text, name, sizes)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=g))
    inputs = [x.detach()[:, 0] for x in random_inputs(layer, 1, 1, seed)]
    start = [s if s.dtype == torch.int64 else 0.5 * random_like(s, g) for s in layer.initial_state(1)]
    start = [s.clone().requires_grad_() if s.dtype != torch.int64 else s for s in start]
    _, end = layer.step(*inputs, layer.State(*start))

    step = step_of(text, name, layer, [x[0] for x in inputs], tuple(s.detach()[0] for s in start))
    fields = {(c.source, c.lag): i for i, c in enumerate(step.plan.carries) if c.role == "state"}
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


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str):
    assert_differentiates(ZOO[name].text, None, ODD)


@pytest.mark.parametrize("name", ZOO)
def test_finite_at_the_start(name: str):
    """At the initial state, zero or -inf as it may be, no derivative is a NaN."""
    g = torch.Generator().manual_seed(0)
    layer = layer_of(ZOO[name].text, name, ODD)
    with torch.no_grad():
        for p in (*layer.parameters(), *layer.buffers()):
            p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=g))
    inputs = [x.detach()[0, 0] for x in random_inputs(layer, 1, 1)]
    step = step_of(ZOO[name].text, name, layer, inputs, tuple(s[0] for s in layer.initial_state(1)))
    for component, point in step.points:
        for symbol, value in point.given().items():
            moved = point.derivative(component.backward, {symbol: torch.ones_like(value)})
            assert not any(torch.isnan(m).any() for m in moved.values()), symbol


def test_extreme_values():
    """Large logits overflow nowhere; a norm has derivative zero at zero, as torch's."""
    text = """cell C(H):
  input x: [H]
  state h, g: [H]
  h[t] = softmax(1000 * h[t-1] + x)
  g[t] = norm(g[t-1]) * x + abs(g[t-1])^1.5
  output h, g
"""
    layer = layer_of(text, "C", {"H": 5})
    x = torch.randn(5, dtype=torch.float64)
    state = torch.tensor([3.0, 2.0, -5.0, 1.0, 3.0], dtype=torch.float64)
    step = step_of(text, "C", layer, [x], (state, torch.zeros(5, dtype=torch.float64)))
    for component, point in step.points:
        for update in point.updates.values():
            assert torch.isfinite(update).all()
        moved = point.derivative(component.jacobian, {s.symbol: torch.ones_like(point.values[s.symbol]) for s in point.lanes.slots})
        assert all(torch.isfinite(m).all() for m in moved.values())


CORNERS = {
    "repeat opaque": """cell C(H, L):
  input x: [H]
  state h: [H]
  param R: [L; H, H]
  param w: [L; H]
  v = h[t-1]
  u = x
  repeat k in 1..L:
    u = u * 0.5 + cumsum(k * u)
    v = tanh(R[k] @ v + diag(u) @ v + outer(w[k], u) @ v + sum(u * k) * v)
  end
  h[t] = v
  output h
""",
    "same text": """cell C(H):
  input x, y: [H]
  state h: [H]
  v = h[t-1]
  repeat k in 1..2:
    v = tanh(v * sum(x * k) + v * sum(x + k) - v * sum(y + k))
  end
  h[t] = v
  output h
""",
    "names clash": """cell C(H):
  input x: [H]
  state h, h_2: [H]
  state g: [H]
  param m1, l, r, h_3: [H]
  h[t] = tanh(h[t-1] * m1 + h[t-2] * h_3 + h_2[t-1] * l)
  h_2[t] = tanh(h_2[t-2] + h[t-3] * r + x)
  g[t] = tanh(g[t-1] + h[t-2] * h_2[t-1] + h_2[t])
  output h, g
""",
    "concat dep": """cell C(H, K):
  input x: [H]
  input y: [K]
  state h: [H]
  state q: [K]
  param W: [H, 2*H+K]
  param s: [K, H]
  c = concat(x, h[t-1], tanh(q[t-1]))
  h[t] = tanh(W @ c)
  q[t] = tanh(s @ h[t-1] + q[t-1] * y)
  output h
""",
    "powers": """cell C(H):
  input x: [H]
  state h: [H]
  param p: [H] > 1
  h[t] = (abs(h[t-1]) + 0.1)^p * 0.5 + p^h[t-1] + h[t-1]^3 + sqrt(h[t-1]^2) + 2^h[t-1] + (x^2)^0.5 * h[t-1]
  output h
""",
    "matrix head": """cell C(N, K, V):
  input x: [K]
  state S: [N; K, V]
  state u: [K]
  param A: [N; K, K]
  param B: [V, V]
  param w: [V]
  u[t] = tanh(u[t-1] + x)
  S[t] = tanh(A @ S[t-1] @ B + outer(u[t], w) + diag(u[t]) @ S[t-1] @ diag(w)) + outer(u[t] @ S[t-1] @ S[t-1].T, w)
  output y = merge(u[t] @ S[t])
""",
    "matrix dep both": """cell C(K):
  input x: [K]
  state S: [K, K]
  state v: [K]
  S[t] = tanh(diag(v[t-1]) @ S[t-1] + outer(v[t-1], S[t-1] @ x) + S[t-1] @ diag(v[t-1]))
  v[t] = tanh(S[t-1] @ v[t-1] + x) + normalize(v[t-1] @ S[t-1])
  output v
""",
    "reshape": """cell C(K, V):
  input x: [K]
  state S: [K, V]
  param W: [K*V, K*V]
  S[t] = tanh(reshape(W @ reshape(S[t-1], K*V), K, V) + reshape(reshape(S[t-1], K*V), K, V)) + outer(x, ones(V))
  output y = S[t] @ ones(V)
""",
    "complex mix": """cell C(D, H):
  input x: [D]
  state h: complex [H]
  state r: [H]
  param A: complex [H, H]
  param B: complex [H, D]
  h[t] = tanh(0.1 * A @ conj(h[t-1]) + B @ x) * sigmoid(r[t-1]) + normalize(h[t-1]) * 0.3 + h[t-1] / (2 + norm(h[t-1])) + im(h[t-1]) * 1j
  r[t] = relu(re(A @ h[t-1]) + abs(h[t-1] * conj(h[t-1]) - 1j)) - im(h[t]) * max(re(h[t-1]), r[t-1])
  output r
""",
    "inf": """cell C(H):
  input x: [H]
  state h: [H] = -inf
  h[t] = max(where(x > 0, -inf, h[t-1]), x) + where(x > 0.1, 0, -1)
  output h
""",
    "big power": """cell C(H):
  input x: [H]
  state h: [H]
  h[t] = 0.5 * h[t-1] * 10^-10 + x * 2^10^2 / 10^30
  output h
""",
    "hyper": """cell C(H, p = 2, q = 0.5):
  input x: [H]
  state h: [H]
  h[t] = tanh(h[t-1])^p * q + abs(h[t-1])^q + x / H
  output h
""",
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str):
    assert_differentiates(CORNERS[name], None, ODD)


@settings(max_examples=some(25), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(cells())
def test_random_cells(cell: RandomCell):
    assert_differentiates(cell.text, None, cell.sizes)
