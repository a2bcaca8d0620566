"""The Triton backend: generated kernels against the reference in float64, on a GPU, or in Triton's interpreter where there is none."""

import ast
import copy
import importlib.util
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from torch import Tensor

import rnndsl
from rnndsl import compiler
from rnndsl.devices import USUAL, of_architecture
from rnndsl.diagnostics import Source
from rnndsl.kernel.choice import predict
from rnndsl.runtime import recurrence
from rnndsl.runtime.choice import backend_for
from rnndsl.runtime.key import Key, made_of
from rnndsl.runtime.triton import backend, channel_runnable, tuned
from rnndsl.runtime.triton.channels import Access, Channels
from rnndsl.tiles import PARALLEL, SEQUENTIAL, Tiles, candidates, choose
from rnndsl.tools.dump import dump
from tests.agreement import (
    ODD,
    Case,
    against_reference,
    assert_agrees,
    assert_close,
    difference,
    layer_of,
    random_inputs,
    sizes_of,
    some_resets,
)
from tests.forks import PYTHON
from tests.random_cells import RandomCell, cells
from tests.zoo_cells import ZOO

triton = pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SCHEDULES = {"sequential": {"channels": 8, "ahead": 2}, "newton": {"channels": 8, "lanes": 4, "lane_steps": 2}}

needs_numpy = pytest.mark.skipif(
    DEVICE == "cpu" and triton.__version__.startswith("3.6") and numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0",
    reason="the interpreter of triton 3.6 does not work with numpy 2.4",
)
pytestmark = needs_numpy


PROGRAMS = {p.stem: p for p in sorted((ROOT / "examples").glob("*.rnn"))}


def example(name: str) -> tuple[str, str]:
    text = (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")
    return text, re.search(r"^cell (\w+)", text, re.M)[1]


def kernels_of(text: str, cell: str):
    return getattr(rnndsl.load(text), cell)._kernels["triton"]


# Published cells that have kernels of channels: in no component does one channel read another. test_tiles.py holds it against what is compiled.
RUNNING = [name for name in ZOO if not {"dense", "left", "right", "head"} & set(" ".join(ZOO[name].components).split())]


def compare(text: str, cell: str, sizes: dict, batch: int, steps: int, schedule: str, tolerance: float = 1e-11, **more) -> None:
    tiles = more.pop("tiles", SCHEDULES[schedule])
    found = against_reference(text, cell, sizes, batch, steps, backend="triton", device=DEVICE, schedule=schedule, tiles=tiles, **more)
    assert_close(found, tolerance)


def triton_layer(text: str, cell: str, sizes: dict, schedule: str, dtype=torch.float32, **tiles: int):
    torch.manual_seed(0)
    layer = layer_of(text, cell, sizes, backend="triton", schedule=schedule, dtype=dtype).to(DEVICE)
    layer.tiles = SCHEDULES[schedule] | tiles
    return layer


# Numbers


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("name", "schedule"), [(n, s) for i, n in enumerate(RUNNING) for s in SCHEDULES if s == "newton" or i % 3 == 0])
def test_published_cells_agree_with_the_reference(name, schedule):
    """Outputs, states and all gradients, in float64, from a given state, with resets."""
    compare(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 11, schedule)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["para_gru", "para_lstm", "lif", "min_gru", "lru"])
def test_examples_agree_with_the_oracle(name, schedule, monkeypatch):
    """Also halves against the whole, and single steps."""
    monkeypatch.setattr(channel_runnable, "choose", lambda *args, **_: Tiles(PARALLEL if schedule == "newton" else SEQUENTIAL, **SCHEDULES[schedule]))
    text, cell = example(name)
    if DEVICE == "cpu":
        assert_agrees(Case(text, cell, sizes_of(text, cell), 2, 9, backend="triton"))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("batch", "steps", "width"), [(1, 1, 1), (3, 1, 3), (1, 17, 33), (2, 8, 4), (5, 3, 1)])
def test_odd_sizes(batch, steps, width, schedule):
    for name in ("para_lstm", "min_gru"):
        text, cell = example(name)
        compare(text, cell, {"D": 2, "H": width}, batch, steps, schedule)


SUMS = """
cell Channels(K, V):
  input x: [K]
  input v: [V + 2]
  state S: [K + 1, V + 2]
  S[t] = 0.9 * S[t-1] + outer(concat(ones(1), x), v)
  output S

cell Heads(N, K):
  input x: [K + 1]
  state h: [N + 1; K + 1]
  param R: [N + 1; K + 1, K + 1]
  h[t] = tanh(x + R @ h[t-1])
  output y = merge(h[t])
"""


@pytest.mark.parametrize("cell", ["Channels", "Heads"])
def test_sizes_that_are_sums(cell):
    assert_agrees(Case(SUMS, cell, {"K": 2, "V": 1, "N": 2}, 2, 2, backend="triton"), 1e-9)


