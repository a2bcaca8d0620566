"""Affine matrix states by chunks of steps: the same numbers as step by step."""

import re
import warnings

import pytest
import torch

import rnndsl
from rnndsl.runtime.torch import chunked, halves, quotients
from tests.agreement import Case, against_reference, assert_agrees, assert_close, layer_of, random_inputs, sizes_of
from tests.random_affine import FINE, judge
from tests.random_affine import program as program_of
from tests.zoo_cells import ZOO

CHUNKED = {
    "DeltaNet", "DeltaProduct", "GLA", "GatedDeltaNet", "HGRN2", "KDA", "LinearAttention", "MLSTM", "Mamba2", "MesaNet", "RWKV6", "RWKV7", "RetNet",
    "Titans",
}  # fmt: skip
REFUSED = {  # of those with a matrix state
    "FastWeights": "not all of its states are matrices",
    "Longhorn": "columns of a state decay apart from one another, as well as rows",
    "M2RNN": "its equations are not affine in its states",
    "Mamba": "columns of a state decay apart from one another, as well as rows",
    "Mamba3": "its states are complex",
    "ManyLMU": "a state passes through a matrix that is not made of vectors",
    "RLS": "its equations are not affine in its states",
}


def of(text: str, name: str):
    """What a module says of the normal forms of a cell."""
    return getattr(rnndsl.load(text), name)._kernels["torch"]


def test_which_cells_have_the_form():
    matrices = [name for name, cell in ZOO.items() if re.search(r"state \w+(, \w+)*: (complex )?\[[^\]]*,[^\]]*\]", cell.text)]
    assert {*CHUNKED, *REFUSED} <= {*matrices}
    found = {name: of(ZOO[name].text, name) for name in matrices}
    assert {name for name, kernels in found.items() if kernels.chunks} == CHUNKED
    for name, reason in REFUSED.items():
        assert reason in found[name].unchunked.values(), name
    whole = {name for name, kernels in found.items() if any(c.whole for c in kernels.chunks.values())}
    assert whole == {"MesaNet"}  # what reads the states is fused, but for rounds of a loop


@pytest.mark.filterwarnings("ignore:schedule")
@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_zoo(name):
    text = ZOO[name].text
    assert_agrees(Case(text, name, sizes_of(text, name), 2, 11, backend="torch", schedule="chunked"))
    layer = layer_of(text, name, sizes_of(text, name), schedule="chunked", backend="torch")
    layer(*random_inputs(layer, 2, 11))
    assert "chunked" in [r.schedule for r in layer.solve_report()]


@pytest.mark.filterwarnings("ignore:schedule")
@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_gradients_of_gradients(name):
    """Also where decays and vectors are made of one another, as in HGRN-2."""
    found, first = [], None
    for backend in ("reference", "torch"):
        layer = layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name), schedule="chunked", backend=backend)
        first = first or layer.state_dict()
        layer.load_state_dict(first)
        of = [*random_inputs(layer, 2, 9), *layer.parameters()]
        y = layer(*of[: len(layer._inputs)])[0]
        grads = torch.autograd.grad(sum(v.square().sum() for v in (y if isinstance(y, tuple) else (y,))), of, create_graph=True, materialize_grads=True, allow_unused=True)
        found.append([*grads, *torch.autograd.grad(sum(g.square().sum() for g in grads), of, materialize_grads=True, allow_unused=True)])
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore:schedule")
@pytest.mark.parametrize(("name", "steps"), [("GatedDeltaNet", 150), ("RWKV7", 64), ("GLA", 129), ("Titans", 65), ("MLSTM", 100)])
def test_several_chunks(name, steps):
    text = ZOO[name].text
    assert_close(against_reference(text, name, sizes_of(text, name), 2, steps, backend="torch", schedule="chunked"), 1e-9)


