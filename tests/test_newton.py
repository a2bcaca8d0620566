"""Newton's method in PyTorch's operations: the same numbers as step by step, in as many rounds as the splitting of the Jacobian takes."""

import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves

import rnndsl
from rnndsl.runtime.backend import BACKENDS
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.torch import newton
from rnndsl.runtime.torch.scan import Scan
from tests.agreement import Case, assert_agrees, layer_of, random_inputs, sizes_of, some_resets
from tests.random_cells import cells
from tests.zoo_cells import ZOO

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.rnn").read_text()


WITHIN_A_CHANNEL = {"ParaGRU", "LIF", "LRU", "LinOSS", "RWKV4", "Izhikevich", "Cusum", "UnICORNN"}  # some of them


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name):
    """All cells in which channels meet inside a step; none is refused."""
    text = ZOO[name].text
    cls = getattr(rnndsl.load(text), name)
    assert not cls._kernels["torch"].refused
    assert cls._kernels["cpu"].rounds.keys() == cls._kernels["cpu"].kernels.keys()
    mixes = any(structure not in ("diagonal", "block") for _, structure, _ in cls._found.values())
    if mixes or name in WITHIN_A_CHANNEL:
        assert_agrees(Case(text, name, sizes_of(text, name), 2, 11, backend="torch"))


@seed(20261129)
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), print_blob=True)
@given(cells(), st.integers(1, 3), st.integers(1, 6))
def test_random_cells(cell, batch, steps):
    (name, cls), *_ = ((n, c) for n, c in vars(rnndsl.load(cell.text)).items() if isinstance(c, type) and issubclass(c, Layer) and c is not Layer)
    if BACKENDS["torch"].refusal(cls) is None:
        assert_agrees(Case(cell.text, name, cell.sizes, batch, steps, backend="torch"), tolerance=1e-8)


# The part of the Jacobian that stays in a channel


@pytest.mark.parametrize("name", ["Elman", "GRU", "LSTM", "PeepholeLSTM", "CIFG", "JANET", "SLSTM", "CoRNN", "M2RNN"])
def test_own_channel_is_the_diagonal(name):
    """Of cells with no product of what comes from a product."""
    text = ZOO[name].text
    layer = layer_of(text, name, sizes_of(text, name), backend="torch", schedule="newton")
    label, *_ = layer._kernels["torch"].kernels
    (solver, calls) = solver_of(layer, label)
    layer(*random_inputs(layer, 1, 3))
    call = calls[0]
    old = [torch.randn(1, 1, *f.shape[1:], dtype=torch.float64) for f in call.first]
    streams = [s[:, :1] for s in call.streams]
    given = solver.rounds.given(call._replace(streams=streams, steps=1))
    _, block = solver.rounds(True, old, given)
    for i, row in enumerate(block):
        for j, entry in enumerate(row):
            if old[i].shape != old[j].shape:
                assert entry is None
                continue

            def one(value, i=i, j=j):
                return solver.rounds(False, [value if n == j else o for n, o in enumerate(old)], given)[0][i]

            n = old[i].numel()
            whole = torch.func.jacrev(one)(old[j]).reshape(n, n).diagonal()
            found = torch.zeros(n, dtype=torch.float64) if entry is None else entry.expand_as(old[i]).flatten()
            torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-12)


def test_own_channel_along_a_loop():
    """Through one layer D is the diagonal; through several it is what these hand on in the channel, which is enough."""
    text = ZOO["RHN"].text
    one = layer_of(text, "RHN", {"D": 3, "H": 24, "L": 1}, backend="torch", schedule="newton")
    (solver, calls) = solver_of(one, "s")
    one(*random_inputs(one, 1, 1))
    (call,) = calls
    old = torch.randn(1, 1, 24, dtype=torch.float64)
    given = solver.rounds.given(call)
    _, ((found,),) = solver.rounds(True, [old], given)
    whole = torch.func.jacrev(lambda s: solver.rounds(False, [s], given)[0][0])(old)
    torch.testing.assert_close(found.flatten(), whole.reshape(24, 24).diagonal(), rtol=1e-10, atol=1e-12)
    torch.manual_seed(0)
    three = rnndsl.load(text).RHN(48, 48, 3, backend="torch", schedule="newton")
    with torch.no_grad():
        for p in three.parameters():
            p.uniform_(-(48**-0.5), 48**-0.5)
        three(torch.randn(1, 384, 48))
    (report,) = three.solve_report()
    assert report.alone == 0 and report.rounds <= 11


