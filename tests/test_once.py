"""Noise that is drawn once a sequence: the same at every step, another for every sequence and call, on every backend."""

import pytest
import torch

import rnndsl
from tests.probe import needs_triton

BACKENDS = ["reference", "cpu", pytest.param("triton", marks=needs_triton)]
TEXT = """cell Once(D, H, p = 0.5):
  input x: [D]
  state h: [H]
  param a: [H]
  param c: [H]
  noise m: [H] ~ bernoulli(1 - p) once
  noise g: [] ~ normal(0, 1) once
  noise e: [H] ~ normal(c, 1)
  h[t] = m * tanh(a * h[t-1] + g) + 0 * sum(x)
  output h = h[t], m = m, g = g, e = e
"""


@pytest.fixture(params=BACKENDS)
def layer(request):
    torch.manual_seed(0)
    return rnndsl.load(TEXT).Once(D=2, H=16, dtype=torch.float64, backend=request.param)


def test_it_is_the_same_at_every_step_and_differs_elsewhere(layer):
    y, _ = layer(torch.zeros(4, 6, 2, dtype=torch.float64))
    assert torch.equal(y.m, y.m[:, :1].expand_as(y.m)) and torch.equal(y.g, y.g[:, :1].expand_as(y.g))
    assert set(y.m.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(y.m[0], y.m[1]) and len(y.g[:, 0].unique()) == 4, "each sequence has its own"
    assert not torch.equal(y.e[:, 0], y.e[:, 1]), "other noise is drawn at every step"
    torch.testing.assert_close(y.h[:, 1:], y.m[:, 1:] * torch.tanh(layer.a * y.h[:, :-1] + y.g[:, 1:, None]))


def test_calls_draw_anew_and_a_reset_does_not(layer):
    x = torch.zeros(3, 5, 2, dtype=torch.float64)
    reset = torch.zeros(3, 5, dtype=torch.bool)
    reset[:, 2] = True
    first, state = layer(x, reset=reset)
    assert torch.equal(first.m[:, :2], first.m[:, 2:4])
    second, _ = layer(x, state=state)
    assert not torch.equal(first.m, second.m)
    one, state = layer.step(x[:, 0], state)
    two, _ = layer.step(x[:, 0], state)
    assert not torch.equal(one.m, two.m)


def test_it_is_its_mean_in_evaluation(layer):
    y, _ = layer.eval()(torch.zeros(2, 3, 2, dtype=torch.float64))
    assert torch.equal(y.m, torch.full_like(y.m, 0.5)) and not y.g.any()


def test_sequences_and_batches_of_nothing(layer):
    for shape in ((2, 0, 2), (0, 3, 2)):
        y, _ = layer(torch.zeros(shape, dtype=torch.float64))
        assert y.m.shape == (*shape[:2], 16)


def test_backends_and_recomputing_see_one_draw():
    found = []
    for backend, recompute in (("reference", False), ("cpu", False), ("cpu", True)):
        torch.manual_seed(0)
        layer = rnndsl.load(TEXT).Once(D=2, H=16, dtype=torch.float64, backend=backend)
        layer.recompute = recompute
        x = torch.randn(2, 9, 2, dtype=torch.float64, requires_grad=True)
        y, _ = layer(x)
        gradients = torch.autograd.grad(y.h.sum() + y.e.sum(), [layer.a, layer.c])
        found.append((y.h.detach(), y.m.detach(), *gradients))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_the_word_stands_behind_a_noise_alone():
    def wrong(line: str) -> str:
        found = rnndsl.check(f"cell C(H):\n  input x: [H]\n  {line}\n  output y = x\n")
        return next((f"{d.code}: {d.title}" for d in found if d.severity == "error"), "")

    assert wrong("noise m: [H] ~ bernoulli(0.9) twice") == "noise: `twice` says nothing of a noise"
    assert wrong("param m: [H] ~ normal(1) once")
    once = "cell C(H):\n  input once: [H]\n  noise m: [H] ~ normal(0, 1)   once\n  output y = once + m\n"
    assert rnndsl.check(once) == [], "it is a name elsewhere"
    assert "~ normal(0, 1) once\n" in rnndsl.format(once)


def test_standalone_modules_draw_it_too():
    text = rnndsl.compile(TEXT, standalone=True)
    assert "lead[0], 1" in text


def test_it_is_exported():
    layer = rnndsl.load(TEXT).Once(D=2, H=4, backend="reference")
    program = torch.export.export(layer, (torch.zeros(2, 3, 2),))
    y, _ = program.module()(torch.zeros(2, 3, 2))
    assert torch.equal(y.m, y.m[:, :1].expand_as(y.m))