@pytest.mark.filterwarnings("ignore:schedule")
@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_float32_with_strong_decays(name):
    """Weights 20 times as large as at first: decays go down to e⁻⁴⁰ a step and below. Chunks are as near to float64 as the equations, step by step, are."""
    exact, by_steps, by_chunks, rounded, halved = (_in_precision(name, *how) for how in (
        ("reference", torch.float64), ("reference", torch.float32), ("torch", torch.float32),
        ("reference", torch.float32, torch.bfloat16), ("torch", torch.float32, torch.bfloat16),
    ))  # fmt: skip
    for want, near, got in zip(exact, by_steps, by_chunks, strict=True):
        if want.isfinite().all() and near.isfinite().all():
            assert _error(got, want) < max(1e-5, 4 * _error(near, want))
    assert halved[0].dtype == torch.bfloat16 and _error(halved[0], exact[0]) < max(0.01, 2 * _error(rounded[0], exact[0]))


def _in_precision(name: str, backend: str, dtype: torch.dtype, given: torch.dtype | None = None) -> list[torch.Tensor]:
    """Outputs, and gradients of inputs and params; of inputs that bfloat16 holds."""
    text = ZOO[name].text
    layer = layer_of(text, name, sizes_of(text, name), backend=backend, schedule="chunked" if backend == "torch" else "auto", dtype=dtype)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(20 * (0.3 * torch.randn(p.shape, generator=g)).bfloat16())
    inputs = [torch.randn(2, 100, *x.shape[2:], generator=g).bfloat16().to(given or dtype).requires_grad_() for x in random_inputs(layer, 1, 1)]
    y = layer(*inputs)[0]
    outputs = y if isinstance(y, tuple) else (y,)
    loss = sum((o * torch.linspace(-1, 1, o.numel(), dtype=o.dtype).view_as(o)).sum() for o in outputs)
    return [*outputs, *torch.autograd.grad(loss, [*inputs, *layer.parameters()], allow_unused=True, materialize_grads=True)]


def _error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got.double() - want).norm() / want.norm().clamp(min=1e-30))


# Programs of every form of an affine matrix state

