"""Boxes that states are proven to stay in: those that are expected, and that no step ever leaves one."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from rnndsl.calculus.analysis import analyse
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from tests.agreement import layer_of
from tests.choice import some
from tests.features import FEATURES, SIZES, program
from tests.random_cells import RandomCell, cells
from tests.zoo_cells import ZOO, name_of

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.rnn"))
ODD = {"D": 3, "H": 5, "N": 2, "K": 4, "V": 7, "L": 3, "B": 6, "M": 3}
INF = math.inf


def boxes(text: str, sizes: dict | None = None) -> dict[str, tuple[float, float]]:
    """The box of each state; (-inf, inf) where there is none."""
    source = Source("cell.rnn", text)
    (plan,) = compiled(source).plans
    found = {v.name: (-INF, INF) for v in plan.cell.of_role("state")}
    for c in analyse(plan, source, sizes).components:
        found |= {s: (b.box.low, b.box.high) for s, b in c.bounds.items()}
    return found


@pytest.mark.parametrize("name", ZOO)
def test_published_cells(name: str):
    found = {s: b for s, b in boxes(ZOO[name].text).items() if b != (-INF, INF)}
    assert found == ZOO[name].boxes


EQUATIONS = {
    "tanh(a * h[t-1] + x)": (-1, 1),
    "tanh(h[t-1] + x) * 0.9": (-0.9, 0.9),
    "0.9 * h[t-1] + 0.1 * tanh(x)": (-1, 1),
    "0.5 * h[t-1] + tanh(x)": (-2, 2),
    "0.5 * h[t-1] + relu(x)": (0, INF),
    "0.5 * h[t-1] - 0.25 * h[t-2] + sigmoid(x)": None,
    "g * h[t-1] + (1 - g) * sin(x)": (-1, 1),
    "h[t-1] - g * h[t-1] + g * sigmoid(h[t-1] + x)": (0, 1),
    "h[t-1] + g * (tanh(x) - h[t-1])": (-1, 1),
    "g * h[t-1] + tanh(x)": (-INF, INF),
    "min(max(h[t-1] + x, -1), 1)": (-1, 1),
    "max(min(h[t-1] + x, 3), -2)": (-2, 3),
    "softmax(a * h[t-1] + x)": (0, 1),
    "normalize(h[t-1] + x)": (-1, 1),
    "-tanh(h[t-1] - x)": (-1, 1),
    "tanh(h[t-1] + x)^2": (0, 1),
    "tanh(h[t-1] + x)^3": (-1, 1),
    "tanh(h[t-1] + x)^2 - 1": (-1, 0),
    "where(x > 0, h[t-1], tanh(y))": (-1, 1),
    "where(h[t-1] + x, 2, -1)": (-1, 2),
    "heaviside(h[t-1] - x) + (h[t-1] > y)": (0, 2),
    "mod(h[t-1] + x, 3)": (0, 3),
    "mod(h[t-1] + x, p)": (0, INF),
    "abs(tanh(h[t-1] + x))": (0, 1),
    "exp(-abs(h[t-1] + x))": (0, 1),
    "1 / (1 + exp(h[t-1] + x))": (0, 1),
    "1 / (h[t-1]^2 + x)": (-INF, INF),
    "h[t-1] / 2 + x / x": None,
    "softplus(-abs(h[t-1]) + x)": (0, INF),
    "logsigmoid(h[t-1] + x)": (-INF, 0),
    "max(h[t-1], x)": (0, INF),
    "min(h[t-1], x)": (-INF, 0),
    "logaddexp(h[t-1], x)": (0, INF),
    "logaddexp(tanh(h[t-1] + x), -1)": None,
    "A @ tanh(h[t-1])": (-INF, INF),
    "sum(tanh(h[t-1] + x)) + a": (-INF, INF),
    "mean(sigmoid(h[t-1] + x)) + 0 * a": (0, 1),
    "cumsum(sigmoid(h[t-1] + x))": (-INF, INF),
    "concat(tanh(h[t-1] + x))": (-1, 1),
    "silu(h[t-1] + x)": (-0.279, INF),
    "tanh(x) * dt + h[t-1] * (1 - dt)": (-1, 1),
    "sqrt(sigmoid(h[t-1] + x))": (0, 1),
    "sigmoid(h[t-1])^p": None,
    "elu(h[t-1] + x)": (-1, INF),
    "m * h[t-1] + (1 - m) * tanh(x)": (-1, 1),
    "w * h[t-1] + (1 - w) * tanh(x)": (-INF, INF),
    "u * tanh(h[t-1] + x)": (-3, 3),
    "tanh(n + h[t-1])": (-1, 1),
    "n + tanh(h[t-1])": (-INF, INF),
    "tanh(h[t-1] + x) * (t > 3)": (-1, 1),
    "sin(t + x) + 0 * h[t-1]": (-1, 1),
    "clamp(h[t-1] + x, -0.5, 2)": (-0.5, 2),
    "hardtanh(h[t-1] + x) + erf(x)": (-2, 2),
    "leaky_relu(tanh(h[t-1] + x), 0.1)": (-1, 1),
    "mish(h[t-1] + x)": (-0.309, INF),
    "selu(h[t-1] + x)": (-1.0507009873554805 * 1.6732632423543772, INF),
    "hardsigmoid(h[t-1] + x)": (0, 1),
    "stop_gradient(tanh(h[t-1] + x))": (-1, 1),
    "rsqrt(1 + (h[t-1] + x)^2)": (0, 1),
    "cosh(tanh(h[t-1] + x)) + atan(x)": (1 - math.pi / 2, math.cosh(1) + math.pi / 2),
    "h[t-1] * h[t-1]": (0, 0),  # zero for ever
    "tanh(h[t-1] + x) * tanh(h[t-1] + x)": (0, 1),
    "tanh(h[t-1] + x) - tanh(h[t-1] + x)": (0, 0),
    "a * tanh(h[t-1] + x)": (-INF, INF),
    "p * 0 + g * tanh(h[t-1] + x)": (-1, 1),
}
FRAME = """cell C(H, dt = 0.5):
  input x, y: [H]
  state h: [H]
  param a: [H]
  param g: [H] in (0, 1)
  param p: [H] > 0.5
  param A: [H, H]
  noise m: [H] ~ bernoulli(0.5)
  noise w: [H] ~ bernoulli(a)
  noise u: [H] ~ uniform(-1, 3)
  noise n: [H] ~ normal(0, 1)
