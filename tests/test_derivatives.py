"""Derivatives of every order and direction, and vmap: on kernels as on the reference."""

import itertools
import re
from pathlib import Path

import pytest
import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, stack_module_state, vjp, vmap

import rnndsl
from rnndsl.runtime import build
from rnndsl.runtime.backend import BACKENDS
from tests.agreement import difference, layer_of, random_inputs, sizes_of, some_resets
from tests.zoo_cells import ZOO, name_of

EXAMPLES = {p.stem: p.read_text(encoding="utf-8") for p in sorted((Path(__file__).parents[1] / "examples").glob("*.rnn"))}
CELLS = {**{name_of(text): text for text in EXAMPLES.values()}, **{n: e.text for n, e in ZOO.items()}}
KERNELS = [
    pytest.param("cpu", marks=pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")),
    pytest.param("triton", marks=pytest.mark.filterwarnings("ignore::RuntimeWarning")),
]
BATCH, STEPS = 2, 3


def pair_of(text: str, backend: str, **settings) -> tuple[nn.Module, nn.Module]:
    """The same layer on a backend and on the reference; skips where the backend has no kernels for the cell."""
    cell = name_of(text)
    if backend == "triton" and getattr(rnndsl.load(text), cell)._kernels["triton"].tiled:
        pytest.skip("channels meet in a step: test_tiles has some of these, since the interpreter is slow")
    torch.manual_seed(0)
    reference = layer_of(text, cell, sizes_of(text, cell), **settings)
    with torch.no_grad():
        for p in reference.parameters():
            p.add_(0.3 * torch.randn_like(p))
    schedule = "sequential" if backend == "triton" else "auto"  # an interpreter is slow, and what is tried here does not depend on it
    layer = layer_of(text, cell, sizes_of(text, cell), backend=backend, schedule=schedule, **settings)
    layer.load_state_dict(reference.state_dict())
    return layer, reference


def inputs_of(layer: nn.Module) -> list[Tensor]:
    return [x.detach() for x in random_inputs(layer, BATCH, STEPS)]


def state_of(layer: nn.Module) -> list[Tensor]:
    return [s.detach().clone() for s in layer.initial_state(BATCH)]


def real(values) -> list[Tensor]:
    """Real tensors of what may be complex, or outputs, or a state; without counts."""
    flat = torch.utils._pytree.tree_leaves(tuple(values))
    return [torch.view_as_real(v) if v.is_complex() else v for v in flat if v.dtype != torch.int64]


def loss(values: list[Tensor]) -> Tensor:
    """A number that is not linear in any finite entry."""
    total = torch.zeros((), dtype=torch.float64)
    for v in values:
        weights = torch.sin(1 + torch.arange(v.numel(), dtype=torch.float64)).view(v.shape)
        total = total + (torch.where(torch.isfinite(v), v, 0.0).square() * weights).sum()
    return total


def everything(layer: nn.Module, inputs, state, reset: Tensor) -> list[Tensor]:
    """Two calls with the state handed over, and a step after them."""
    y, s = layer(*inputs, state=state, reset=reset)
    again, s2 = layer(*inputs, state=s)
    one, s3 = layer.step(*[x[:, 0] for x in inputs], s2)
    return real([y, s, again, s2, one, s3])


class Everything(nn.Module):
    """`everything` as a module, so that params can be replaced."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, *arguments) -> list[Tensor]:
        return everything(self.layer, *arguments)


def some(t: Tensor, seed: int) -> Tensor:
    return torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(seed))


def assert_all_close(got, want, tolerance: float = 1e-9) -> None:
    got, want = torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(want)
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert difference(a.detach(), b.detach()) < tolerance, i


# Over all cells


@pytest.mark.one_in(9)
@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", CELLS)
def test_published_cells_backwards_twice_and_forwards(name, backend):
    """The gradient with a graph of its own is the plain one; its own gradient and the tangents are those of the reference."""
    outcomes = []
    for layer in pair_of(CELLS[name], backend):
        inputs = [x.requires_grad_() for x in inputs_of(layer)]
        state = [s if s.dtype == torch.int64 else s.requires_grad_() for s in state_of(layer)]
        reset = some_resets(BATCH, STEPS)
        leaves = [*layer.parameters(), *inputs, *(s for s in state if s.requires_grad)]

        def gradient(layer=layer, inputs=inputs, state=state, reset=reset, leaves=leaves, **settings):
            settings |= {"allow_unused": True, "materialize_grads": True}
            return torch.autograd.grad(loss(everything(layer, inputs, state, reset)), leaves, **settings)

        plain, graphed = gradient(), gradient(create_graph=True)
        assert_all_close(graphed, plain, 1e-12)
        product = sum((g * some(g, 1)).abs().square().sum() for g in graphed)
        twice = torch.autograd.grad(product, leaves, allow_unused=True, materialize_grads=True) if product.requires_grad else []

        def dual(t: Tensor) -> Tensor:
            return t if t.dtype == torch.int64 else fwd.make_dual(t.detach(), some(t, 2))

        with fwd.dual_level():
            params = {f"layer.{n}": dual(p) for n, p in layer.named_parameters()}
            made = functional_call(Everything(layer), params, ([dual(x) for x in inputs], [dual(s) for s in state], reset))
            tangents = [fwd.unpack_dual(v).tangent for v in made]
            tangents = [torch.zeros_like(v) if t is None else t for v, t in zip(made, tangents, strict=True)]
        outcomes.append((plain, twice, tangents))
    assert_all_close(*outcomes, 1e-8)


@pytest.mark.one_in(9)
@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", CELLS)
def test_published_cells_under_vmap(name, backend):
    """Over inputs and resets, over params, and gradients for each sample: what a loop gives."""
    layer, _ = pair_of(CELLS[name], backend)
    params = dict(layer.named_parameters())
    inputs = inputs_of(layer)
    many = [torch.stack([x, 0.5 * x, -x], 1) for x in inputs]
    resets = torch.stack([some_resets(BATCH, STEPS, seed) for seed in range(3)])

    def call(params, reset, *inputs) -> list[Tensor]:
        return real(functional_call(layer, params, inputs, {"reset": reset}))

    got = vmap(call, in_dims=(None, 0, *(1 for _ in inputs)))(params, resets, *many)
    each = [call(params, resets[i], *(x[:, i] for x in many)) for i in range(3)]
    assert_all_close(got, [torch.stack(v) for v in zip(*each, strict=True)], 1e-12)

    ensemble = {n: torch.stack([p, 0.9 * p]).detach() for n, p in params.items()}
    models = [{n: p[i] for n, p in ensemble.items()} for i in range(2)]
    if ensemble:
        got = vmap(call, in_dims=(0, None, *(None for _ in inputs)))(ensemble, None, *inputs)
        each = [call(model, None, *inputs) for model in models]
        assert_all_close(got, [torch.stack(v) for v in zip(*each, strict=True)], 1e-12)

    def of_one(params, inputs) -> Tensor:
        return loss(call(params, None, *(x.unsqueeze(0) for x in inputs)))

    got = vmap(grad(of_one, argnums=(0, 1)), in_dims=(None, 0))(params, inputs)
    for b in range(BATCH):
        want = grad(of_one, argnums=(0, 1))(params, [x[b] for x in inputs])
        assert_all_close([g[b] for g in torch.utils._pytree.tree_leaves(got)], want, 1e-12)


# Every transformation, over cells of each kind

KINDS = ["para_gru", "gru", "lif", "lru", "m2rnn", "slstm", "rhn"]


def transformations(layer: nn.Module):
    """What can be asked of a layer by name: functions of no arguments."""
    inputs, state, reset = inputs_of(layer), state_of(layer), some_resets(BATCH, STEPS)
    params = {n: p.detach() for n, p in layer.named_parameters()}
    x = inputs[0]
    point = x.flatten()[:3]

    def call(params, inputs, **settings) -> list[Tensor]:
        return real(functional_call(layer, params, tuple(inputs), settings))

    def vector(x: Tensor) -> Tensor:
        return torch.cat([v.flatten()[:2] for v in call(params, [x, *inputs[1:]], reset=reset)])

    def number(point: Tensor) -> Tensor:
        return loss(call(params, [torch.cat([point, x.flatten()[3:]]).view_as(x), *inputs[1:]], reset=reset))

    def step(*inputs: Tensor) -> list[Tensor]:
        _, s = layer.step(*[x[:, 0] for x in inputs], state)
        return real(layer.step(*[x[:, 1] for x in inputs], s))

    several = torch.stack([point, 0.5 * point])
    yield "grad", lambda: grad(lambda p, x: loss(call(p, x, reset=reset)), argnums=(0, 1))(params, inputs)
    yield "vjp", lambda: (lambda y, back: back(y))(*vjp(vector, x))
    yield "jvp", lambda: jvp(lambda p, x: call(p, x, reset=reset), (params, inputs), (params, inputs))
    yield "jvp of steps", lambda: jvp(step, tuple(inputs), tuple(inputs))
    yield "linearize", lambda: linearize(number, point)[1](point)
    yield "vmap over the state", lambda: vmap(lambda *s: real(layer(*inputs, state=s)))(*(torch.stack([s, s]) for s in state))
    yield "vmap of steps", lambda: vmap(step, in_dims=2)(*(torch.stack([x, -x], 2) for x in inputs))
    yield "vmap over nothing", lambda: vmap(vector)(torch.stack([x, x])[:0])
    yield "vmap over no params", lambda: vmap(lambda p: call(p, inputs))({n: p.expand(0, *p.shape) for n, p in params.items()})
    yield "vmap of vmap", lambda: vmap(lambda p: vmap(lambda x: call(p, [x, *inputs[1:]]))(torch.stack([x, -x])))({n: torch.stack([p, 0.9 * p]) for n, p in params.items()})
    yield "grad of vmap", lambda: grad(lambda p: loss(vmap(lambda x: call(p, [x, *inputs[1:]]))(torch.stack([x, -x]))))(params)
    yield "vmap of grad over params", lambda: vmap(grad(lambda p: loss(call(p, inputs))))({n: torch.stack([p, 0.9 * p]) for n, p in params.items()})
    for first, second in itertools.product((jacrev, jacfwd), repeat=2):
        yield f"{first.__name__} of {second.__name__}", lambda first=first, second=second: first(second(number))(point)
    yield "jacrev", lambda: jacrev(vector)(x)
    yield "jacfwd", lambda: jacfwd(vector)(x)
    yield "third", lambda: grad(lambda p: hessian(number)(p).sum())(point)
    yield "vmap of hessian", lambda: vmap(hessian(number))(several)
    functional = torch.autograd.functional
    for vectorize in (False, True):
        yield f"jacobian, vectorize={vectorize}", lambda vectorize=vectorize: functional.jacobian(vector, x, vectorize=vectorize)
        yield f"hessian, vectorize={vectorize}", lambda vectorize=vectorize: functional.hessian(number, point, vectorize=vectorize)
    yield "jacobian, forwards", lambda: functional.jacobian(vector, x, vectorize=True, strategy="forward-mode")
    yield "hvp", lambda: functional.hvp(number, point, point)
    yield "vhp", lambda: functional.vhp(number, point, point)

    def batched():
        (y, *_) = real(layer(*inputs))
        seeds = torch.eye(y.numel(), dtype=y.dtype).view(-1, *y.shape)
        return torch.autograd.grad(y, list(layer.parameters()), seeds, is_grads_batched=True, materialize_grads=True, allow_unused=True)

    yield "is_grads_batched", batched


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_vmap_of_lazy_conjugates(backend):
    """vmap has no rule for the lazy sign of their imaginary parts, which `im` and kernels take."""
    text = "cell A(H):\n  input z: complex [H]\n  state h: complex [H]\n  param a: complex [H]\n  h[t] = conj(a) * h[t-1] + conj(z)\n  output y = im(conj(z)) + im(h[t])\n"
    layer = rnndsl.load(text).A(H=2, backend=backend)
    many = torch.randn(3, 2, 4, 2, dtype=torch.complex64).conj()
    torch.testing.assert_close(vmap(lambda z: layer(z)[0])(many), torch.stack([layer(z)[0] for z in many]))
    param = many[:, 0, 0]
    torch.testing.assert_close(
        vmap(lambda a: functional_call(layer, {"a": a}, (many[0],))[0])(param), torch.stack([functional_call(layer, {"a": a}, (many[0],))[0] for a in param])
    )


@pytest.mark.one_in(2)
@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", KINDS)
def test_every_transformation(name, backend):
    layers = pair_of(EXAMPLES[name], backend)
    for (what, got), (_, want) in zip(*map(transformations, layers), strict=True):
        try:
            assert_all_close(got(), want(), 1e-8)
        except Exception as e:
            raise AssertionError(what) from e


def test_auto_runs_kernels_within_transformations(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND")
    layer = layer_of(EXAMPLES["para_gru"], "ParaGRU", {"D": 3, "H": 6}, backend="auto")
    calls: list[str] = []
    real_run = BACKENDS["cpu"].run
    monkeypatch.setattr(BACKENDS["cpu"], "run", lambda *args: calls.append(args[1]) or real_run(*args))
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    vmap(grad(lambda x: layer(x)[0].sum()))(torch.stack([x, x]))
    jvp(lambda x: layer(x)[0], (x,), (x,))
    assert calls == ["h", "h"]


def test_an_ensemble_of_modules():
    layers = [layer_of(EXAMPLES["gru"], "GRU", {"D": 3, "H": 4}, backend="cpu") for _ in range(3)]
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    params, buffers = stack_module_state(layers)
    got = vmap(lambda p, b: functional_call(layers[0], (p, b), (x,))[0])(params, buffers)
    assert_all_close(got, torch.stack([layer(x)[0] for layer in layers]))


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("name", ["para_lstm", "gru"])
def test_gradcheck_in_every_way(name):
    layer, _ = pair_of(EXAMPLES[name], "cpu")
    reset = some_resets(2, 2)

    def run(x, *state):
        return tuple(real(layer(x, state=state, reset=reset)))

    (x,) = random_inputs(layer, 2, 2)
    state = [s.detach().clone().requires_grad_() for s in layer.initial_state(2)]
    assert torch.autograd.gradcheck(run, (x, *state), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *state), check_fwd_over_rev=True, check_rev_over_rev=True, fast_mode=True)


# Paths of a derivative

TIED = """cell A(H):
  input x: [H]
  state h: [H] = h0
  param h0: [H]
  h[t] = x * h[t-1] + h0
  output h
"""


@pytest.mark.parametrize("backend", KERNELS)
def test_a_param_that_is_a_start_too(backend):
    layer, _ = pair_of(TIED, backend)
    x = torch.full((1, 1, layer._sizes["H"]), 3.0, dtype=torch.float64)
    for settings in ({}, {"create_graph": True}):
        (g,) = torch.autograd.grad(layer(x)[0].sum(), layer.h0, **settings)
        assert g.tolist() == [4.0] * len(g)


@pytest.mark.parametrize("backend", KERNELS)
def test_stacked_layers_tied_params_and_an_input_used_twice(backend):
    text = TIED.replace("input x: [H]", "input x, u: [H]").replace("x * h[t-1]", "tanh(x * h[t-1] + u)")
    outcomes = []
    for layer in pair_of(text, backend):
        x = torch.randn(2, 3, layer._sizes["H"], dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

        def run(x=x, layer=layer) -> Tensor:
            y, state = layer(x, x)
            z, _ = layer(y, x, state=state)
            w, _ = layer(z, y, state=(y[:, 0],))
            return w.square().sum()

        leaves = [x, layer.h0]
        plain = torch.autograd.grad(run(), leaves)
        graphed = torch.autograd.grad(run(), leaves, create_graph=True)
        assert_all_close(graphed, plain, 1e-13)
        second = torch.autograd.grad(sum(g.square().sum() for g in graphed), leaves, create_graph=True)
        third = torch.autograd.grad(sum(g.square().sum() for g in second), leaves)
        outcomes.append([*plain, *second, *third])
    assert_all_close(*outcomes, 1e-9)


@pytest.mark.parametrize("backend", KERNELS)
def test_a_gradient_penalty_trains_like_that_of_the_reference(backend):
    outcomes = []
    for layer in pair_of(EXAMPLES["para_lstm"], backend):
        (x,) = random_inputs(layer, BATCH, STEPS)
        (slope,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        layer.zero_grad()
        (slope.norm() - 1).square().backward()
        outcomes.append([p.grad for p in layer.parameters() if p.grad is not None])
    assert_all_close(*outcomes)


@pytest.mark.parametrize("backend", KERNELS)
def test_inputs_and_results_without_a_gradient(backend):
    """Whatever is frozen, and whichever result is used: the same numbers, None where there is no way."""
    layer, reference = pair_of(EXAMPLES["para_lstm"], backend)
    x = inputs_of(layer)[0]
    for frozen in ([], ["W_f", "a_f"], [n for n, _ in layer.named_parameters()][1:]):
        for pick in (lambda y, s: y[:, -1], lambda y, s: s.c, lambda y, s: s.h * y[:, 0]):
            outcomes = []
            for m in (layer, reference):
                for n, p in m.named_parameters():
                    p.requires_grad_(n not in frozen)
                leaves = [p for p in m.parameters() if p.requires_grad]
                for settings in ({}, {"create_graph": True}):
                    outcomes.append(torch.autograd.grad(pick(*m(x)).square().sum(), leaves, allow_unused=True, **settings))
            for other in outcomes[1:]:
                assert [g is None for g in other] == [g is None for g in outcomes[0]]
                assert_all_close([g for g in other if g is not None], [g for g in outcomes[0] if g is not None])


# Changes between forwards and backwards


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("backend", ["reference", *KERNELS])
@pytest.mark.parametrize("what", ["input", "reset", "state", "param", "output", "start"])
def test_what_is_changed_in_place_is_noticed_or_does_not_matter(what, backend, recompute):
    text = EXAMPLES["para_gru"].replace("state h: [H]", "state h: [H] = h0\n  param h0: [H]")
    layer, _ = pair_of(text, backend)
    layer.recompute = recompute
    x, reset = inputs_of(layer)[0], some_resets(BATCH, STEPS)
    state = (torch.randn(BATCH, layer._sizes["H"], dtype=torch.float64),)
    leaves = list(layer.parameters())
    y, end = layer(x, state=state, reset=reset)
    want = torch.autograd.grad(end.h.square().sum(), leaves)
    y, end = layer(x, state=state, reset=reset)
    number = end.h.square().sum()
    with torch.no_grad():
        changed = {"input": x, "reset": reset, "state": state[0], "param": layer.a_z, "output": y, "start": layer.h0}[what]
        changed.logical_not_() if what == "reset" else changed.add_(1)
    try:
        got = torch.autograd.grad(number, leaves)
    except RuntimeError as e:
        assert re.search("modified by an inplace operation", str(e))
    else:
        assert_all_close(got, want, 1e-12)
        assert backend == "reference" or recompute  # kernels read all of these again