HEAD = "cell C(D, K, V):\n  input x: [D]\n  state S: [K, V]\n  param A, B, E, R: [K, D]\n  param W, U: [V, D]\n  param g, h: [D]\n"
FORMS = {
    "nothing but what is added": ("S[t] = S[t-1] + outer(A @ x, W @ x)", "(R @ x) @ S[t]"),
    "no decay of its own": ("S[t] = outer(tanh(A @ x), W @ x - (B @ x) @ S[t-1])", "(R @ x) @ S[t]"),
    "a decay below zero": ("S[t] = tanh(dot(g, x)) * S[t-1] + outer(A @ x, W @ x)", "(R @ x) @ S[t]"),
    "a decay that may be large": ("S[t] = (1 + 0.1 * dot(g, x)) * S[t-1] + outer(A @ x, W @ x)", "(R @ x) @ S[t]"),
    "a decay of 0": ("S[t] = heaviside(dot(g, x)) * S[t-1] + outer(A @ x, W @ x)", "(R @ x) @ S[t]"),
    "rows that decay to 0": ("S[t] = diag(relu(tanh(A @ x))) @ S[t-1] + outer(B @ x, W @ x)", "(R @ x) @ S[t]"),
    "rows that decay by less than half": (
        "S[t] = diag(0.5 + 0.5 * sigmoid(A @ x)) @ S[t-1] - outer(B @ x, (B @ x) @ S[t-1]) / K + outer(E @ x, W @ x) - outer(B @ x, U @ x)",
        "(R @ x) @ S[t] + (E @ x) @ S[t-1] + (B @ x) @ S[t]",
    ),
    "columns that decay": ("S[t] = S[t-1] @ diag(sigmoid(W @ x)) + outer(A @ x, U @ x)", "S[t] @ (U @ x)"),
    "from the right": ("S[t] = S[t-1] - 0.3 * outer(S[t-1] @ tanh(W @ x), tanh(U @ x)) + outer(A @ x, U @ x)", "S[t] @ (U @ x)"),
    "two products": ("S[t] = S[t-1] - 0.2 * outer(A @ x, (B @ x) @ S[t-1]) + outer(B @ x, 0.1 * (A @ x) @ S[t-1] + W @ x)", "(R @ x) @ S[t]"),
    "one behind the other": (
        "k = normalize(A @ x)\n  l = normalize(B @ x)\n  M = S[t-1] + outer(k, W @ x - k @ S[t-1])\n  S[t] = M + outer(l, U @ x - l @ M)",
        "(R @ x) @ S[t]",
    ),
    "a repeat": (
        "M = S[t-1]\n  repeat j in 1..3:\n    k = normalize(A @ x + j)\n    M = M + sigmoid(dot(g, x)) * outer(k, W @ x - k @ M)\n  end\n  S[t] = M",
        "(R @ x) @ S[t]",
    ),
    "sums of outer products": ("S[t] = 0.9 * S[t-1] + (outer(A @ x, W @ x) - outer(B @ x, U @ x)) / 3 + 0.1", "(R @ x) @ S[t]"),
    "a choice": ("S[t] = where(dot(g, x) > 0, S[t-1] + outer(A @ x, W @ x), 0.5 * S[t-1])", "(R @ x) @ S[t]"),
    "what was before": ("S[t] = 0.9 * S[t-1] + outer(A @ x, W @ x)", "(R @ x) @ S[t-1] + tanh((E @ x) @ (S[t] - S[t-1]))"),
    "states themselves": ("S[t] = diag(sigmoid(A @ x)) @ S[t-1] + outer(B @ x, W @ x - (B @ x) @ S[t-1] / K)", "tanh(S[t]) @ (W @ x)"),
    "nothing reads it": ("S[t] = 0.9 * S[t-1] + outer(A @ x, W @ x)", "W @ x"),
    "a start that is not 0": ("S[t] = diag(sigmoid(A @ x)) @ S[t-1] - 0.2 * outer(B @ x, (B @ x) @ S[t-1])", "(R @ x) @ S[t]"),
}


def program(form: str) -> str:
    body, output = FORMS[form]
    head = HEAD.replace("S: [K, V]", "S: [K, V] = 0.7") if "start" in form else HEAD
    return f"{head}  {body}\n  output y = {output}\n"


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    text = program(form)
    assert of(text, "C").chunks, of(text, "C").unchunked
    assert_agrees(Case(text, "C", {"D": 3, "K": 3, "V": 5}, 2, 9, backend="torch", schedule="chunked"))


ROUNDS = {  # what comes before the rounds, behind them, and what is read
    "nothing else": ("S[t-1]", "M", "(Q @ x) @ S[t]"),
    "a decay before": ("sigmoid(dot(g, x)) * S[t-1]", "M", "(Q @ x) @ S[t]"),
    "rows that decay before": ("diag(sigmoid(Q @ x)) @ S[t-1]", "M", "(Q @ x) @ S[t] + (P @ x) @ S[t-1]"),
    "more behind": ("S[t-1]", "0.9 * M + outer(Q @ x, W_v[1] @ x)", "(Q @ x) @ S[t]"),
    "states themselves": ("0.8 * S[t-1]", "M - 0.2 * outer(Q @ x, (P @ x) @ M)", "S[t]"),
    "a decay in each": ("S[t-1]", "M", "(Q @ x) @ S[t]"),
}


def with_rounds(rounds: str) -> str:
    before, behind, output = ROUNDS[rounds]
    inside = "sigmoid(dot(g, x) / j) * M" if rounds == "a decay in each" else "M"
    return f"""cell C(D, N, K, V, L):
  input x: [D]
  state S: [N; K, V] = 0.2
  param W_k: [L, N; K, D]
  param W_v: [L, N; V, D]
  param w, g: [N; D]
  param P, Q: [N; K, D]
  M = {before}
  repeat j in 1..L:
    k = normalize(W_k[j] @ x)
    M = {inside} + sigmoid(dot(w, x)) * outer(k, W_v[j] @ x - k @ M)
  end
  S[t] = {behind}
  output y = {output}
"""


