"""The oracle itself, against cells written out by hand and against torch.nn."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnndsl.diagnostics import RnnError, Source
from rnndsl.syntax.parser import parse
from tests.choice import some
from tests.oracle import Oracle
from tests.random_cells import cells, damage, sample

GRU = """
cell GRU(D, H):
  input x: [D]
  state h: [H]
  param W_r, W_z, W_n: [H, D]
  param R_r, R_z, R_n: [H, H]
  param b_r, b_z, b_n, c_n: [H]
  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
  h[t] = (1 - z) * n + z * h[t-1]
  output h
"""

LSTM = """
cell LSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W: [4*H, D]
  param R: [4*H, H]
  param b: [4*H]
  i, f, g, o = split(W @ x + R @ h[t-1] + b, 4)
  c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
  h[t] = sigmoid(o) * tanh(c[t])
  output h
"""

LIF = """
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
cell LIF(D, H, theta = 1.0):
  input x: [D]
  state u: [H]
  param W: [H, D]
  param beta: [H] in (0, 1)
  u[t] = beta * u[t-1] + W @ x - theta * spike(u[t-1] - theta)
  output s = spike(u[t] - theta)
"""

SIZES = {"D": 3, "H": 5}


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gru_is_the_one_of_torch():
    p, (x,) = sample(GRU, SIZES)
    nn = torch.nn.GRU(3, 5, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        nn.weight_ih_l0.copy_(torch.cat([p["W_r"], p["W_z"], p["W_n"]]))
        nn.weight_hh_l0.copy_(torch.cat([p["R_r"], p["R_z"], p["R_n"]]))
        nn.bias_ih_l0.copy_(torch.cat([p["b_r"], p["b_z"], p["b_n"]]))
        nn.bias_hh_l0.copy_(torch.cat([torch.zeros(10), p["c_n"]]))
    h = torch.randn(2, 5, dtype=torch.float64)
    y, state = Oracle(GRU).run(SIZES, p, [x], {"h": h})
    want, last = nn(x, h[None])
    close(y["h"], want)
    close(state["h"], last[0])


def test_lstm_is_the_one_of_torch_with_a_reset():
    p, (x,) = sample(LSTM, SIZES)
    nn = torch.nn.LSTM(3, 5, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for theirs, mine in zip(nn.parameters(), (p["W"], p["R"], p["b"], torch.zeros(20)), strict=True):
            theirs.copy_(mine)
    reset = torch.zeros(2, 5, dtype=torch.bool)
    reset[0, 2] = True
    y, state = Oracle(LSTM).run(SIZES, p, [x], None, reset)
    want, (_, c) = nn(x)
    close(y["h"][1], want[1])
    close(y["h"][0], torch.cat([nn(x[:1, :2])[0], nn(x[:1, 2:])[0]], 1)[0])
    close(state["c"][1], c[0, 1])


def test_lif_with_its_surrogate_gradient():
    p, (x,) = sample(LIF, SIZES, steps=4)
    p = {n: v.requires_grad_() for n, v in p.items()}

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).double()

        @staticmethod
        def backward(ctx, grad):
            return grad / (1 + 25 * ctx.saved_tensors[0].abs()) ** 2

    u, want = torch.zeros(2, 5, dtype=torch.float64), []
    for t in range(4):
        u = p["beta"] * u + 2 * x[:, t] @ p["W"].T - 0.5 * Spike.apply(u - 0.5)
        want.append(Spike.apply(u - 0.5))
    got, state = Oracle(LIF).run({**SIZES, "theta": 0.5}, p, [2 * x])
    close(got["s"], torch.stack(want, 1))
    close(state["u"], u)
    weight = torch.randn(2, 4, 5, dtype=torch.float64)
    mine = torch.autograd.grad((got["s"] * weight).sum(), list(p.values()))
    theirs = torch.autograd.grad((torch.stack(want, 1) * weight).sum(), list(p.values()))
    for a, b in zip(mine, theirs, strict=True):
        close(a, b)
        assert a.abs().max() > 0


def test_matrix_state_by_loops():
    text = """
cell C(D, N, K, V):
  input x: [D]
  state S: [N; K, V] = 0.5
  param Wk: [N; K, D]
  param v: [V]
  param a: [N;]
  k = Wk @ x
  S[t] = a * S[t-1] + outer(k, v - k @ S[t-1])
  output y = merge(k @ S[t]), z = S[t] @ v
"""
    sizes = {"D": 3, "N": 2, "K": 4, "V": 5}
    p, (x,) = sample(text, sizes, steps=3)
    out, state = Oracle(text).run(sizes, p, [x])
    for b in range(2):
        for n in range(2):
            S = torch.full((4, 5), 0.5, dtype=torch.float64)
            for t in range(3):
                k = p["Wk"][n] @ x[b, t]
                S = p["a"][n] * S + torch.outer(k, p["v"] - k @ S)
                close(out["y"][b, t, 5 * n : 5 * n + 5], k @ S)
                close(out["z"][b, t, n], S @ p["v"])
            close(state["S"][b, n], S)


def test_lags_delays_step_number_and_resets():
    text = """
