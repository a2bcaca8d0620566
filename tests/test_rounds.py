"""Rounds of Newton's method in C++: what they compute of every row, and that nothing depends on how rows are shared among threads."""

from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.kernel.build import Refusal
from rnndsl.kernel.row_steps import row_steps
from rnndsl.kernel.verify import verify
from rnndsl.runtime.torch import newton
from tests.agreement import Case, assert_agrees, layer_of, random_inputs, sizes_of, some_resets
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent


def newton_in_cpp(name: str, **settings):
    return layer_of(ZOO[name].text, name, {**sizes_of(ZOO[name].text, name), **settings}, backend="cpu", schedule="newton")


@pytest.mark.parametrize("name", [*list(ZOO)[::4], "RHN", "FastWeights", "DeltaProduct", "HouseholderRNN"])
def test_steps_over_rows(name):
    """They are legal graphs, which carry nothing from row to row, and D of them is where it was."""
    (kernels,) = compiled(Source(name, ZOO[name].text)).kernels
    for r in kernels.recurrences:
        assert not isinstance(r.newton, Refusal)
        steps = row_steps(r.newton)
        for part in (steps.once, steps.look, steps.linear, steps.pull):
            verify(part.builder.nodes, name)
            assert not part.updates
            assert all(part.builder[n].shape == array.shape for array, n in part.outputs)
        assert [[e >= 0 for e in row] for row in steps.block] == [[e is not None for e in row] for row in r.newton.own]
        reads = {node.leaf.index for node in steps.pull.builder.nodes if node.op == "stream"}
        assert reads <= set(range(len(steps.pull.streams)))


def test_golden_rows(accept):
    """The C++ of the rounds of a GRU, as people would read it."""
    found = compiled(Source("gru.rnn", (ROOT / "examples" / "gru.rnn").read_text(encoding="utf-8"))).carried[0]["cpu"].texts["rows"]
    golden = ROOT / "tests" / "golden" / "kernels" / "gru.rows.cpp"
    if accept:
        golden.write_text(found, encoding="utf-8", newline="\n")
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["LSTM", "RHN", "ModReLU"])
def test_against_the_oracle(name):
    """Blocks of two, a loop with slopes along it, complex values."""
    assert_agrees(Case(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 11, backend="cpu", schedule="newton"))


LAGS = """
cell C(D, H):
  input x: [D]
  state h: [H]
  state s: [2, H]
  param W: [H, D]
  param R, Q: [H, H]
  a = sigmoid(W @ x + Q @ h[t-3])
  h[t] = a * tanh(R @ h[t-1]) + (1 - a) * h[t-2]
  s[t] = 0.5 * s[t-1] + outer(softmax(s[t-2] @ h[t]), h[t])
  output h, s
"""


def test_lags_resets_chunks_and_windows(monkeypatch):
    """Values of several steps ago, of two shapes, in chunks of few steps, of which solved ones leave."""
    monkeypatch.setattr(newton, "_VALUES", 250)
    assert_agrees(Case(LAGS, "C", {"D": 2, "H": 5}, 3, 29, backend="cpu", schedule="newton"))


def test_the_same_bits_on_any_number_of_threads():
    layer = newton_in_cpp("LSTM")
    (x,) = random_inputs(layer, 3, 2011)
    reset, found, before = some_resets(3, 2011), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            y, _ = layer(x, reset=reset)
            found.append([y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])])
            (report,) = layer.solve_report()
            assert report.schedule == "newton" and report.rounds > 3
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_as_many_rounds_as_in_operations_of_pytorch(scale):
    """And what does not converge is run step by step."""
    layer = newton_in_cpp("GRU")
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(scale)
    inputs, reset = random_inputs(layer, 2, 300), some_resets(2, 300)
    reset[:, 20:] = False
    found = []
    for backend in ("cpu", "torch"):
        layer.backend = backend
        y, _ = layer(*inputs, reset=reset)
        found.append((y, *torch.autograd.grad(y.square().sum(), [*inputs, *layer.parameters()]), layer.solve_report()[0].rounds))
    *values, rounds = zip(*found, strict=True)
    assert rounds[0] <= rounds[1]
    for a, b in values:
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.abs().max()))


def test_a_guess():
    layer = newton_in_cpp("GRU")
    inputs = random_inputs(layer, 2, 60)
    y, _, states = layer(*inputs, all_states=True)
    for guess in (states["h"], states["h"] * 1e30, states["h"] * float("nan"), states["h"].flip(1)):
        torch.testing.assert_close(layer(*inputs, guess={"h": guess})[0], y, rtol=1e-9, atol=1e-10)
    layer(*inputs, guess=states)
    assert layer.solve_report()[0].rounds == 1


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (1, 1), (30, 2)])
def test_small_calls(batch, steps):
    layer = newton_in_cpp("GRU")
    (x,) = random_inputs(layer, batch, steps)
    y, _ = layer(x)
    layer.schedule = "sequential"
    torch.testing.assert_close(y, layer(x)[0])


def test_what_is_not_finite_stays_where_it_is():
    """What stands before a step without a number is solved, and what comes behind it has none either."""
    layer = newton_in_cpp("GRU")
    (x,) = random_inputs(layer, 2, 40)
    x = x.detach().clone()
    x[1, 17, 2] = float("nan")
    y, _ = layer(x)
    layer.backend = "reference"
    torch.testing.assert_close(y, layer(x)[0], equal_nan=True, rtol=1e-9, atol=1e-10)


def test_derivatives_of_every_kind():
    layer = newton_in_cpp("GRU")
    (x,) = random_inputs(layer, 2, 4)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1]
    assert tangent.shape == layer(x)[0].shape
    compiled_layer = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled_layer(x)[0], layer(x)[0])


def test_where_it_is_taken(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND", raising=False)
    layer = rnndsl.load(ZOO["GRU"].text).GRU(3, 4, schedule="newton")
    x = torch.randn(2, 9, 3)
    (plan,) = layer.plan_for(x)
    assert (plan.backend, plan.schedule, plan.why) == ("cpu", "newton", "rounds over all steps at once, in C++")
    layer.schedule = "auto"
    assert layer.plan_for(x)[0].schedule == "sequential"