@pytest.mark.parametrize("ahead", [1, 4, 8])
def test_steps_ahead_whatever_is_left_of_a_sequence(ahead):
    """Fewer steps than are read ahead, as many, and some left over."""
    text, cell = example("para_gru")
    for steps in (1, 2, 3, 4, 5, 7, 8, 9, 17):
        compare(text, cell, {"D": 2, "H": 3}, 2, steps, "sequential", tiles={"channels": 4, "ahead": ahead})


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("batch", "steps"), [(2, 0), (0, 3), (0, 0)])
def test_empty(batch, steps, schedule):
    text, cell = example("para_gru")
    compare(text, cell, {"D": 2, "H": 3}, batch, steps, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("where", [[0], [10], [1, 2, 3], [7, 8], list(range(11))])
def test_resets_at_awkward_places(where, schedule):
    """At the first and the last step, in a row, on both sides of a chunk's edge, everywhere; with two lags of a state carried."""
    text = "cell L(H):\n input x: [H]\n state h: [H] = 0.5\n param a, b: [H]\n h[t] = tanh(a * h[t-1] + b * h[t-2] + x)\n output h\n"
    found = []
    for which in ("triton", "reference"):
        torch.manual_seed(0)
        layer = layer_of(text, "L", {"H": 3}, backend=which).to(DEVICE)
        if which == "triton":
            layer.schedule, layer.tiles = schedule, SCHEDULES[schedule]
        (x,) = random_inputs(layer, 2, 11)
        reset = torch.zeros(2, 11, dtype=torch.bool)
        reset[1, where] = True
        y, state = layer(x.to(DEVICE), reset=reset.to(DEVICE))
        loss = (y * torch.linspace(0.5, 1.5, y.numel(), device=DEVICE).reshape(y.shape)).sum() + state[0].sum() + 2 * state[1].sum()
        found.append([y, *state, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    for got, want in zip(*found, strict=True):
        assert difference(got.cpu(), want.cpu()) < 1e-12


@pytest.mark.one_in(2)
@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("name", ["para_gru", "para_lstm"])
def test_newton_equals_sequential_at_every_scale(name, scale):
    """Also where plain Newton diverges; in a chunk of one channel's all steps."""
    text, cell = example(name)
    sizes = {"D": 3, "H": 4}
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        found = []
        for schedule, tiles in (("sequential", None), ("newton", {"channels": 4, "lanes": 8, "lane_steps": 4}), ("newton", {"channels": 8, "lanes": 4, "lane_steps": 1})):
            layer = triton_layer(text, cell, sizes, schedule, dtype)
            with torch.no_grad():
                for p in layer.parameters():
                    p.copy_(scale * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
            layer.tiles = tiles
            (x,) = random_inputs(layer, 1, 32, seed=2)
            found.append(layer(x.detach().to(DEVICE))[0])
            if tiles:
                (report,) = layer.solve_report()
                assert report.alone == 0 and 1 <= report.most_rounds <= tiles["lanes"] + 1 and report.residual < 1e-5
        assert difference(found[1], found[0]) < tolerance and difference(found[2], found[0]) < tolerance


CHAOTIC = """cell Logistic(H):
  "A chaotic map: its derivative is above 1 almost everywhere."
  input x: [H]
  state h: [H] = 0.3
  param a: [H] ~ constant(3.9)
  h[t] = a * h[t-1] * (1 - h[t-1]) + 0.001 * x
  output h
"""


def test_a_chaotic_cell():
    """Newton's method gives what the steps give one by one, wherever that is well defined: rounding grows twofold a step."""
    compare(CHAOTIC, "Logistic", {"H": 3}, 2, 20, "newton", tolerance=1e-7, reset=False)
    layer = triton_layer(CHAOTIC, "Logistic", {"H": 3}, "newton", torch.float64)
    layer(torch.randn(2, 40, 3, dtype=torch.float64, device=DEVICE))
    assert layer.solve_report()[0].most_rounds <= 5


EXPLODING = "cell E(H):\n input x: [H]\n state h: [H]\n param a: [H] ~ constant(30)\n h[t] = a * h[t-1] + h[t-1]^2 * x\n output h\n"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_not_finite_comes_out_where_the_steps_have_it(schedule):
    """A NaN in a stream, an overflow, a state that begins at -inf."""
    for text, cell, spoil in ((*example("para_gru"), True), (*example("min_gru"), True), (EXPLODING, "E", False)):
        sizes = sizes_of(text, cell)
        found = []
        for which in ("triton", "reference"):
            torch.manual_seed(0)
            layer = layer_of(text, cell, sizes, backend="reference", dtype=torch.float32).to(DEVICE)
            layer.backend = which
            if which == "triton":
                layer.schedule, layer.tiles = schedule, SCHEDULES[schedule]
            (x,) = random_inputs(layer, 2, 21)
            x = x.detach().clone()
            if spoil:
                x[1, 13, 0] = math.nan
            state = layer.initial_state(2)._replace(h=torch.full((2, layer._sizes["H"]), 0.5, device=DEVICE))
            found.append(layer(x.to(DEVICE), state=state)[0])
        got, want = found
        finite = torch.isfinite(want)
        assert not finite.all() and (torch.isfinite(got) == finite).all()
        if spoil:  # else whether an overflow ends in -inf or, as inf - inf, in NaN depends on whether a product and a sum are rounded once
            assert (torch.isnan(got) == torch.isnan(want)).all()
        torch.testing.assert_close(got[finite], want[finite], rtol=1e-4, atol=1e-5)


def test_a_chunk_that_is_not_finite_is_run_step_by_step():
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 5}, "newton")
    x = torch.randn(1, 24, 3, device=DEVICE)
    x[0, 9, 0] = math.nan
    layer(x)
    (report,) = layer.solve_report()
    assert report.alone == 2 and report.chunks == 3 and "2 of them step by step" in str(report)


MINUS_INFINITY = """cell S(D, H):
  input x: [D]
  state l: [H] = -inf
  state r: [H]
  param W_i, W_f, W_z: [H, D]
  param a, b: [H]
  i = W_i @ x + a * r[t-1]
  l[t] = logaddexp(logsigmoid(W_f @ x + b * r[t-1]) + l[t-1], i)
  g = exp(i - l[t])
  r[t] = (1 - g) * r[t-1] + g * tanh(W_z @ x)
  output r
"""


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_state_that_begins_at_minus_infinity(schedule):
    found = []
    for which in ("triton", "reference"):
        torch.manual_seed(0)
        layer = layer_of(MINUS_INFINITY, "S", {"D": 2, "H": 3}, backend=which).to(DEVICE)
        if which == "triton":
            layer.schedule, layer.tiles = schedule, SCHEDULES[schedule]
        (x,) = random_inputs(layer, 2, 19)
        y, _ = layer(x.to(DEVICE), reset=some_resets(2, 19).to(DEVICE))
        found.append([y, *torch.autograd.grad((y**2).sum(), [x, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        assert torch.isfinite(a).all() and difference(a.cpu(), b.cpu()) < 1e-10


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_gradients_that_overflow_on_the_way(schedule):
    """Products of derivatives pass what float32 holds, but the gradients that come in are zero there."""
    text = "cell G(H):\n input x: [H]\n state h: [H]\n param a: [H] ~ constant(1e10)\n h[t] = a * h[t-1] + x\n output h\n"
    layer = triton_layer(text, "G", {"H": 2}, schedule)
    x = torch.zeros(1, 16, 2, device=DEVICE, requires_grad=True)
    y, _ = layer(x)
    (grad,) = torch.autograd.grad(y[:, 2].sum(), x)
    assert grad[0, :3, 0].tolist() == pytest.approx([1e20, 1e10, 1.0]) and not grad[0, 3:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_half_precision_streams(dtype, schedule):
    """Streams stand in half precision; states and all arithmetic in float32: the numbers are those of the streams, rounded."""
    text, cell = example("para_gru")
    layer = triton_layer(text, cell, {"D": 4, "H": 6}, schedule)
    (x,) = random_inputs(layer, 2, 9)
    x = x.detach().to(DEVICE)
    calls: list[tuple] = []
    real = recurrence.OP

    class Halved:
        def __call__(self, key, streams, *rest):
            streams = [s.detach().to(dtype).requires_grad_() for s in streams]
            calls.append((key, streams, *rest))
            return real(key, streams, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "OP", Halved())
        y, _ = layer(x)
    key, streams, *rest = calls[0]
    (grad,) = torch.autograd.grad(y.sum(), streams)
    assert y.dtype == torch.float32 and grad.dtype == dtype
    wide = [s.detach().float().requires_grad_() for s in streams]
    want = real(key, wide, *rest)[0]
    torch.testing.assert_close(y, want, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(grad.float(), torch.autograd.grad(want.sum(), wide)[0], rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_inputs_that_are_not_contiguous(schedule):
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 5}, schedule, torch.float64)
    x = torch.randn(9, 2, 6, dtype=torch.float64, device=DEVICE).transpose(0, 1)[:, :, ::2]
    reset = some_resets(9, 2).to(DEVICE).t()
    got = layer(x, reset=reset)[0]
    layer.backend = "reference"
    torch.testing.assert_close(got, layer(x.contiguous(), reset=reset.contiguous())[0], rtol=1e-12, atol=1e-12)


@seed(20261126)
@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck), print_blob=True)
@given(cells())
def test_random_cells_agree_with_the_reference(cell: RandomCell):
    """Recurrences whose channels meet run in PyTorch; the others by kernels, at both schedules."""
    name = re.search(r"cell (\w+)", cell.text)[1]
    kernels = kernels_of(cell.text, name)
    if kernels.kernels and not kernels.refused:
        for schedule in SCHEDULES:
            compare(cell.text, name, cell.sizes, 2, 7, schedule, tolerance=1e-8)


SHAPES = [(1, 1), (1, 64), (1, 4096), (1, 131_072), (2, 100), (4, 1024), (8, 4096), (16, 512), (64, 64), (64, 4096), (256, 256), (1024, 8192)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", [*ZOO, *PROGRAMS])
def test_explain_says_what_runs(name, monkeypatch):
    """Family, structure, slots and, for twelve shapes, the schedule of every recurrence: the page and `plan_for` never differ."""
    monkeypatch.setattr(recurrence, "_KNOWN", recurrence._Known())  # kernels that know the device's model already
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    for module in ("triton", "torch"):
        monkeypatch.setattr(f"rnndsl.runtime.{module}.backend.device_of", lambda device: of_architecture(USUAL))
    text = ZOO[name].text if name in ZOO else PROGRAMS[name].read_text(encoding="utf-8")
    classes, compiled = rnndsl.load(text), compiler.compiled(Source(name, text))
    for made, explained in zip(compiled.kernels, rnndsl.explain(text).data["cells"], strict=True):
        cls = getattr(classes, made.plan.cell.name)
        sizes = {n: ODD.get(n, 16) for n in made.plan.cell.sizes}
        layer = cls(**sizes, device="meta")
        kind = {"device": torch.device("cuda"), "dtype": torch.float32, "products": torch.float32}
        pages = [c for c in explained["components"] if c["cost"]]
        for label, r, page in zip(cls._states, made.recurrences, pages, strict=True):
            assert (page["family"], page["structure"], page["slots"]) == cls._found[label], label
            for batch, steps in SHAPES:
                chosen = backend_for(layer, label, kind["device"], (batch, steps))
                said, plan = predict(r, batch, steps, sizes), chosen.plan_for(layer, label, batch, steps, kind)
                assert (said.schedule, said.channels) == (plan.schedule, plan.channels), (label, batch, steps)
                assert said.schedule in page["schedules"]


# The functions of which equations are made

FUNCTIONS = {
    "sigmoid": (torch.sigmoid, -85, 90), "tanh": (torch.tanh, -20, 20), "softplus": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), -80, 80),
    "logsigmoid": (lambda x: -torch.logaddexp(-x, torch.zeros_like(x)), -80, 80), "expm1": (torch.expm1, -30, 30), "relu": (torch.relu, -3, 3),
    "heaviside": (lambda x: (x > 0).to(x.dtype), -3, 3), "sign": (torch.sign, -3, 3), "sinh": (torch.sinh, -80, 80), "cosh": (torch.cosh, -80, 80),
    "atan": (torch.atan, -50, 50), "erf": (torch.erf, -4, 4), "log1p": (lambda x: torch.log1p(x * x), -9, 9),
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 4e-6), (torch.float64, 4e-15)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementary_functions(name, dtype, allowed):
    """Relative errors against float64 (float32: exp of a large argument loses digits to its argument's rounding), infinities, NaN."""
    truth, low, high = FUNCTIONS[name]
    body = {"expm1": "elu(x)", "heaviside": "heaviside(x)", "log1p": "log1p(x * x)"}.get(name, f"{name}(x)")
    text = f"cell Fn(H):\n input x: [H]\n state h: [H]\n h[t] = 0 * h[t-1] + {body}\n output h\n"
    layer = triton_layer(text, "Fn", {"H": 1}, "sequential", dtype)
    layer.tiles = {"channels": 1024}
    points = torch.cat([torch.linspace(low, high, 1500, dtype=torch.float64), torch.logspace(-30, 0, 300, dtype=torch.float64), -torch.logspace(-30, 0, 300, dtype=torch.float64)])
    points = points.to(dtype)
    got = layer(points.reshape(-1, 1, 1).to(DEVICE))[0].flatten().cpu().double()
    want = truth(points.double()) if name != "expm1" else torch.where(points > 0, points.double(), torch.expm1(points.double()))
    error = (got - want).abs() / want.abs().clamp(min=1e-37 if dtype == torch.float32 else 1e-300)
    assert error.max() < allowed, (points[error.argmax()], error.max())
    odd = torch.tensor([math.inf, -math.inf, math.nan], dtype=dtype)
    spoiled = layer(odd.reshape(-1, 1, 1).to(DEVICE))[0].flatten().cpu()
    if name not in ("heaviside", "sign"):
        torch.testing.assert_close(spoiled.double(), truth(odd.double()) if name != "expm1" else torch.tensor([math.inf, -1.0, math.nan]).double(), equal_nan=True)


def test_powers_and_joins():
    """Powers of negative numbers, and two arguments that are the same infinity."""
    text = """cell P(H):
  input a, b: [H]
  state h, k, m: [H]
  h[t] = 0 * h[t-1] + a^b
  k[t] = 0 * k[t-1] + logaddexp(a, b)
  m[t] = 0 * m[t-1] + max(a, b) - min(a, b)
  output h, k, m
"""
    layer = triton_layer(text, "P", {"H": 1}, "sequential", torch.float64)
    values = torch.tensor([-2.5, -2.0, -1.0, 0.0, 0.5, 2.0, 3.0, math.inf, -math.inf, math.nan], dtype=torch.float64)
    a, b = (v.reshape(1, -1, 1) for v in torch.cartesian_prod(values, values).unbind(1))
    state = layer.initial_state(1)
    got = layer(a.to(DEVICE), b.to(DEVICE), state=state)[0]
    layer.backend = "reference"
    want = layer(a.to(DEVICE), b.to(DEVICE), state=state)[0]
    finite = (torch.isfinite(a) & torch.isfinite(b)).flatten()
    torch.testing.assert_close(got.h.flatten()[finite], want.h.flatten()[finite], equal_nan=True)
    torch.testing.assert_close(got.k, want.k, equal_nan=True)
    torch.testing.assert_close(got.m, want.m, equal_nan=True)


# The op, and what torch does with it


def arguments(layer, batch: int = 2, steps: int = 3, reset: Tensor | None = None) -> tuple:
    """The arguments of the op that a call makes."""
    seen: list[tuple] = []
    real = recurrence.OP

    class Recorder:
        def __call__(self, *args):
            seen.append(args)
            return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "OP", Recorder())
        layer(*(x.to(DEVICE) for x in random_inputs(layer, batch, steps)), reset=reset)
    key, *groups, mask, count = seen[0]
    return key, *[[t.detach().clone().requires_grad_() for t in g] for g in groups], mask, count


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", ["para_gru", "lif"])
def test_opcheck(name, reset):
    layer = triton_layer(*example(name), {"D": 2, "H": 3}, "newton", torch.float64)
    torch.library.opcheck(torch.ops.rnndsl.recurrence.default, arguments(layer, reset=some_resets(2, 3).to(DEVICE) if reset else None))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_gradcheck(schedule):
    layer = triton_layer(*example("para_lstm"), {"D": 2, "H": 2}, schedule, torch.float64)
    first = [s.detach().clone().requires_grad_() for s in layer.initial_state(2)]
    (x,) = random_inputs(layer, 2, 3)
    assert torch.autograd.gradcheck(lambda x, *state: layer(x, state=state, reset=some_resets(2, 3).to(DEVICE))[0], (x.detach().to(DEVICE).requires_grad_(), *first), fast_mode=True)


def test_second_derivatives_are_right():
    layer = triton_layer(ZOO["QRNN"].text, "QRNN", {"D": 2, "H": 2}, "newton", torch.float64)
    (x,) = random_inputs(layer, 2, 3)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x.detach().to(DEVICE).requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("name", ["para_gru", "lif"])
def test_torch_compile_without_graph_breaks(name):
    layer = triton_layer(*example(name), {"D": 3, "H": 4}, "newton")
    (x,) = random_inputs(layer, 2, 5)
    x = x.detach().to(DEVICE)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    want, got = layer(x)[0], compiled(x)[0]
    torch.testing.assert_close(got, want)
    mine = torch.autograd.grad((compiled(x)[0] * want.detach()).sum(), list(layer.parameters()))
    theirs = torch.autograd.grad((want * want.detach()).sum(), list(layer.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_autocast_gives_half_precision_streams():
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 4}, "sequential")
    x = torch.randn(2, 5, 3, device=DEVICE)
    want = layer(x)[0]
    with torch.autocast(DEVICE, torch.bfloat16):
        got = layer(x)[0]
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=3e-2, atol=3e-2)
    got.sum().backward()
    assert layer.W_z.grad.dtype == torch.float32


def test_the_same_bits_in_every_run():
    layer = triton_layer(*example("para_lstm"), {"D": 3, "H": 9}, "newton")
    (x,) = random_inputs(layer, 3, 21)
    outcomes = []
    for _ in range(2):
        y, _ = layer(x.to(DEVICE))
        outcomes.append([y, *torch.autograd.grad((y**2).sum(), list(layer.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_recompute_keeps_only_the_inputs():
    """The numbers are the same; what autograd keeps is not."""
    layer = triton_layer(ZOO["QRNN"].text, "QRNN", {"D": 3, "H": 16}, "sequential")
    (x,) = random_inputs(layer, 2, 9)
    x = x.detach().to(DEVICE)
    kept = []
    grads = []
    for recompute in (False, True):
        layer.recompute = recompute
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):  # noqa: B023
            y, _ = layer(x)
        kept.append(sum(t.numel() for t in saved if isinstance(t, Tensor) and t.numel() >= 2 * 9 * 16))
        grads.append(torch.autograd.grad(y.sum(), list(layer.parameters())))
    assert kept[1] == 0 < kept[0]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_copies_and_pickles():
    layer = triton_layer(*example("lif"), {"D": 2, "H": 3}, "newton")
    layer.recompute = True
    x = torch.randn(1, 4, 2, device=DEVICE)
    want = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (other.backend, other.schedule, other.tiles, other.recompute) == ("triton", "newton", layer.tiles, True)
        assert torch.equal(other(x)[0], want)


# Single steps


@pytest.mark.parametrize("name", ["ParaGRU", "LIF", "LRU", "MinLSTM", "UnICORNN", "IndRNN"])
def test_a_step_is_one_launch(name, monkeypatch):
    """By channels where states and outputs have one shape, else by tiles, as LRU, whose output is a product of them; with the numbers of the reference."""
    text, sizes = ZOO[name].text, sizes_of(ZOO[name].text, name)
    layer = triton_layer(text, name, sizes, "sequential", torch.float64)
    inputs = [x[:, 0].detach().to(DEVICE) for x in random_inputs(layer, 3, 1)]
    state = [s + 0.1 for s in layer.initial_state(3)]
    monkeypatch.setattr(recurrence, "run", None)  # nothing but the kernel of one step may run
    with torch.no_grad():
        got, new = layer.step(*inputs, state)
        monkeypatch.undo()
        layer.backend = "reference"
        want, expected = layer.step(*inputs, state)
    for a, b in zip((*(got if isinstance(got, tuple) else (got,)), *new), (*(want if isinstance(want, tuple) else (want,)), *expected), strict=True):
        assert difference(a, b) < 1e-12


# Choices, and what is said of them


def channels(name: str, **sizes: int):
    """The kernels of an example's first recurrence."""
    layer = triton_layer(*example(name), sizes, "sequential")
    return recurrence.known(backend._key(made_of(layer), next(iter(layer._kernels["triton"].kernels)), torch.float32)).kernels


def test_few_channels_run_parallel_and_many_sequentially():
    kernels = channels("para_gru", D=4, H=256)
    device = of_architecture(USUAL)
    found = {(c, t): choose(kernels.costs, c, t, device) for c in (256, 2048, 65_536) for t in (64, 4096, 131_072)}
    assert found[256, 4096].schedule == found[256, 131_072].schedule == found[2048, 4096].schedule == PARALLEL
    assert found[65_536, 4096].schedule == found[65_536, 64].schedule == SEQUENTIAL
    assert found[256, 131_072].lanes >= found[2048, 4096].lanes
    assert choose(kernels.costs, 256, 131_072, device).channels < 8  # a device is filled by cutting channels finer
    assert choose(kernels.costs, 65_536, 4096, device, "newton").schedule == PARALLEL
    assert choose(kernels.costs, 256, 4096, device, "sequential").schedule == SEQUENTIAL


def test_wishes_are_granted():
    kernels = channels("para_gru", D=4, H=256)
    plain = choose(kernels.costs, 256, 4096, of_architecture(USUAL), "newton", {"lane_steps": 1})
    assert plain.schedule == PARALLEL and plain.lane_steps == 1
    assert choose(kernels.costs, 256, 4096, of_architecture(USUAL), "auto", {"channels": 16, "ahead": 7, "warps": 2}) .channels == 16
    halves = list(candidates(kernels.costs, 8192, 4096, itemsize=2))
    assert Tiles(SEQUENTIAL, 64, warps=1) in halves and Tiles(SEQUENTIAL, 64, warps=1) not in candidates(kernels.costs, 8192, 4096)
    assert min(t.channels for t in halves if t.schedule == PARALLEL) * 2 == 32, "a sector of memory"
    for t in candidates(kernels.costs, 2048, 4096):
        assert t.schedule == SEQUENTIAL or t.lanes * t.channels == 32 * t.warps  # an entry a thread


def test_plan_for_says_what_would_run(monkeypatch):
    text = "cell Two(D, H):\n input x: [D]\n state h, g: [H]\n param W: [H, D]\n param R: [H, H]\n param a: [H]\n h[t] = tanh(W @ x + a * h[t-1])\n g[t] = tanh(h[t] + R @ g[t-1])\n output g\n"
    layer = layer_of(text, "Two", {"D": 3, "H": 4}, dtype=torch.float32)
    (plan, other) = layer.plan_for(torch.randn(2, 9, 3))
    assert (plan.backend, plan.schedule, other.backend) == ("reference", "sequential", "reference")
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 4}, "newton")
    (plan,) = layer.plan_for(torch.randn(2, 9, 3, device=DEVICE))
    assert (plan.backend, plan.schedule, plan.channels) == ("triton", "newton", 8)
    assert "4 lanes of 2 steps" in str(plan) and "layer.tiles" in str(plan)
    layer.tiles, layer.schedule = None, "auto"
    (plan,) = layer.plan_for(torch.randn(2, 9, 3, device=DEVICE))
    assert "a model, not measured" in plan.why and "device table" in str(plan)
    with pytest.raises(ValueError, match=r"x: expected \[B, T, D=3\]"):
        layer.plan_for(torch.randn(2, 9, 4))


def test_measured_tiles_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path))
    tuned._table.cache_clear()
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 4}, "sequential")
    layer.tiles, layer.schedule = None, "auto"
    x = torch.randn(2, 9, 3, device=DEVICE)
    label = backend._label(Key.of(backend._key(made_of(layer), "h", torch.float32))) + ", float32 streams"
    wanted = Tiles(PARALLEL, 2, lanes=16, lane_steps=2, warps=1)
    tuned.store(backend.device_of(x.device).name, {tuned.entry(label, 8, 9, False): wanted})
    (plan,) = layer.plan_for(x)
    assert plan.forward == wanted and plan.backward != wanted and plan.why == "measured by rnndsl tune"
    with torch.autocast(DEVICE, torch.bfloat16):
        assert layer.plan_for(x)[0].forward != wanted, "other streams"
    assert tuned.find(backend.device_of(x.device).name, label, 7, 16, False) == wanted  # of one class
    assert tuned.find(backend.device_of(x.device).name, label, 9, 9, False) is None
    (tmp_path / "tuned.json").write_text("{not json")
    tuned._table.cache_clear()
    assert layer.plan_for(x)[0].forward != wanted
    tuned._table.cache_clear()