@pytest.mark.parametrize("rounds", ["1..1", "2..4", "1..L"])
def test_rounds_of_a_repeat(rounds):
    """With values that only the loop has, and some that both new values and slopes need."""
    text = f"""
cell C(H, L):
  input x: [H]
  state h, g: [H]
  param W, R: [H, H]
  param a: [H]
  z = sigmoid(a * h[t-1] + W @ x)
  v = z * h[t-1]
  w = g[t-1]
  repeat k in {rounds}:
    v = tanh(R @ v + w / k) * (1 - z) + where(k == 2, dot(a, x) * v, z)
    w = 0.5 * w + v * g[t-1]
  end
  h[t] = (1 - z) * v
  g[t] = 0.3 * w + R @ h[t]
  output h, w
"""
    assert_agrees(Case(text, "C", {"H": 4, "L": 3}, 2, 9, backend="torch"))


def solver_of(layer, label):
    """What solves a recurrence of a layer, and the calls that it gets from now on."""
    from rnndsl.runtime import recurrence
    from rnndsl.runtime.key import made_of
    from rnndsl.runtime.torch.backend import _key

    solver = recurrence.known(_key(made_of(layer), label, torch.float64))
    calls = []
    inner = type(solver).forward

    class Seen(type(solver)):
        def forward(self, call):
            calls.append(call)
            return inner(self, call)

    solver.__class__ = Seen
    return solver, calls


# Rounds


@pytest.mark.parametrize(("width", "scale", "steps", "most"), [(64, 1, 64, 10), (64, 1, 1024, 10), (64, 2, 256, 18), (64, 4, 256, 57), (256, 1, 256, 10)])
def test_rounds(width, scale, steps, most):
    torch.manual_seed(0)
    layer = rnndsl.load(example("gru")).GRU(width, width, backend="torch", schedule="newton")
    with torch.no_grad():
        for p in layer.parameters():
            p.uniform_(-scale / width**0.5, scale / width**0.5)
    x = torch.randn(1, steps, width)
    y, _ = layer(x)
    (report,) = layer.solve_report()
    assert report.schedule == "newton" and report.chunks == 1 and report.alone == 0 and report.rounds <= most
    layer.backend, layer.schedule = "reference", "auto"
    torch.testing.assert_close(y, layer(x)[0], rtol=0, atol=5e-6 * scale)