"""


@pytest.mark.parametrize("text", EQUATIONS)
def test_equations(text: str):
    program = f"{FRAME}  h[t] = {text}\n  output h\n"
    expected = EQUATIONS[text]
    (low, high) = boxes(program)["h"]
    if expected is not None:
        assert (low, high) == pytest.approx(expected)
    assert_stays(program, {"H": 5}, training=True)
    assert_stays(program, {"H": 5}, training=False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("z = sigmoid(x); q = 1 - z; h[t] = z * h[t-1] + q * tanh(y)", (-1, 1)),
        ("d = x; h[t] = 0.5 * h[t-1] + 0.5 * min(max(d, 0), 1)", (0, 1)),
        ("v = 2; repeat k in 1..3: ; v = v * 10 ; end ; h[t] = v * tanh(h[t-1] + x)", None),
        ("v = h[t-1]; repeat k in 1..3: ; v = v + tanh(x) ; end ; h[t] = v", (-INF, INF)),
    ],
)
def test_through_locals(body: str, expected: tuple | None):
    text = FRAME + "  " + body.replace(";", "\n  ") + "\n  output h\n"
    if expected is not None:
        assert boxes(text)["h"] == expected
    assert_stays(text, {"H": 5})


def test_what_a_box_assumes():
    text = "cell C(H, dt = 0.5, k = 2):\n  input x: [H]\n  state h: [H]\n  h[t] = (1 - dt) * h[t-1] + dt * tanh(x + k)\n  output h, y = k\n"
    source = Source("cell.rnn", text)
    (plan,) = compiled(source).plans
    (c,) = analyse(plan, source).components
    assert "dt" in c.bounds["h"].assumes


def test_initial_values_are_inside_or_promised():
    """A start that is known is in the box; one that is not (a param) leaves the box to whoever checks it."""
    text = "cell C(H):\n  input x: [H]\n  state h: [H] = {}\n  param h0: [H]\n  h[t] = 0.5 * h[t-1] + 0.5 * tanh(x)\n  output h, h0\n"
    assert boxes(text.format("3"))["h"] == (-1, 3)
    assert boxes(text.format("tanh(h0)"))["h"] == (-1, 1)
    assert boxes(text.format("h0"))["h"] == (-1, 1)
    assert boxes(text.format("-inf"))["h"] == (-INF, -INF)


# No box is ever left


def assert_stays(text: str, sizes: dict, seeds: int = 3, training: bool = False) -> None:
    """One step from inside the boxes, with wild params (within their constraints) and inputs, ends inside them."""
    known = boxes(text, sizes)
    claimed = {s: b for s, b in known.items() if b != (-INF, INF)}
    if not claimed:
        return
    layer = layer_of(text, name_of(text), sizes).train(training)
    for seed in range(seeds):
        g = torch.Generator().manual_seed(seed)
        scale = (1.0, 30.0, 1e3)[seed % 3]

        def wild(shape, dtype, scale=scale, g=g):
            value = torch.randn(shape, dtype=dtype, generator=g)
            return value * scale ** torch.rand(shape, dtype=torch.float64, generator=g)

        with torch.no_grad():
            for p in (*layer.parameters(), *layer.buffers()):
                p.copy_(wild(p.shape, p.dtype))
        batch = 64
        inputs = [wild((batch, *map(int, s)), torch.complex128 if c else torch.float64) for _, s, c in layer._inputs]
        fields = []
        for field, value in zip(layer.State._fields, layer.initial_state(batch), strict=True):
            if value.dtype == torch.int64:
                fields.append(torch.randint(0, 9, value.shape, generator=g))
                continue
            base = next((s for s in claimed if field == s or (field.startswith(f"{s}_") and field not in known)), None)
            fields.append(wild(value.shape, value.dtype) if base is None else inside(*claimed[base], value, wild, g))
        try:
            _, end = layer.step(*inputs, layer.State(*fields))
        except RuntimeError as e:  # torch.bernoulli of what is no probability
            assert "p_in" in str(e) or "prob" in str(e), e
            continue
        for i, s in enumerate(layer.State._fields):
            if s in claimed:
                low, high = claimed[s]
                new = end[i].detach()
                new = new[~torch.isnan(new)]
                slack = 1e-9 * (1 + max((abs(v) for v in (low, high) if math.isfinite(v)), default=0))
                assert new.numel() == 0 or (new.min() >= low - slack and new.max() <= high + slack), (s, (low, high), new.min(), new.max())


def inside(low: float, high: float, like: torch.Tensor, wild, g) -> torch.Tensor:
    """Values of a box, its ends among them."""
    if math.isinf(low) or math.isinf(high):
        value = wild(like.shape, like.dtype)
        return value.clamp(low, high)
    at = torch.rand(like.shape, generator=g, dtype=torch.float64) * 1.4 - 0.2
    return low + (high - low) * at.clamp(0, 1)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ZOO)
def test_published_cells_stay(name: str):
    assert_stays(ZOO[name].text, ODD)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_stay(path: Path):
    assert_stays(path.read_text(), ODD)


@pytest.mark.parametrize("name", FEATURES)
def test_features_stay(name: str):
    assert_stays(program(name), SIZES)


@settings(max_examples=some(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cells(noise=True))
def test_random_cells_stay(cell: RandomCell):
    assert_stays(cell.text, cell.sizes)


def test_every_function_is_bounded_rightly():
    """Each function of the language on intervals of many kinds holds what it gives of points inside."""
    import itertools

    from rnndsl.calculus.intervals import Interval, evaluate
    from rnndsl.checks.cell import SCALAR, Apply, Ref
    from rnndsl.functions import COMPARISONS, ENTRIES
    from rnndsl.tools.verify.numeric import values as numeric
    from tests import oracle

    functions = {**{op: numeric.ELEMENTWISE[op] for op in ("+", "-", "*", "/", "^", "neg", *COMPARISONS)}, **oracle.ELEMENTWISE}
    x, y, z = (Ref(n, "input", SCALAR) for n in "xyz")
    ends = [-INF, -700.0, -3.0, -1.0, -0.1, 0.0, 0.2, 1.0, 2.5, 800.0, INF]
    intervals = [Interval(a, b) for a, b in itertools.combinations_with_replacement(ends, 2) if math.isfinite(a) or math.isfinite(b) or a < b]
    few = intervals[::4]
    one, two = ([op for op, row in ENTRIES.items() if row.arity[0] == n] for n in (1, 2))

    def points(i: Interval) -> torch.Tensor:
        low, high = max(i.low, -1e4), min(i.high, 1e4)
        return torch.cat([torch.linspace(low, high, 7, dtype=torch.float64), torch.tensor([low, high], dtype=torch.float64)])

    def check(expr: Apply, at: dict, values: torch.Tensor) -> None:
        found = evaluate(expr, lambda r: at[r.name])
        values = values[~torch.isnan(values)]
        if values.numel():
            slack = 1e-12 * (1 + values[torch.isfinite(values)].abs().max().item() if torch.isfinite(values).any() else 0)
            assert found.low - slack <= values.min() and values.max() <= found.high + slack, (expr.op, at, found)

    for op, i in itertools.product(one, intervals):
        check(Apply(op, (x,), SCALAR), {"x": i}, functions[op](points(i)) if op != "re" else points(i))
    for op, i, j in itertools.product(two, intervals, few):
        a, b = (p.flatten() for p in torch.meshgrid(points(i), points(j), indexing="ij"))
        check(Apply(op, (x, y), SCALAR), {"x": i, "y": j}, functions[op](a, b))
    for i, j, k in itertools.product(few, few[::2], few[::3]):
        a, b, c = (p.flatten() for p in torch.meshgrid(points(i), points(j), points(k), indexing="ij"))
        check(Apply("where", (x, y, z), SCALAR), {"x": i, "y": j, "z": k}, torch.where(a != 0, b, c))
        check(Apply("clamp", (x, y, z), SCALAR), {"x": i, "y": j, "z": k}, torch.clamp(a, b, c))
        blend = Apply("+", (Apply("*", (x, y), SCALAR), Apply("*", (Apply("-", (z, x), SCALAR), z), SCALAR)), SCALAR)
        check(blend, {"x": i, "y": j, "z": k}, a * b + (c - a) * c)