@pytest.mark.parametrize(
    ("tiles", "message"),
    [({"lane": 2}, "expected some of rows, channels, ahead"), ({"lanes": 3}, "a power of two"), ({"ahead": 0}, "a whole number"), ({"warps": True}, "power of two"),
     ([1], "numbers by name")],
)  # fmt: skip
def test_tiles_are_checked(tiles, message):
    layer = layer_of(*example("para_gru"), {"D": 3, "H": 4})
    with pytest.raises((TypeError, ValueError), match=message):
        layer.tiles = tiles


TOO_LONG = "cell Long(H):\n input x: [H]\n" + "".join(f" state s{i}: [H]\n" for i in range(9)) + "".join(f" s{i}[t] = tanh(s{(i + 1) % 9}[t-64] + x)\n" for i in range(9)) + " output s0\n"


def test_what_has_no_kernels_is_refused_by_name():
    with pytest.raises(ValueError, match="'triton' cannot run this cell: s0_.*: too large for a kernel: 576 past values of its states, at most 512; use 'auto'"):
        rnndsl.load(TOO_LONG).Long(H=4, backend="triton")


def test_auto_says_once_what_runs_in_pytorch():
    cls = rnndsl.load(TOO_LONG.replace("cell Long", "cell Once")).Once
    (label,) = cls._states
    with pytest.warns(UserWarning, match=f"Once: `{label}` runs in PyTorch's operations, since it has no Triton kernel: too large for a kernel"):
        assert not backend.BACKEND.chosen(cls, label)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not backend.BACKEND.chosen(cls, label)
    assert backend.BACKEND.chosen(rnndsl.load(example("para_gru")[0]).ParaGRU, "h")