@pytest.mark.parametrize(("name", "scale"), [("GRU", 8.0), ("LayerNormLSTM", 1.0), ("LEM", 3.0)])
def test_what_does_not_converge_is_run_step_by_step(name, scale):
    """And after a few calls nothing else is tried for a while; gradients are those of the reference."""
    text = ZOO[name].text
    layer = layer_of(text, name, {"D": 3, "H": 24}, backend="torch", schedule="newton")
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(scale)
    reference = layer_of(text, name, {"D": 3, "H": 24})
    reference.load_state_dict(layer.state_dict())
    inputs = random_inputs(layer, 2, 150)
    wanted = reference(*inputs)[0]
    reports = []
    for _ in range(3):
        found = layer(*inputs)[0]
        reports += [r.schedule for r in layer.solve_report()]
        grads = [torch.autograd.grad(y.square().sum(), [*inputs, *of.parameters()], retain_graph=True) for y, of in ((found, layer), (wanted, reference))]
        size = max(g.abs().max() for g in grads[1])
        assert torch.allclose(found, wanted, rtol=0, atol=1e-6) and all((a - b).abs().max() <= 1e-5 * size for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(
    ("name", "scale", "chaotic"),
    [("GRU", 0.1, False), ("GRU", 5.0, False), ("LSTM", 0.1, False), ("LSTM", 5.0, False), ("Elman", None, False), ("Elman", 5.0, True), ("LayerNormLSTM", None, False), ("LayerNormLSTM", 2.0, True)],
)
def test_any_weights(name, scale, chaotic):
    """In float32 as near to steps one by one in float64 as it was asked to be, with gradients, where chaos does not make another sequence of each; and every step is
    what the one before makes of it. None: matrices of states are orthogonal."""
    text, sizes = ZOO[name].text, {"D": 3, "H": 24}
    layer = layer_of(text, name, sizes, backend="torch", schedule="newton", dtype=torch.float32)
    with torch.no_grad():
        for p in layer.parameters():
            if scale is not None:
                p.mul_(scale)
            elif p.dim() == 2 and p.shape[-1] == 24:
                torch.nn.init.orthogonal_(p)
    exact = layer_of(text, name, sizes)
    exact.load_state_dict(layer.state_dict())
    (x,) = random_inputs(layer, 2, 100)
    y, _, states = layer(x, all_states=True)
    found = torch.autograd.grad(y.square().mean(), [x, *layer.parameters()])
    precise = x.detach().double().requires_grad_()
    want, _ = exact(precise)
    gradients = torch.autograd.grad(want.square().mean(), [precise, *exact.parameters()])
    size = max(g.abs().max() for g in gradients)
    off = max((y - want).abs().max(), *((a - b).abs().max() / size for a, b in zip(found, gradients, strict=True)))
    assert off > 0.01 if chaotic else off < 5e-5
    layer.backend, layer.schedule = "reference", "auto"
    again, _ = layer(x[:, 1:].flatten(0, 1).unsqueeze(1), state=layer.State(*(s[:, :-1].flatten(0, 1) for s in states.values())))
    torch.testing.assert_close(again.squeeze(1), y[:, 1:].flatten(0, 1), rtol=0, atol=2e-5)


def test_chaos_obeys_its_equations():
    """Where any rounding grows, each step is still what the one before makes of it."""
    layer = layer_of(ZOO["Elman"].text, "Elman", {"D": 3, "H": 24}, backend="torch", schedule="newton")
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(5.0)
    (x,) = random_inputs(layer, 2, 150)
    h, _ = layer(x)
    layer.backend = "reference"
    again, _ = layer(x[:, 1:].flatten(0, 1).unsqueeze(1), state=layer.State(h[:, :-1].flatten(0, 1)))
    torch.testing.assert_close(again.squeeze(1), h[:, 1:].flatten(0, 1), rtol=0, atol=1e-12)


def test_an_orthogonal_rnn_is_soon_left_to_the_sweep():
    """In steady state what is tried in vain is less than a tenth of the work, a round being as much as 24 steps."""
    layer = layer_of(ZOO["Elman"].text, "Elman", {"D": 3, "H": 37}, backend="torch", schedule="newton")
    with torch.no_grad():
        torch.nn.init.orthogonal_(next(p for p in layer.parameters() if p.shape == (37, 37))).mul_(1.2)
    (x,) = random_inputs(layer, 2, 300)
    rounds = []
    with torch.no_grad():
        for _ in range(160):
            layer(x)
            rounds.append(layer.solve_report()[0].rounds)
    assert 0 < rounds[0] <= 40 and rounds[1:3] == [0, 0]
    assert 24 * sum(rounds[62:]) <= 0.1 * 300 * len(rounds[62:])


def test_gradients_that_do_not_converge_are_soon_left_to_the_sweep(monkeypatch):
    layer = layer_of(ZOO["GRU"].text, "GRU", {"D": 3, "H": 8}, backend="torch", schedule="newton")
    (x,) = random_inputs(layer, 2, 60)
    tried = []
    monkeypatch.setattr(newton, "_chunk_back", lambda *_: tried.append(1))
    wanted = None
    for _ in range(40):
        (found,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
        wanted = found if wanted is None else wanted
        torch.testing.assert_close(found, wanted)
    assert len(tried) == 5  # after each 2, 4, 8, 16, 32 calls without


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_a_gradient_does_not_depend_on_those_of_other_sequences(backend):
    """Backwards, what is close enough is asked of each sequence by its own gradient, however large others are."""
    layer = layer_of(ZOO["GRU"].text, "GRU", {"D": 3, "H": 4}, backend=backend, schedule="newton")
    x = random_inputs(layer, 2, 12)[0]
    y, _ = layer(x)
    (whole,) = torch.autograd.grad(1e40 * y[0, 0].sum() + y[1].sum(), x)
    (alone,) = torch.autograd.grad(layer(x[1:])[0].sum(), x)
    torch.testing.assert_close(whole[1], alone[1], rtol=1e-10, atol=1e-12)


def test_products_that_round_their_factors(monkeypatch):
    """As those on a GPU that was told TF32: a state that moves a little may move a product by more than what residuals may be, so these stop shrinking."""

    def rounded(x: torch.Tensor) -> torch.Tensor:
        return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, w, *b: linear(x + (rounded(x) - x).detach(), w + (rounded(w) - w).detach(), *b))
    monkeypatch.setattr(newton, "products_are_rounded", lambda like: True)
    torch.manual_seed(0)
    layer = rnndsl.load(example("gru")).GRU(8, 64, backend="torch", schedule="newton")
    x, found = torch.randn(1, 300, 8), []
    for backend in ("torch", "reference"):
        layer.backend = backend
        y, _ = layer(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
        if backend == "torch":
            (report,) = layer.solve_report()
            assert report.prefix is None and 2e-6 < report.residual < 5e-4
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=2e-3 * float(want.detach().abs().max()))


def test_values_that_no_step_changes():
    """A new value may be the same at every step, and stand still in a batch."""
    text = """
cell C(H):
  input x: [H]
  state h, g: [H]
  param a: [H]
  param R: [H, H]
  h[t] = where(1 > 2, h[t-1], 0.5)
  g[t] = tanh(R @ a) + 0 * floor(0.1 * sigmoid(g[t-1]))
  output y = x + h[t] + g[t]
"""
    assert_agrees(Case(text, "C", {"H": 3}, 2, 5, backend="torch"))


# Chunks, restarts, empty sequences


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_chunks(monkeypatch, batch, steps):
    """Of 8 steps each at most, where values of a chunk are few."""
    text = ZOO["LSTM"].text
    layers = [layer_of(text, "LSTM", {"D": 3, "H": 5}, backend=b) for b in ("torch", "reference")]
    layers[0].load_state_dict(layers[1].state_dict())
    monkeypatch.setattr(newton, "_VALUES", 2 * 5 * 8 * max(1, batch))
    (x,) = random_inputs(layers[0], batch, steps)
    reset = some_resets(batch, steps)
    results = []
    for layer in layers:
        y, state = layer(x, reset=reset)
        y2, state = layer(x, state=state)
        loss = y.square().sum() + (y2 * y2.detach().cos()).sum() + sum(s.sum() for s in state)
        results.append((y2, *state, *(torch.autograd.grad(loss, [x, *layer.parameters()]) if steps else ())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    if steps == 40 and batch:
        assert layers[0].solve_report()[0].chunks == 5


def test_derivatives_of_every_kind():
    layer = layer_of(ZOO["GRU"].text, "GRU", {"D": 2, "H": 3}, backend="torch")
    (x,) = random_inputs(layer, 2, 4)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)
    weights = dict(layer.named_parameters())
    each = torch.func.vmap(lambda x: torch.func.functional_call(layer, weights, (x.unsqueeze(0),))[0])(x)
    torch.testing.assert_close(each.squeeze(1), layer(x)[0])
    tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1]
    assert tangent.shape == (2, 4, 3)


def test_compiled():
    layer = layer_of(ZOO["GRU"].text, "GRU", {"D": 2, "H": 3}, backend="torch")
    (x,) = random_inputs(layer, 2, 9)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])