@pytest.mark.parametrize("rounds", ROUNDS)
def test_as_many_rounds_as_a_size_says(rounds):
    text = with_rounds(rounds)
    assert of(text, "C").chunks, of(text, "C").unchunked
    assert_agrees(Case(text, "C", {"D": 3, "N": 2, "K": 3, "V": 4, "L": 3}, 2, 7, backend="torch", schedule="chunked"))


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("k @ M)", "k @ S[t-1])", "reads more of before than the state"), ("1..L", "2..L", "may have no rounds"),
])  # fmt: skip
def test_rounds_that_are_no_changes_of_a_state(old, new, reason):
    text = with_rounds("a decay before").replace(old, new)
    assert reason in of(text, "C").unchunked["S"]


def test_two_states_and_complex_heads():
    text = """cell C(D, N, K):
  input x: [D]
  state S, M: [N; K, K]
  param A, B: [N; K, D]
  param g: [N; D]
  a = sigmoid(dot(g, x))
  S[t] = a * S[t-1] - 0.5 * M[t-1] + outer(A @ x, B @ x)
  M[t] = 0.5 * S[t-1] + a * M[t-1] - 0.2 * outer(B @ x, (A @ x) @ S[t-1])
  output y = merge((A @ x) @ (S[t] + M[t-1])), z = M[t]
"""
    assert of(text, "C").chunks
    assert_agrees(Case(text, "C", {"D": 3, "N": 2, "K": 3}, 2, 9, backend="torch", schedule="chunked"))


REASONS = {
    "S[t] = S[t-1] @ diag(W @ x) + diag(A @ x) @ S[t-1]": "columns of a state decay apart",
    "S[t] = diag(A @ x) @ S[t-1] - outer(B @ x, (E @ x) @ S[t-1]) + outer(A @ x, (W @ x) * ((A @ x) @ S[t-1]))": "columns of a state decay apart",
    "S[t] = tanh(S[t-1]) + outer(A @ x, W @ x)": "not affine",
    "S[t] = outer(A @ x, (B @ x) @ S[t-1]) + outer(S[t-1] @ (W @ x), U @ x)": "columns of a state are mixed",
    "S[t] = 0.5 * S[t-1] + tanh(outer(A @ x, W @ x))": "no sum of outer products",
}


@pytest.mark.parametrize("body", REASONS)
def test_reasons(body):
    text = f"{HEAD}  {body}\n  output y = (R @ x) @ S[t]\n"
    assert not of(text, "C").chunks and REASONS[body] in of(text, "C").unchunked["S"]
    layer = layer_of(text, "C", {"D": 3, "K": 3, "V": 5}, backend="auto", schedule="chunked")
    with pytest.warns(UserWarning, match="has no chunked for it"):
        layer(torch.randn(2, 5, 3, dtype=torch.float64))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("seed", [2, 7, 9, 14, 69, 75, 410])
def test_random_programs(seed):
    assert judge(program_of(seed), seed) == (FINE, "")