@pytest.mark.skipif(DEVICE == "cuda", reason="there is a GPU")
def test_inputs_on_a_cpu_are_refused(monkeypatch):
    layer = triton_layer(*example("para_gru"), {"D": 3, "H": 4}, "sequential")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match="'triton' runs on a GPU, but the inputs are on cpu; use 'auto'"):
        layer(torch.randn(1, 2, 3))


def test_repeats_of_known_length_are_unrolled():
    text = "cell R(H):\n input x: [H]\n state h: [H]\n param a: [3; H]\n v = h[t-1]\n repeat k in 1..3:\n v = tanh(a[k] * v + x)\n end\n h[t] = v\n output h\n"
    for schedule in SCHEDULES:
        compare(text, "R", {"H": 3}, 2, 7, schedule)


def test_names_of_a_program_clash_with_none_of_the_kernels():
    """Whatever a user calls things, also what the templates make names of."""
    text = """cell N(D, BLOCK, tl = 0.5):
  input t0, h_first: [BLOCK]
  input x: [D]
  state h, h_next, n: [BLOCK]
  param lane, REAL, steps, h_low, A_0_0, p, live: [BLOCK]
  param W: [BLOCK, D]
  c = tanh(lane * h[t-1] + tl * W @ x + t0)
  here = sigmoid(REAL * n[t-1] + h_first) + p
  h[t] = c * h[t-1] + steps * h_next[t-1] + live
  h_next[t] = here * h_next[t-1] + A_0_0 * c + h_low
  n[t] = tanh(n[t-1] + h_next[t])
  output row = n[t] * h[t], channel = c
"""
    for schedule in SCHEDULES:
        compare(text, "N", {"D": 2, "BLOCK": 3}, 2, 7, schedule)