cell C(D):
  input x: []
  state h: [] = 10
  h[t] = h[t-1] + 100 * h[t-3] + x
  output y = h[t], a = h[t-1], b = h[t-2], c = x[t-1], d = t, e = x[t-2]
"""
    x = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(1, 6)
    reset = torch.tensor([[False, False, False, True, False, False]])
    out, _ = Oracle(text).run({"D": 1}, {}, [x], {"h": torch.tensor([7.0], dtype=torch.float64)}, reset)
    h0 = 7 + 1000 + 1
    h1 = h0 + 1000 + 2
    assert out["y"][0, 2].item() == h1 + 700 + 3  # h[t-3] is what the call began with
    assert out["a"].tolist() == [[7, h0, h1, 10, 1014, 1014 + 1005]]
    assert out["b"].tolist() == [[10, 7, h0, 10, 10, 1014]]
    assert out["c"].tolist() == [[0, 1, 2, 0, 4, 5]]
    assert out["d"].tolist() == [[0, 1, 2, 0, 1, 2]]
    assert out["e"].tolist() == [[0, 0, 1, 0, 0, 4]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4 ^ 2 ^ 0.5", 2 + 3 * 4 ** (2**0.5)),
        ("-x ^ 2", -9.0),
        ("x^-2", 1 / 9),
        ("mod(-x, 2)", 1.0),
        ("gelu(x)", 2.9963627),
        ("softplus(-40 * x)", 7.667648073722e-53),
        ("logaddexp(-inf, x)", 3.0),
        ("logaddexp(-inf, -inf)", -float("inf")),
        ("elu(-x)", -0.9502129316),
        ("where(x > 2, 1, 0) + heaviside(0) + sign(-x)", 0.0),
        ("sum(cumsum(u))", 4.5),
        ("norm(u)", (4 + 1 + 0.25) ** 0.5),
        ("sum(W @ W.T @ u)", -2.0),
        ("sum(x * W @ u)", 7.5),
        ("u @ W @ v", 0.0),
        ("sum(expm(0 * W) @ u) + sum(eye(3) @ u) - 2 * dot(ones(3), u)", 0.0),
        ("im((1 + 2j) * conj(3 + 1j))", 5.0),
    ],
)
def test_expressions(text, value):
    program = f"cell C(D):\n  input x: []\n  param u, v: [D]\n  param W: [D, D]\n  output y = {text}\n"
    u = torch.tensor([2.0, -1, 0.5], dtype=torch.float64)
    W = torch.tensor([[0.0, 1, 0], [0, 0, 2], [1, 0, 1]], dtype=torch.float64)
    v = torch.zeros(3, dtype=torch.float64)
    x = torch.full((1, 1), 3.0, dtype=torch.float64)
    out, _ = Oracle(program).run({"D": 3}, {"u": u, "v": v, "W": W}, [x])
    assert out["y"].item() == pytest.approx(value, rel=1e-7, abs=1e-12)


def language_cells() -> str:
    """Every example of the language page, or "" where the page is not at hand."""
    page = Path(__file__).parents[2] / "shared" / "language.md"
    if not page.exists():
        return ""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return "\n".join(b for b in blocks if b.lstrip().startswith(("cell", "def")))


@pytest.mark.skipif(not language_cells(), reason="the language page is not in this checkout")
def test_every_cell_of_the_language_page_runs():
    text = language_cells()
    names = [c.name.id for c in parse(Source("page", text)).cells]
    assert len(names) == 13
    for name in names:
        oracle = Oracle(text, name)
        sizes = {h.name.id: 2 + i for i, h in enumerate(oracle.cell.header) if h.default is None}
        p, inputs = sample(text, sizes, cell=name)
        p = {n: v.requires_grad_() for n, v in p.items()}
        out, state = oracle.run(sizes, p, inputs)
        assert all(v.isfinite().all() for v in (*out.values(), *state.values())), name
        torch.autograd.grad(sum(v.sum() for v in out.values()), list(p.values()))


@settings(max_examples=some(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(cells(noise=True), st.integers(0, 99))
def test_random_cells_run_to_finite_numbers(cell, seed):
    p, inputs = sample(cell.text, cell.sizes, seed=seed)
    out, state = Oracle(cell.text).run(cell.sizes, p, inputs)
    assert all(v.isfinite().all() for v in (*out.values(), *state.values()))


@settings(max_examples=some(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damage_parses_or_is_reported(data):
    text = data.draw(damage(LIF))
    try:
        parse(Source("damaged", text))
    except RnnError as e:
        assert e.diagnostics