MATRICES = {
    "one that the program makes": "S[t] = (diag(sigmoid(A @ x)) - 0.5 * outer(normalize(B @ x), normalize(B @ x))) @ S[t-1] + outer(A @ x, W @ x)",
    "two behind one another": "S[t] = (eye(K) - outer(normalize(A @ x), normalize(A @ x))) @ (0.9 * eye(K) - 0.2 * outer(B @ x, E @ x)) @ S[t-1] + outer(A @ x, W @ x)",
    "of params": "M = 0.9 * eye(K) - outer(tanh(p), tanh(p)) / K\n  S[t] = M @ S[t-1] + outer(A @ x, W @ x)",
    "transposed": "S[t] = (S[t-1].T @ (diag(sigmoid(A @ x)) - 0.2 * outer(A @ x, B @ x))).T + outer(W @ x, A @ x).T",
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_matrices_that_states_pass_through(matrix):
    text = f"{HEAD}  param p: [K]\n  {MATRICES[matrix]}\n  output y = (R @ x) @ S[t]\n"
    assert of(text, "C").chunks, of(text, "C").unchunked
    assert_agrees(Case(text, "C", {"D": 3, "K": 3, "V": 5}, 2, 9, backend="torch", schedule="chunked"))


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_a_matrix_of_each_head(backend):
    text = """cell C(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param v: [N; K]
  param W: [N; K, D]
  param U: [N; V, D]
  S[t] = (diag(sigmoid(W @ x)) - 0.5 * outer(v, v)) @ S[t-1] + outer(W @ x, U @ x)
  output S
"""
    assert_agrees(Case(text, "C", {"D": 3, "N": 2, "K": 5, "V": 4}, 2, 5, backend=backend, schedule="chunked" if backend == "torch" else "auto"))


# Calls of every kind


@pytest.mark.parametrize("steps", [0, 1, 2, 63, 64, 65])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_lengths(batch, steps):
    text = ZOO["GatedDeltaNet"].text
    layers = [layer_of(text, "GatedDeltaNet", sizes_of(text, "GatedDeltaNet"), **kind) for kind in ({"schedule": "chunked", "backend": "torch"}, {})]
    layers[0].load_state_dict(layers[1].state_dict())
    inputs = random_inputs(layers[0], batch, steps)
    results = []
    for layer in layers:
        y, state, states = layer(*inputs, all_states=True)
        again, *_ = layer(*inputs, state=state)
        loss = y.square().sum() + again.sum() + sum(s.sum() for s in (*state, *states.values()))
        results.append((y, again, *state, *states.values(), *torch.autograd.grad(loss, [*inputs, *layer.parameters()], allow_unused=True, materialize_grads=True)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore:schedule")
@pytest.mark.parametrize("name", ["GatedDeltaNet", "GLA", "Titans"])
def test_many_gradients_at_once(name):
    """As `torch.autograd.functional.jacobian(vectorize=True)` asks for them, of one result alone too."""
    found = []
    for backend in ("reference", "torch"):
        torch.manual_seed(0)
        layer = layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name), backend=backend, schedule="chunked")
        of = [*random_inputs(layer, 2, 5), *layer.parameters()]
        y, state = layer(*of[: len(layer._inputs)])
        for results in ([y], [*state], [y, *state]):
            seeds = [torch.stack([r.detach(), torch.ones_like(r)]) for r in results]
            grads = torch.autograd.grad(results, of, seeds, is_grads_batched=True, retain_graph=True, allow_unused=True)
            found.append([t.new_zeros((2, *t.shape)) if g is None else g for g, t in zip(grads, of, strict=True)])
    for one, other in zip(found[:3], found[3:], strict=True):
        torch.testing.assert_close(one, other)


def test_derivatives_of_every_kind():
    layer = layer_of(ZOO["GatedDeltaNet"].text, "GatedDeltaNet", {"D": 2, "N": 2, "K": 2, "V": 3}, backend="torch", schedule="chunked")
    (x,) = random_inputs(layer, 2, 4)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)
    weights = dict(layer.named_parameters())
    each = torch.func.vmap(lambda x: torch.func.functional_call(layer, weights, (x.unsqueeze(0),))[0])(x)
    torch.testing.assert_close(each.squeeze(1), layer(x)[0])
    assert torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1].shape == (2, 4, 6)
    leaves, found = [x, *layer.parameters()], []
    for layer.recompute in (False, True):  # as checkpoints do, which give what was saved only once
        found.append(torch.autograd.grad(layer(x)[0].square().sum(), leaves))
    torch.testing.assert_close(*found)