# Choice


def test_choice(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = rnndsl.load(example("gru")).GRU(3, 4, schedule="newton")
        x = torch.randn(2, 9, 3)
        (plan,) = layer.plan_for(x)
        assert (plan.backend, plan.schedule) == ("cpu", "newton")
        layer(x)
    layer.schedule = "sequential"
    layer.backend = "torch"
    layer(x)
    assert layer.plan_for(x)[0].schedule == "sequential" and layer.solve_report() == ()
    meta = rnndsl.load(example("gru")).GRU(3, 4, device="meta")
    for steps, backend in ((3, "reference"), (900, "torch")):
        empty = torch.empty(2, steps, 3, device="meta")
        assert meta.plan_for(empty)[0].backend == backend and meta(empty)[0].shape == (2, steps, 4)


# The scan


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 53])
def test_scan(steps, reverse):
    g = torch.Generator().manual_seed(steps)
    block = [[torch.randn(2, steps, 3, generator=g, dtype=torch.float64) if (i, j) != (0, 2) else None for j in range(3)] for i in range(3)]
    scan = Scan(block, steps, reverse)
    for _ in range(2):
        added = [torch.randn(2, steps, 3, generator=g, dtype=torch.float64) for _ in range(3)]
        found = scan(added)
        here = [torch.zeros(2, 3, dtype=torch.float64)] * 3
        for t in range(steps)[:: -1 if reverse else 1]:
            here = [a[:, t] + sum(e[:, t] * h for e, h in zip(row, here, strict=True) if e is not None) for row, a in zip(block, added, strict=True)]
            for f, h in zip(found, here, strict=True):
                torch.testing.assert_close(f[:, t], h)


