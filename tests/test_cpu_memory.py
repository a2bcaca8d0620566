"""How C++ kernels share matrices among threads, and what they leave in memory for the backward pass."""

from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import rnndsl
from rnndsl.runtime import build, recurrence
from rnndsl.runtime.cpu import invoke, loaded
from rnndsl.runtime.pages import new_empty

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")

SOURCES = {
    "LSTM": ROOT / "examples" / "lstm.rnn",
    "GRU": ROOT / "examples" / "gru.rnn",
    "GatedDeltaNet": ROOT / "examples" / "zoo" / "gated_delta_net.rnn",
    "GLA": ROOT / "examples" / "zoo" / "gla.rnn",
}
MATRICES = {"GatedDeltaNet": {"N": 2, "K": 6, "V": 17}, "GLA": {"N": 2, "K": 6, "V": 17, "M": 4}}


def layer_of(name: str, **sizes: int):
    torch.manual_seed(0)
    return getattr(rnndsl.load(SOURCES[name]), name)(backend="cpu", **sizes)


def results(layer, x, reset=None):
    """Outputs, last states, and gradients of the input and all params."""
    x = x.detach().requires_grad_()
    y, state = layer(x, reset=reset)
    found = [y, *(state if isinstance(state, tuple) else (state,))]
    gradients = torch.autograd.grad(sum(f.sin().sum() for f in found), [x, *layer.parameters()])
    return [f.detach() for f in found], gradients


@pytest.mark.parametrize(("name", "batch", "size"), [("LSTM", 1, 130), ("LSTM", 3, 300), ("GRU", 2, 129), ("GRU", 33, 260)])
def test_threads_that_share_matrices_change_no_bit(name, batch, size, monkeypatch):
    """One sequence, matrices beyond a core's cache for few rows and for many, widths that are no multiple of a panel: whoever computes an output, it is the same."""
    steps = 5
    layer, x = layer_of(name, D=5, H=size), torch.randn(batch, steps, 5)
    reset = torch.rand(batch, steps) < 0.1
    made = {}
    for count in (1, 2, 3):
        monkeypatch.setattr(invoke, "threads", lambda work, count=count: count)
        made[count] = results(layer, x, reset)
    for count in (2, 3):
        assert all(torch.equal(a, b) for a, b in zip(made[1][0], made[count][0], strict=True))
        for a, b in zip(made[1][1], made[count][1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * a.abs().max().item())


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_saved_products_are_those_that_are_computed_again(name, monkeypatch):
    layer, x = layer_of(name, D=5, H=40), torch.randn(3, 7, 5)
    reset = torch.rand(3, 7) < 0.2
    saving = results(layer, x, reset)
    kernels = [k for key, k in vars(recurrence._KNOWN).items() if f'"{name}"' in key or name in key]
    assert any(getattr(k, "saves", ()) for k in kernels)
    monkeypatch.setenv("RNNDSL_RECOMPUTE", "1")
    monkeypatch.setattr(recurrence, "_KNOWN", recurrence._Known())
    again = results(layer, x, reset)
    assert not any(k.saves for k in vars(recurrence._KNOWN).values())
    assert all(torch.equal(a, b) for one, other in zip(saving, again, strict=True) for a, b in zip(one, other, strict=True))


def test_saved_products_may_come_back_laid_out_otherwise():
    """As hooks of saved tensors may return them."""
    layer, x = layer_of("LSTM", D=5, H=40), torch.randn(3, 7, 5)
    right = results(layer, x)
    with saved_tensors_hooks(lambda t: t.detach(), lambda t: torch.stack([t, t], -1)[..., 0]):
        found = results(layer, x)
    assert all(torch.equal(a, b) for one, other in zip(found, right, strict=True) for a, b in zip(one, other, strict=True))


def test_exported_where_products_are_saved():
    """A program that was traced with gradients runs without them, too."""
    layer, x = layer_of("LSTM", D=5, H=40), torch.randn(3, 7, 5)
    program = torch.export.export(layer, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(program(x), layer(x))


def test_short_sums_are_computed_again():
    least = loaded._LEAST_TERMS
    assert loaded._saves(iter([2, 8, least, 9, least - 1])) == (8, 0)


def test_a_left_factor_that_is_the_gradient_of_a_stream_is_written_once():
    """In an LSTM both are gradients of what the gates are made of; in a GRU the reset gate lies between."""
    found = {}
    for name in ("LSTM", "GRU"):
        layer = layer_of(name, D=5, H=40)
        results(layer, torch.randn(2, 3, 5))
        (found[name],) = (loaded.load(type(layer), k, layer._sizes, layer._hypers, torch.float32).outers for k in layer._kernels["cpu"].kernels)
    assert [o.stream for o in found["LSTM"]] == [0]
    assert [o.stream for o in found["GRU"]] == [-1]


@pytest.mark.parametrize("name", list(MATRICES))
@pytest.mark.parametrize("schedule", ["sequential", "newton"])
def test_what_follows_is_computed_with_the_states(name, schedule):
    """Step by step by the kernel; by rounds, whose gradients it gives too, of the states."""
    layer = layer_of(name, D=5, schedule=schedule, **MATRICES[name])
    assert layer._kernels["cpu"].kernels["S"].follows
    x, reset = torch.randn(3, 7, 5), torch.rand(3, 7) < 0.2
    found = results(layer, x, reset)
    layer.backend, layer.schedule = "reference", "auto"
    for a, b in zip((*found[0], *found[1]), (r for group in results(layer, x, reset) for r in group), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)


def test_large_results_are_new_and_of_their_shape():
    like = torch.zeros(2, dtype=torch.float64)
    made = [new_empty(like, (n, 1 << 10)) for n in (1, 200, 3000)]
    assert [m.shape for m in made] == [(1, 1 << 10), (200, 1 << 10), (3000, 1 << 10)]
    assert all(m.dtype == torch.float64 and m.is_contiguous() for m in made)
    made[2].fill_(1.0)
    made[1].fill_(2.0)
    assert made[2].sum() == made[2].numel() and made[1].sum() == 2 * made[1].numel()
