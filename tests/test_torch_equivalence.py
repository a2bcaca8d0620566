"""The examples GRU, LSTM and Elman against torch.nn's own, with the same weights, in float64."""

from pathlib import Path

import pytest
import torch
from torch import nn

import rnndsl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOLERANCE = 1e-10
D, H = 5, 7


def elman(theirs: nn.RNN) -> dict[str, torch.Tensor]:
    return {"W": theirs.weight_ih_l0, "R": theirs.weight_hh_l0, "b_x": theirs.bias_ih_l0, "b_h": theirs.bias_hh_l0}


lstm = elman  # the gates are stacked in the same order, and the names are the same


def gru(theirs: nn.GRU) -> dict[str, torch.Tensor]:
    """Ours by name; b_r and b_z are the sums of their two biases."""
    W_r, W_z, W_n = theirs.weight_ih_l0.chunk(3)
    R_r, R_z, R_n = theirs.weight_hh_l0.chunk(3)
    b_r, b_z, b_n = theirs.bias_ih_l0.chunk(3)
    c_r, c_z, c_n = theirs.bias_hh_l0.chunk(3)
    return {"W_r": W_r, "W_z": W_z, "W_n": W_n, "R_r": R_r, "R_z": R_z, "R_n": R_n,
            "b_r": b_r + c_r, "b_z": b_z + c_z, "b_n": b_n, "c_n": c_n}  # fmt: skip


# name: (file, class, torch's class, its weights by our names, the name of our gradients in theirs)
PAIRS = {
    "Elman": ("elman.rnn", nn.RNN, elman),
    "LSTM": ("lstm.rnn", nn.LSTM, lstm),
    "GRU": ("gru.rnn", nn.GRU, gru),
}


def pair(name: str, sizes: tuple[int, int] = (D, H)):
    """Our layer and torch's, with the same weights."""
    file, theirs_class, weights = PAIRS[name]
    torch.manual_seed(3)
    theirs = theirs_class(*sizes, batch_first=True, dtype=torch.float64)
    ours = getattr(rnndsl.load(EXAMPLES / file), name)(*sizes, dtype=torch.float64)
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(1.5)
        for own, value in weights(theirs).items():
            getattr(ours, own).copy_(value)
    return ours, theirs


def as_tuple(state) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def close(a: torch.Tensor, b: torch.Tensor, what: str) -> None:
    assert a.shape == b.shape, what
    if a.numel():
        gap = float((a - b).detach().abs().max())
        assert gap < TOLERANCE * (1 + float(b.detach().abs().max())), f"{what}: {gap:g}"


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("batch", "steps"), [(3, 11), (1, 1), (2, 40)])
def test_is_the_same_layer(name, batch, steps):
    ours, theirs = pair(name)
    g = torch.Generator().manual_seed(batch * 100 + steps)
    x = torch.randn(batch, steps, D, dtype=torch.float64, generator=g)
    states = [torch.randn(batch, H, dtype=torch.float64, generator=g) for _ in ours.State._fields]
    weigh = [torch.randn(batch, steps, H, dtype=torch.float64, generator=g)]
    weigh += [torch.randn(batch, H, dtype=torch.float64, generator=g) for _ in states]

    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    s_ours = [s.clone().requires_grad_() for s in states]
    s_theirs = [s.clone().requires_grad_() for s in states]
    y, end = ours(x_ours, state=ours.State(*s_ours))
    given = tuple(s.unsqueeze(0) for s in s_theirs)
    y_theirs, end_theirs = theirs(x_theirs, given if len(given) > 1 else given[0])
    end_theirs = [e.squeeze(0) for e in as_tuple(end_theirs)]

    close(y, y_theirs, "output")
    for field, a, b in zip(ours.State._fields, end, end_theirs, strict=True):
        close(a, b, f"final state {field}")

    sum((v * w).sum() for v, w in zip([y, *end], weigh, strict=True)).backward()
    sum((v * w).sum() for v, w in zip([y_theirs, *end_theirs], weigh, strict=True)).backward()
    close(x_ours.grad, x_theirs.grad, "gradient of the input")
    for field, a, b in zip(ours.State._fields, s_ours, s_theirs, strict=True):
        close(a.grad, b.grad, f"gradient of the initial state {field}")
    for own, want in gradients(name, theirs).items():
        close(getattr(ours, own).grad, want, f"gradient of {own}")


def gradients(name: str, theirs: nn.Module) -> dict[str, torch.Tensor]:
    """Torch's gradients by our names; where ours is the sum of two of theirs, both have its gradient."""
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(p.grad)
        found = PAIRS[name][2](theirs)
        if name == "GRU":
            found |= {k: found[k] / 2 for k in ("b_r", "b_z")}
        return found


@pytest.mark.parametrize("name", PAIRS)
def test_starts_from_zero_as_torch_does(name):
    ours, theirs = pair(name)
    x = torch.randn(2, 6, D, dtype=torch.float64)
    close(ours(x)[0], theirs(x)[0], "output")


@pytest.mark.parametrize("name", ["Elman", "LSTM"])
def test_starts_with_weights_drawn_as_torch_does(name):
    file = PAIRS[name][0]
    layer = getattr(rnndsl.load(EXAMPLES / file), name)(64, 100)
    for param, value in layer.named_parameters():
        value = value.detach()
        assert float(value.abs().max()) <= 0.1, param
        assert abs(float(value.std()) - 0.1 / 3**0.5) < 0.01, param