EXACT = """
cell MaxPlus(H):
  input x: [H]
  state g: [H] = 0.5
  state k: [H] = -inf
  param w: [H]
  g[t] = max(max(g[t-2] - 0.3, k[t-1] + w), x)
  k[t] = max(g[t-1] - 1, k[t-1] - abs(x))
  output y = g[t] + k[t]

cell Log(H):
  input x: [H]
  state g: [H] = -1
  param w: [H]
  g[t] = logaddexp(g[t-1] - abs(w), x)
  output g
"""


@pytest.mark.parametrize("steps", [1, 101, 700])
@pytest.mark.parametrize("name", ["MaxPlus", "Log"])
def test_exact_scans_need_one_round(name, steps):
    """What a semiring's scan solves is right before the first round, whatever is guessed."""
    torch.manual_seed(steps)
    cell = getattr(rnndsl.load(EXACT), name)
    plain, layer = cell(3, backend="reference", dtype=torch.float64), cell(3, backend="torch", schedule="newton", dtype=torch.float64)
    layer.load_state_dict(plain.state_dict())
    x, reset = torch.randn(2, steps, 3, dtype=torch.float64, requires_grad=True), torch.rand(2, steps) < 0.1
    with torch.no_grad():
        _, begun = plain(torch.randn(2, 5, 3, dtype=torch.float64))
    for more in ({}, {"reset": reset}, {"state": begun}):
        found = []
        for one in (plain, layer):
            y, state = one(x, **more)
            weights = torch.arange(y.numel(), dtype=torch.float64).cos().view_as(y)
            found.append([y, *tree_leaves(state), *torch.autograd.grad((y * weights).sum(), [x, *one.parameters()])])
        torch.testing.assert_close(*found)
        (report,) = layer.solve_report()
        assert (report.schedule, report.rounds, report.prefix) == ("newton", 1, None)
    y, _ = layer(x, guess={"g": torch.full_like(x, 1e30)})
    torch.testing.assert_close(y, plain(x)[0])
    assert layer.solve_report()[0].rounds == 1


# A guess of the states


def guessed(name: str, steps: int = 60) -> tuple:
    """A layer that starts from guesses, its inputs, resets, and what it gives without one: outputs, state, states of all steps."""
    sizes = sizes_of(ZOO[name].text, name)
    layer = layer_of(ZOO[name].text, name, sizes, backend="torch", schedule="newton")
    inputs, reset = random_inputs(layer, 2, steps), some_resets(2, steps)
    return layer, inputs, reset, layer(*inputs, reset=reset, all_states=True)