def test_compiled():
    layer = layer_of(ZOO["RWKV6"].text, "RWKV6", sizes_of(ZOO["RWKV6"].text, "RWKV6"), backend="torch", schedule="chunked")
    (x,) = random_inputs(layer, 2, 70)
    found, expected = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0], layer(x)[0]
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]) for y in (found, expected)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_outputs_lie_in_memory_of_their_own():
    text = f"{HEAD}  S[t] = 0.9 * S[t-1] + outer(A @ x, W @ x)\n  output y = (R @ x) @ S[t], z = (E @ x) @ S[t]\n"
    layer = layer_of(text, "C", {"D": 3, "K": 3, "V": 5}, backend="torch", schedule="chunked")
    (x,) = random_inputs(layer, 2, 9)
    (y, z), _ = layer(x)
    before = z.detach().clone()
    y.mul_(2.0)
    assert torch.equal(z.detach(), before)
    (y.sum() + z.sum()).backward()


def test_half_inputs():
    text = ZOO["GatedDeltaNet"].text
    layer = layer_of(text, "GatedDeltaNet", sizes_of(text, "GatedDeltaNet"), backend="torch", schedule="chunked", dtype=torch.float32)
    x = torch.randn(2, 70, 3, dtype=torch.bfloat16)
    found = layer(x)[0]
    layer.backend = "reference"
    expected = layer(x)[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_comes_out_where_the_equations_have_it(bad):
    text = ZOO["GLA"].text
    layer = layer_of(text, "GLA", sizes_of(text, "GLA"), backend="torch", schedule="chunked")
    (x,) = random_inputs(layer, 2, 20)
    with torch.no_grad():
        x[0, 7] = bad
    y = layer(x)[0]
    assert y[0, :7].isfinite().all() and y[1].isfinite().all() and not y[0, 7].isfinite().any()
    assert [r.schedule for r in layer.solve_report()] == ["sequential"]
    layer.backend = "reference"
    torch.testing.assert_close(y, layer(x)[0], equal_nan=True)


def test_decays_that_grow_are_run_step_by_step():
    text = program("a decay that may be large")
    layer = layer_of(text, "C", {"D": 3, "K": 3, "V": 5}, backend="torch", schedule="chunked")
    (x,) = random_inputs(layer, 2, 60)
    for scale, schedule in ((0.1, "chunked"), (100.0, "sequential")):
        found = layer(scale * x)[0]
        assert [r.schedule for r in layer.solve_report()] == [schedule]
        layer.backend = "reference"
        torch.testing.assert_close(found, layer(scale * x)[0])
        layer.backend = "torch"


# Choice


def test_choice(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND", raising=False)
    cls = rnndsl.load(ZOO["GatedDeltaNet"].text).GatedDeltaNet
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = cls(3, 2, 4, 5, schedule="chunked")
        (plan,) = layer.plan_for(torch.randn(2, 9, 3))
        assert (plan.backend, plan.schedule) == ("torch", "chunked")
        assert "4 chunks" in str(layer(torch.randn(2, 100, 3)) and layer.solve_report()[0])
    layer.schedule = "auto"
    assert layer.plan_for(torch.randn(2, 99, 3))[0].backend == "cpu"
    layer.backend = "torch"
    assert [layer.plan_for(torch.randn(2, n, 3))[0].schedule for n in (2, 64)] == ["sequential", "chunked"]
    layer.schedule = "sequential"
    assert layer.plan_for(torch.randn(2, 99, 3))[0].schedule == "sequential"


@pytest.mark.parametrize(("low", "reset", "expected"), [(0.5, False, True), (0.5, True, False), (0.0, False, False)])
@pytest.mark.filterwarnings("ignore:schedule")
def test_where_products_are_quotients(low, reset, expected, monkeypatch):
    """Of mild decays, and without resets. Values, gradients and gradients of gradients are those step by step, in float32 too."""
    calls = []
    monkeypatch.setattr(quotients, "scaled", lambda *a, by=quotients.scaled: calls.append(1) or by(*a))
    text = program("rows that decay by less than half").replace("0.5 + 0.5 *", f"{low} + {1 - low} *")
    results = []
    for dtype, backend in ((torch.float64, "reference"), (torch.float64, "torch"), (torch.float32, "torch")):
        torch.manual_seed(0)
        layer = layer_of(text, "C", {"D": 3, "K": 4, "V": 5}, backend=backend, schedule="chunked", dtype=dtype)
        g = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(0.5 * torch.randn(p.shape, generator=g, dtype=torch.float64))
        x = torch.randn(2, 70, 3, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
        y = layer(x, reset=(torch.arange(70) % 30 == 7).expand(2, 70) if reset else None)[0]
        grads = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()], create_graph=True, allow_unused=True, materialize_grads=True)
        twice = torch.autograd.grad(sum(g.square().sum() for g in grads), [x, *layer.parameters()], allow_unused=True, materialize_grads=True)
        results.append([y, *grads, *twice])
    assert bool(calls) == expected
    for want, got, near in zip(*results, strict=True):
        assert _error(got, want) < 1e-10 and _error(near, want) < 1e-4


@pytest.mark.parametrize(("heads", "groups"), [((), (0, 0, 1, 0, 1)), ((2, 3), (1, 2, 2, 2, 1)), ((2,), (1, 1, 0, 1, 0))])
def test_quotients_are_those_of_autograd(heads, groups):
    """Values, gradients, and gradients of gradients, where the last chunk is short and a vector is zero."""
    g = torch.Generator().manual_seed(0)
    decay = 0.5 + 0.5 * torch.rand(2, 11, *heads, 3, generator=g, dtype=torch.float64)
    vectors = [torch.randn(2, 11, *heads, 3, generator=g, dtype=torch.float64) for _ in range(sum(groups))]
    vectors[-1] = vectors[-1] if sum(groups) < 8 else None
    layout = quotients.Layout(4, groups)
    found = []
    for function in (quotients.Quotients.apply, quotients._plain):
        own = [v if v is None else v.clone().requires_grad_() for v in (decay, *vectors)]
        wanted = [v for v in own if v is not None]
        results = function(layout, *own)
        loss = sum((r.cos() * torch.arange(1, r.numel() + 1).reshape(r.shape)).sum() for r in results)
        grads = torch.autograd.grad(loss, wanted, retain_graph=True)
        again = torch.autograd.grad(sum(r.sin().sum() for r in torch.autograd.grad(loss, wanted, create_graph=True)), wanted)
        found.append([*results, *grads, *again])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want)