def test_gradients_are_put_together_in_a_fixed_order():
    """A broadcast entry gets the sum over the channels that read it, at its own place."""
    gradient = torch.zeros(2, 3, 4)
    channels = torch.arange(2.0 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    Access(0, (1,), 1, (2,), False).add(gradient, channels, 2)
    assert torch.equal(gradient[..., 1], channels.sum(2)[..., 0]) and torch.equal(gradient[..., 3], channels.sum(2)[..., 1])
    assert not gradient[..., 0].any() and not gradient[..., 2].any()


# The text


@pytest.mark.parametrize("name", ["para_gru", "lru", "lif"])
def test_generated_text(name, accept):
    """Golden files: whoever changes the templates sees what becomes of the kernels."""
    path = ROOT / "tests" / "golden" / "kernels" / f"{name}.triton.txt"
    text = compiler.compiled(Source(f"{name}.rnn", example(name)[0])).carried[0]["triton"].text
    if accept:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run pytest --accept after reading the difference"


@pytest.mark.parametrize("name", ["para_lstm", "lif", "lru", "min_gru", "zoo/gla", "zoo/rkn", "zoo/mlstm", "zoo/izhikevich"])
def test_a_dump_is_a_file_that_python_imports(name, tmp_path):
    """As it stands: imports of what it uses, and of nothing else, come first, names are defined before they are used, lines are not long."""
    path = tmp_path / "kernels.py"
    path.write_text(dump(compiler.compiled(Source(f"{name}.rnn", (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8"))), "triton"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("dumped", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert any(isinstance(v, Channels) for v in vars(module).values())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [isinstance(s, (ast.Import, ast.ImportFrom)) for s in tree.body]
    assert imports == sorted(imports, reverse=True)
    words = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    imported = {a.asname or a.name for s in tree.body if isinstance(s, ast.ImportFrom) for a in s.names}
    assert imported <= words
    assert [line for line in path.read_text(encoding="utf-8").split("\n") if len(line) > 118] == []


def test_every_statement_of_a_step_names_its_line():
    text = compiler.compiled(Source("para_gru.rnn", example("para_gru")[0])).carried[0]["triton"].text
    step = text.split("def h__step")[1].split("@triton.jit")[0]
    for line in (11, 12, 13, 14):
        assert f"# para_gru.rnn:{line}  " in step


def test_whatever_a_program_holds_kernels_are_what_its_equations_say():
    """Comments, docstrings and names do not get out of their places."""
    text = '# """ \'\'\' \\\ncell X(H):\n  """a \'\'\' b\n import os"""\n  input x: [H]  # \'\'\' + "\n  state h: [H]\n  h[t] = tanh(h[t-1] + x)  # import os \\\n  output h\n'
    layer = triton_layer(text, "X", {"H": 2}, "newton")
    x = torch.randn(1, 5, 2, device=DEVICE)
    got = layer(x)[0]
    layer.backend = "reference"
    torch.testing.assert_close(got, layer(x)[0])
    assert "import os" not in [line.strip() for line in layer._kernels["triton"].source.split("\n")]


def test_kernels_are_files_of_the_cache(tmp_path):
    """A folder with the file and its record, which `rnndsl cache` lists; another process finds it there."""
    code = f"""
import os, torch, rnndsl
layer = rnndsl.load({str(ROOT / "examples" / "para_gru.rnn")!r}).ParaGRU(D=2, H=3, backend="triton")
layer(torch.randn(1, 3, 2, device={DEVICE!r}))
"""
    environment = {**os.environ, "RNNDSL_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        subprocess.run([*PYTHON, "-c", code], env=environment, check=True, timeout=120)
    (folder,) = [p for p in tmp_path.iterdir() if p.name.startswith("ParaGRU-")]
    assert sorted(p.name for p in folder.iterdir() if p.suffix) == ["ParaGRU.py", "build.json"]
    assert "H_ = tl.constexpr(3)" in (folder / "ParaGRU.py").read_text()
    shown = subprocess.run([sys.executable, "-m", "rnndsl", "cache"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "ParaGRU" in shown and "triton" in shown


# A guess of the states


@pytest.mark.parametrize("name", ["para_gru", "para_lstm"])
def test_a_guess_saves_rounds_and_changes_nothing(name):
    """Each lane starts from the state that is guessed behind the one before it; what is no number, or far off, changes no result either."""
    text, cell = example(name)
    layer = triton_layer(text, cell, {"D": 2, "H": 3}, "newton", torch.float64)
    inputs, reset = [x.to(DEVICE) for x in random_inputs(layer, 2, 13)], some_resets(2, 13).to(DEVICE)
    y, state, states = layer(*inputs, reset=reset, all_states=True)
    without = [r.rounds for r in layer.solve_report()]
    for guess in (dict(list(states.items())[:1]), {n: s * 1e30 for n, s in states.items()}, {n: s / 0 for n, s in states.items()}):
        again, after = layer(*inputs, reset=reset, guess=guess)
        assert_close({"y": (again, y), **{n: (a, b) for n, a, b in zip(state._fields, after, state, strict=True)}}, 1e-11)
    layer(*inputs, reset=reset, guess=states)
    assert all(r.rounds <= 1 < w for r, w in zip(layer.solve_report(), without, strict=True))


@pytest.mark.parametrize("version", [None, "3.2.0", "3.5.1+git1234"])
def test_a_triton_that_is_missing_or_too_old(monkeypatch, version):
    """Said where kernels are asked for; `auto` does without, and says so."""
    if version is None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr("triton.__version__", version)
    monkeypatch.setattr(backend, "_warned", set())
    backend.lacking.cache_clear()
    try:
        cell = rnndsl.load("cell Old(D):\n  input x: [D]\n  state h: [D]\n  h[t] = tanh(h[t-1]) + x\n  output h\n").Old
        words = "triton is not installed: pip install triton" if version is None else f"they need Triton 3.6, which PyTorch 2.10 for CUDA brings, and {version} is installed"
        with pytest.raises(Exception, match=re.escape(words)):
            cell(D=2, backend="triton")(torch.ones(1, 2, 2))
        with pytest.warns(UserWarning, match=re.escape(words)):
            assert not backend._chosen(cell, "h")
    finally:
        backend.lacking.cache_clear()


def test_tiles_are_set_whole():
    layer = rnndsl.zoo.MinGRU(D=2, H=3)
    layer.tiles = {"warps": 2}
    with pytest.raises(TypeError):
        layer.tiles["warps"] = 4
    assert layer.tiles == {"warps": 2} and backend._key(made_of(layer), "h", torch.float32) != backend._key(made_of(rnndsl.zoo.MinGRU(D=2, H=3)), "h", torch.float32)


def test_the_oldest_triton_is_that_of_the_package():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f"triton>={'.'.join(map(str, backend.OLDEST))}" in text and backend.lacking() is None
