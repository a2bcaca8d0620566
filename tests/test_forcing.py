"""Generalised teacher forcing against its definition, step by step in plain calls of the plain cell; invariants against systems that are known."""

import math
import re

import pytest
import torch

import rnndsl
from rnndsl.nn.forcing import Forecaster, adapted, forced
from rnndsl.nn.invariants import jacobians, lyapunov_exponents, spectral_distance, state_space_divergence
from rnndsl.tasks import task
from tests.test_nn_models import printed

F64 = {"dtype": torch.float64, "backend": "reference"}
CELLS = {"PLRNN": {"H": 5}, "ShallowPLRNN": {"H": 5, "M": 7}, "DendriticPLRNN": {"H": 5, "B": 2}, "LSTM": {"H": 5}}


def close(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def forecaster(name: str = "ShallowPLRNN", **further) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(getattr(rnndsl.zoo, name), 3, CELLS[name], **F64, **further)


def plain_of(f: Forecaster, name: str):
    """The cell without forcing, with the same weights."""
    layer = getattr(rnndsl.zoo, name)(D=1, **CELLS[name], **F64)
    layer.load_state_dict({n: v for n, v in f.cell.state_dict().items() if not n.startswith("forcing")})
    return layer


VALUES = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("has_read_out", [True, False])
@pytest.mark.parametrize(("name", "alpha"), [("ShallowPLRNN", 0.3), ("ShallowPLRNN", 0.0), ("PLRNN", 0.3), ("DendriticPLRNN", 1.0), ("LSTM", 0.6)])
def test_forcing_is_what_the_paper_says(name, alpha, has_read_out):
    """z̃ = (1 - α) z + α ẑ before each step, of all that is observed; values and gradients; and the free run that goes on from there."""
    f = forecaster(name, alpha=alpha, has_read_out=has_read_out)
    layer = plain_of(f, name)
    if has_read_out:
        signal = VALUES @ torch.linalg.pinv(f.read_out.weight.detach()).mT
        alphas = torch.full((5,), alpha, dtype=torch.float64)
    else:
        signal, alphas = torch.nn.functional.pad(VALUES, (0, 2)), torch.tensor([alpha] * 3 + [0.0] * 2, dtype=torch.float64)
    see = f.read_out if has_read_out else lambda z: z[..., :3]
    field, zero = layer.State._fields[0], torch.zeros(2, 1, dtype=torch.float64)
    state = layer.initial_state(2)._replace(**{field: signal[:, 0]})
    want = []
    for t in range(9):
        z = getattr(state, field)
        if t < 6:
            state = state._replace(**{field: (1 - alphas) * z + alphas * signal[:, t]})
        _, state = layer.step(zero, state)
        want.append(see(getattr(state, field)))
    y = f(VALUES)
    close(y, torch.stack(want[:6], 1))
    close(f.generate(VALUES, 4), torch.stack(want[5:], 1).detach())
    torch.stack(want[:6], 1).square().sum().backward()
    read = None if f.read_out is None else f.read_out.weight.grad.clone()
    f.zero_grad()
    y.square().sum().backward()
    for n, p in layer.named_parameters():
        close(dict(f.cell.named_parameters())[n].grad, p.grad)
    if read is not None:
        close(f.read_out.weight.grad, read)


def test_a_task_trains_a_forecaster():
    t = task("lorenz")
    f = forecaster(alpha=0.2)
    optimizer = torch.optim.Adam(f.parameters(), 0.03)
    losses, (inputs, targets) = [], t.batch(8, 0, length=10)
    for _ in range(25):
        optimizer.zero_grad()
        loss = t.loss(f(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    again = forecaster()
    again.load_state_dict(f.state_dict())
    close(again(VALUES), f(VALUES))
    assert again.alpha == pytest.approx(0.2)


def test_adaptive_forcing():
    """Of steps that grow by 2 the gradient stays as it is at α = 1/2; α jumps up, and goes down slowly; what shrinks needs none."""
    grows = 2 * torch.eye(3, dtype=torch.float64).expand(2, 4, 3, 3)
    assert adapted(0.1, grows) == pytest.approx(0.5) and adapted(0.9, grows, 0.75) == pytest.approx(0.75 * 0.9 + 0.25 * 0.5)
    mixed = torch.stack([grows[0], torch.diag(torch.tensor([8.0, 0, 0], dtype=torch.float64)).expand(4, 3, 3)])
    mixed[1, ::2] *= 1 / 32  # 8 and 1/4 by turns: geometric mean √2, less than 2
    assert adapted(0.0, mixed) == pytest.approx(0.5) and adapted(0.0, mixed[1:]) == pytest.approx(1 - 1 / math.sqrt(2))
    assert adapted(0.0, grows / 8) == 0.0
    f = forecaster("LSTM", alpha=0.0, state="c")
    layer = plain_of(f, "LSTM")
    z = torch.nn.functional.pad(VALUES, (0, 2)).flatten(0, 1)
    at = jacobians(lambda s: layer.step(torch.zeros(len(s[0]), 1, dtype=torch.float64), s)[1], layer.initial_state(12)._replace(c=z))
    begin = 5 * layer.State._fields.index("c")
    assert f.adapt(VALUES) == pytest.approx(adapted(0.0, at[:, begin : begin + 5, begin : begin + 5].unflatten(0, (2, 6))))


def test_what_cannot_be_forced_is_said():
    for call, words in [
        (lambda: forced(rnndsl.zoo.PLRNN, "h"), "PLRNN has no state 'h'; it has z"),
        (lambda: forced(rnndsl.zoo.LRU, "h"), "LRU's h is no real vector"),
        (lambda: forced(rnndsl.load("cell T(H):\n  input x: [H]\n  state h: [H]\n  h[t] = h[t-1] + h[t-2]\n  output h\n"), "h"), "T reads h further back"),
        (lambda: forecaster(alpha=1.5), "alpha: expected from 0 to 1, got 1.5"),
        (lambda: Forecaster(rnndsl.zoo.PLRNN, 6, {"H": 5}), "width: expected from 1 to 5, the entries of z, got 6"),
        (lambda: forecaster()(VALUES[:, :, :2]), "values: expected [B, T, 3]"),
        (lambda: forecaster().generate(VALUES, 0), "steps: expected one at least"),
        (lambda: forced(rnndsl.load("cell T(H):\n  input x: [H]\n  state h: [H]\n  forced_h = h[t-1]\n  h[t] = forced_h + x\n  output h\n"), "h"), "so does the program"),
    ]:
        with pytest.raises(ValueError, match=re.escape(words)):
            call()


# Invariants


def test_jacobians_are_those_of_autograd():
    layer = rnndsl.zoo.LSTM(D=1, H=3, **F64)
    state = layer.State(*torch.randn(2, 4, 3, dtype=torch.float64))

    def step(s):
        return layer.step(torch.zeros(len(s[0]), 1, dtype=torch.float64), s)[1]

    found = jacobians(step, state)
    for b in range(4):
        want = torch.autograd.functional.jacobian(lambda v: torch.cat(step(layer.State(v[None, :3], v[None, 3:])), 1)[0], torch.cat([f[b] for f in state]))
        close(found[b], want)
    with pytest.raises(ValueError, match="expected fields of real numbers"):
        jacobians(step, layer.State(*(f.long() for f in state)))


LOGISTIC = "cell Logistic(H):\n  input x: [H]\n  state s: [H]\n  s[t] = 4 * s[t-1] * (1 - s[t-1])\n  output s\n"


def test_the_logistic_map_doubles():
    """Its exponent is ln 2."""
    f = Forecaster(rnndsl.load(LOGISTIC), 1, {"H": 1}, alpha=0.0, **F64)
    start = torch.rand(5, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(f.lyapunov_exponents(start, 2000)) == pytest.approx(math.log(2), abs=0.003)


def test_exponents_of_the_lorenz_system():
    """0.906, 0 and the rest of its trace, -(10 + 1 + 8/3); by its equations, in steps of Runge and Kutta as the task makes its data."""
    from rnndsl.tasks.values import _advanced

    x = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 0, 25], dtype=torch.float64)
    path = []
    for t in range(3500):
        x = _advanced(x)
        if t >= 500:
            path.append(x)
    states = torch.stack(path, 1)
    at = torch.func.vmap(torch.func.jacrev(lambda v: _advanced(v[None])[0]))(states.flatten(0, 1)).unflatten(0, (16, -1))
    found = lyapunov_exponents(at, dt=0.01)
    assert found.tolist() == pytest.approx([0.906, 0, -14.572], abs=0.03) and float(found.sum()) == pytest.approx(-(11 + 8 / 3), abs=0.001)
    close(lyapunov_exponents(at, 1, 0.01), found[:1])
    known = torch.diag(torch.tensor([0.5, 3.0], dtype=torch.float64)).expand(400, 2, 2)
    assert lyapunov_exponents(known).tolist() == pytest.approx([math.log(0.5), math.log(3)])  # directions that no step mixes stay in their order
    with pytest.raises(ValueError, match="expected .T, n, n."):
        lyapunov_exponents(at[0, 0])


def test_state_space_divergence():
    """By its definition, over NumPy's histograms; nothing of the same; more of what lies elsewhere."""
    numpy = pytest.importorskip("numpy")
    draw = torch.Generator().manual_seed(0)
    data, other = (torch.randn(3000, 2, dtype=torch.float64, generator=draw) for _ in range(2))
    around = 0.1 * data.std(0)
    sides = [(float(a), float(b)) for a, b in zip(data.min(0).values - around, data.max(0).values + around, strict=True)]
    p, q = (numpy.histogramdd(x.numpy(), 10, sides)[0].ravel() for x in (data, other * 1.5))
    assert 0 < 3000 - q.sum() < 1000
    p, q = (numpy.append(c, 3000 - c.sum()) + 1e-5 for c in (p, q))
    p, q = p / p.sum(), q / q.sum()
    assert state_space_divergence(data, other * 1.5, 10) == pytest.approx(float((p * numpy.log(p / q)).sum()))
    assert state_space_divergence(data, data) == 0
    assert state_space_divergence(data, other, 10) < state_space_divergence(data, other + 1, 10) < state_space_divergence(data, other + 100, 10) < math.inf
    assert state_space_divergence(data, other / 0) == math.inf
    for wrong in (torch.ones(9, 2), torch.full((9, 2), torch.nan)):
        with pytest.raises(ValueError, match="data: expected finite values that move"):
            state_space_divergence(wrong, data)
    with pytest.raises(ValueError, match="bins: 30 an axis of 6"):
        state_space_divergence(torch.randn(9, 6), torch.randn(9, 6))
    with pytest.raises(ValueError, match="expected data"):
        state_space_divergence(data, data[:, :1])


def test_spectral_distance():
    """By its definition with SciPy's filter; nothing of the same, shifted and scaled; all of other frequencies."""
    ndimage, numpy = pytest.importorskip("scipy.ndimage"), pytest.importorskip("numpy")
    draw = torch.Generator().manual_seed(0)
    data, other = (torch.randn(501, 2, dtype=torch.float64, generator=draw).cumsum(0) for _ in range(2))
    spectra = []
    for x in (data.numpy(), other.numpy()):
        power = ndimage.gaussian_filter1d(abs(numpy.fft.rfft(x - x.mean(0), axis=0)) ** 2, 3.0, axis=0, mode="mirror")
        spectra.append(power / power.sum(0))
    distance = numpy.sqrt(((numpy.sqrt(spectra[0]) - numpy.sqrt(spectra[1])) ** 2).sum(0) / 2)
    assert spectral_distance(data, other, 3.0) == pytest.approx(float(distance.mean()))
    assert spectral_distance(data, 3 * data + 7) == pytest.approx(0, abs=1e-7)
    time = torch.arange(2000).double().unsqueeze(1)
    slow, fast = torch.sin(time / 20), torch.sin(time / 2)
    assert spectral_distance(slow, torch.cos(time / 20)) < 0.01 and spectral_distance(slow, fast, 5.0) > 0.99
    assert spectral_distance(data, torch.zeros_like(data)) == 1 and spectral_distance(data, data / 0) == 1
    with pytest.raises(ValueError, match="generated: expected"):
        spectral_distance(data, other[1:])


def test_the_example(monkeypatch, capsys):
    shown = printed("lorenz.py", monkeypatch, capsys)
    losses = [float(found) for found in re.findall(r"loss (\S+)", shown)]
    assert len(losses) == 5 and losses[-1] < losses[0] and shown.count("D_stsp") == 2