def test_chunks_are_as_long_as_a_sequence_at_most():
    assert [chunked.chunk_of(n) for n in (1, 2, 3, 9, 64, 65, 5000)] == [1, 2, 4, 16, 64, 64, 64]
    assert chunked.chunk_of(99, rows=True, system=True) == 16


@pytest.mark.parametrize(("readers", "lefts", "rows"), [(2, 2, 4), (1, 0, 4), (1, 3, 1)])
def test_halves_in_place_are_those_that_are_joined(readers, lefts, rows):
    """Values, gradients, and gradients of gradients."""
    given = [torch.randn(2, 8, n, 1, 4, dtype=torch.float64, requires_grad=True) for n in (readers, lefts)]
    given.append(torch.rand(2, 8, 1, 1, rows, dtype=torch.float64, requires_grad=True))
    found = []
    for join in (halves.by_halves, halves.joined_blocks):
        block = join([given[0]], [given[1]], given[2], None, True)
        values = (*block.readers, *block.lefts, block.decay, *block.across)
        grads = torch.autograd.grad(sum(v.pow(3).sum() for v in values), given, create_graph=True)
        found.append([block.largest, *values, *grads, *torch.autograd.grad(sum(g.pow(2).sum() for g in grads), given)])
    torch.testing.assert_close(*found)