@pytest.mark.parametrize("name", ["GRU", "LSTM", "LRU", "M2RNN", "SLSTM", "TRNN", "LMU"])
def test_no_guess_changes_the_result(name):
    layer, inputs, reset, (y, state, states) = guessed(name)
    assert all(s.shape[:2] == (2, 60) for s in states.values()) and set(states) <= set(state._fields)
    mad = [1e30, -1e9, float("nan"), float("inf")]
    guesses = [{n: torch.full_like(s, value) for n, s in states.items()} for value in mad]
    guesses += [{n: s.flip(1) for n, s in states.items()}, dict(list(states.items())[:1]), {}]
    for guess in guesses:
        again, after = layer(*inputs, reset=reset, guess=guess)
        for a, b in zip((again, *after), (y, *state), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_a_mad_guess_where_haste_is_asked_for():
    layer, inputs, reset, (y, _, states) = guessed("GRU")
    layer.schedule = "auto"
    torch.testing.assert_close(layer(*inputs, reset=reset, guess={"h": states["h"] * 1e9})[0], y)


@pytest.mark.parametrize("name", ["GRU", "LSTM", "M2RNN"])
def test_a_good_guess_saves_rounds(name):
    layer, inputs, reset, (_, state, states) = guessed(name)
    (without,) = layer.solve_report()
    layer(*inputs, reset=reset, guess=states)
    assert layer.solve_report()[0].rounds == 1
    moved = {n: torch.cat([s[:, 1:], s[:, -1:]], 1) for n, s in states.items()}
    later = [torch.cat([x[:, 1:], torch.randn_like(x[:, :1])], 1) for x in inputs]  # a window moved by a step
    first = type(state)(*(states[n][:, 0] for n in state._fields))
    layer(*later, state=first, reset=reset.roll(-1, 1), guess=moved)
    assert layer.solve_report()[0].rounds <= 3 < without.rounds


def test_a_guess_helps_where_nothing_else_converges():
    """What is known of calls without a guess says nothing of those with one."""
    layer = layer_of(ZOO["Elman"].text, "Elman", {"D": 3, "H": 16}, backend="torch", schedule="newton")
    with torch.no_grad():
        torch.nn.init.orthogonal_(next(p for p in layer.parameters() if p.shape == (16, 16))).mul_(1.2)
    (x,) = random_inputs(layer, 2, 200)
    *_, states = layer(x, all_states=True)
    (report,) = layer.solve_report()
    assert report.alone == 1 and report.prefix < 100 and str(report).endswith(f"from step {report.prefix} on step by step")
    layer(x, guess=states)
    assert layer.solve_report()[0].rounds == 1
    layer(x)
    assert layer.solve_report()[0].schedule == "sequential"


def test_a_guess_has_no_part_in_derivatives():
    layer, (x,), reset, (*_, states) = guessed("LSTM", 9)
    guess = {n: s.detach().requires_grad_() for n, s in states.items()}
    y, _ = layer(x, reset=reset, guess=guess)
    grads = torch.autograd.grad(y.sum(), [x, *guess.values()], allow_unused=True, retain_graph=True)
    assert grads[0] is not None and grads[1:] == (None, None)
    assert torch.autograd.gradcheck(lambda x: layer(x, guess=guess)[0], x)
    tangent = torch.func.jvp(lambda x: layer(x, guess=guess)[0], (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent, torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1])
    layer.recompute = True
    again = torch.autograd.grad(layer(x, reset=reset, guess=guess)[0].sum(), x)
    torch.testing.assert_close(again[0], grads[0])


def test_guesses_under_transformations():
    layer, (x,), _, _ = guessed("GRU", 9)
    y, _, states = layer(x, all_states=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    _, _, found = compiled(x, guess=states, all_states=True)
    torch.testing.assert_close(found["h"], states["h"])
    weights = dict(layer.named_parameters())

    def one(x, guess):
        return torch.func.functional_call(layer, weights, (x.unsqueeze(0),), {"guess": {"h": guess.unsqueeze(0)}})[0].squeeze(0)

    torch.testing.assert_close(torch.func.vmap(one)(x, states["h"]), y)
    torch.testing.assert_close(torch.func.vmap(one, (0, None))(x, states["h"][0]), y)
    torch.testing.assert_close(torch.func.vmap(one, (None, 0))(x[0], states["h"]), y[:1].expand_as(y))
    of_weights = torch.func.vmap(lambda w: torch.func.functional_call(layer, {**weights, "b_z": w}, (x,), {"guess": states})[0])
    torch.testing.assert_close(of_weights(layer.b_z.expand(3, -1)), y.expand(3, *y.shape))
    from rnndsl.runtime import recurrence

    arguments = []
    with pytest.MonkeyPatch.context() as patch:
        real = recurrence.OP
        patch.setattr(recurrence, "OP", lambda *given: arguments.append(given) or real(*given))
        layer(x, guess=states)
    key, *groups, reset, steps, guess = arguments[0]
    groups = [[t.detach().clone().requires_grad_() for t in g] for g in groups]
    torch.library.opcheck(torch.ops.rnndsl.recurrence.default, (key, *groups, reset, steps, [g.detach() for g in guess]))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_other_backends_need_no_guess(backend):
    layer, inputs, reset, (y, _, states) = guessed("LSTM")
    layer.backend = backend
    found, _, again = layer(*inputs, reset=reset, guess={n: s * 1e30 for n, s in states.items()}, all_states=True)
    for a, b in zip((found, *again.values()), (y, *states.values()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("guess", "error", "words"),
    [
        (torch.zeros(2, 9, 4), TypeError, "guess: expected tensors by the names of states (h, c), got Tensor"),
        ({"i": torch.zeros(2, 9, 4)}, ValueError, "guess: 'i' is no state of a recurrence; these are: h, c"),
        ({"h": torch.zeros(2, 8, 4)}, ValueError, "guess['h']: expected [B=2, T=9, H=4], got [2, 8, 4]"),
        ({"h": torch.zeros(2, 9, 4, dtype=torch.long)}, TypeError, "guess['h']: expected real floating-point values, got torch.int64"),
        ({"h": torch.zeros(2, 9, 4, dtype=torch.cfloat)}, TypeError, "guess['h']: expected real floating-point values, got torch.complex64"),
        ({"h": [0.0]}, TypeError, "guess['h']: expected a tensor, got list"),
    ],
)
def test_wrong_guesses(guess, error, words):
    layer = rnndsl.load(example("lstm")).LSTM(3, 4)
    with pytest.raises(error) as e:
        layer(torch.zeros(2, 9, 3), guess=guess)
    assert str(e.value) == words
