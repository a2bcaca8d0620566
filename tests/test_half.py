"""Half inputs and autocast: one dtype for products of params and sequences, float32 for all else, on every backend alike (docs/language.md)."""

import contextlib
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, vmap

import rnndsl
from rnndsl.runtime import build
from rnndsl.runtime.dtypes import HALF
from tests.agreement import layer_of, random_inputs, sizes_of, some_resets
from tests.zoo_cells import ZOO, name_of

EXAMPLES = {p.stem: p.read_text(encoding="utf-8") for p in sorted((Path(__file__).parents[1] / "examples").glob("*.rnn"))}
CELLS = {**{name_of(text): text for text in EXAMPLES.values()}, **{n: e.text for n, e in ZOO.items()}}
PARA_GRU = EXAMPLES["para_gru"]
BACKENDS = [
    "reference",
    pytest.param("cpu", marks=pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")),
    pytest.param("triton", marks=pytest.mark.filterwarnings("ignore::RuntimeWarning")),
]
KERNELS = BACKENDS[1:]
EPS = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24, torch.complex64: 2.0**-24}  # half the distance of neighbours, at 1
BATCH, STEPS = 2, 7

# No product, and everything that torch would compute in half: scalars against vectors, functions, norms, lags, views, a repeat.
PLAIN = """
cell Plain(N, H):
  input x: [N*H]
  input u: []
  state h: [N*H]
  state c: [N*H]
  param a, s: []
  param b: [N*H]
  p, q = split(concat(x, x), 2)
  z = a * x + tanh(x) * exp(s * u)
  m = layernorm(x * x) + rmsnorm(p) + merge(normalize(heads(q, N)))
  r = x
  repeat k in 1..2:
    r = tanh(s * r + k * x)
  end
  h[t] = sigmoid(a * x + b) * h[t-1] + (z + m) * x[t-1] + r * u
  c[t] = max(c[t-1], x) + 0.1 * u[t-2]
  output h, c, y = x, w = a * x
"""
HEADS = """
cell Two(N, K, H):
  input x: [N*K]
  state h: [N; H]
  param W, V: [N; H, K]
  param U: [H, N*K]
  param w: [N; H]
  param g: [N;]
  h[t] = sigmoid(dot(w, U @ x) + g) * h[t-1] + (W @ heads(x, N)) * tanh(V @ heads(x, N))
  output y = merge(h[t])
"""


def made(text: str, backend: str = "reference", dtype: torch.dtype = torch.float32, **settings) -> nn.Module:
    """A layer with random weights; skips where the backend has no kernels for the cell."""
    if backend == "triton" and getattr(rnndsl.load(text), name_of(text))._kernels["triton"].tiled:
        pytest.skip("channels meet in a step: test_tiles has some of these, since the interpreter is slow")
    torch.manual_seed(0)
    layer = layer_of(text, name_of(text), sizes_of(text, name_of(text)), backend=backend, dtype=torch.float32, **settings)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer.to(dtype)


def given(layer: nn.Module, dtype: torch.dtype, batch: int = BATCH, steps: int = STEPS) -> list[Tensor]:
    """Inputs, the real ones of a half dtype."""
    found = [x.detach() for x in random_inputs(layer.float(), batch, steps)]
    return [x if x.is_complex() else x.to(dtype) for x in found]


def flat(values) -> list[Tensor]:
    return torch.utils._pytree.tree_leaves(values)


def gradients(layer: nn.Module, inputs: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
    """Those of inputs and params, of a sum that is not the same for all entries."""
    ends = [o for o in outputs if o.requires_grad]
    seeds = [torch.linspace(0.5, 1.5, o.numel()).view(o.shape).to(o.dtype) for o in ends]
    leaves = [t for t in (*inputs, *layer.parameters()) if t.requires_grad]
    return list(torch.autograd.grad(ends, leaves, seeds, materialize_grads=True))


def ran(layer: nn.Module, inputs: list[Tensor], **rest) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and states, and all gradients."""
    torch.manual_seed(1)
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = flat(layer(*leaves, **rest))
    return outputs, gradients(layer, leaves, outputs)


def assert_near(found: list[Tensor], wanted: list[Tensor], roundings: float, of: torch.dtype | None = None) -> None:
    """Within so many roundings (of their own dtype, or another), relative to the largest entry; both may be infinite."""
    for a, b in zip(found, wanted, strict=True):
        unit = roundings * EPS[of or a.dtype] if a.dtype != torch.int64 else 0.0
        wide = torch.complex128 if b.is_complex() else torch.float64
        a, b = a.detach().to(wide), b.detach().to(wide)
        at = torch.isfinite(b.abs())
        assert torch.equal(a[~at], b[~at])
        size = b[at].abs().max() if at.any() else torch.zeros(())
        assert (a[at] - b[at]).abs().le(unit * size.clamp_min(1e-3)).all(), float((a[at] - b[at]).abs().max() / size)


# The rule


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("autocast", [None, *HALF])
@pytest.mark.parametrize("inputs", [torch.float32, *HALF])
@pytest.mark.parametrize("params", [torch.float32, *HALF, torch.float64])
def test_dtypes_are_those_of_the_table(params, inputs, autocast, backend, monkeypatch):
    layer = made(PARA_GRU, backend, params)
    streams: list[torch.dtype] = []
    scan = layer._scan
    monkeypatch.setattr(layer, "_scan", lambda name, call, kind: streams.extend(s.dtype for s in call.streams) or scan(name, call, kind))
    x = torch.randn(BATCH, STEPS, sizes_of(PARA_GRU, "ParaGRU")["D"]).to(inputs).requires_grad_()
    with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
        y, state = layer(x)
    computed = torch.float64 if params == torch.float64 else torch.float32
    if computed == torch.float64:
        products = computed
    elif autocast is not None:
        products = autocast
    else:
        products = inputs if inputs in HALF and params in (inputs, torch.float32) else computed
    assert set(streams) == {products}
    assert y.dtype == (inputs if inputs in HALF else computed) and state.h.dtype == computed
    grads = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert [g.dtype for g in grads] == [inputs, *[params] * (len(grads) - 1)]
    assert layer.initial_state(1).h.dtype == computed


@pytest.mark.parametrize(("first", "second", "output"), [(torch.bfloat16, torch.float16, torch.float32), (torch.bfloat16, torch.float32, torch.float32)])
def test_inputs_of_several_dtypes_are_multiplied_in_float32(first, second, output):
    text = "cell Both(D, H):\n input x: [D]\n input u: [H]\n state h: [H]\n param W: [H, D]\n h[t] = 0.5 * h[t-1] + W @ x + u\n output h\n"
    layer = made(text)
    x, u = torch.randn(BATCH, STEPS, layer.D).to(first), torch.randn(BATCH, STEPS, layer.H).to(second)
    (y, _), (want, _) = layer(x, u), layer(x.float(), u.float())
    assert y.dtype == output and torch.equal(y, want)


@pytest.mark.parametrize("dtype", HALF)
def test_only_products_are_half(dtype):
    """A cell without products gives the numbers of float32, to the last digit: no function is taken of half values."""
    layer = made(PLAIN)
    inputs = given(layer, dtype)
    found, wanted = layer(*inputs), layer(*(x.float() for x in inputs))
    for a, b in zip(flat(found), flat(wanted), strict=True):
        assert torch.equal(a, b.to(a.dtype))
    with torch.autocast("cpu", dtype):
        assert all(torch.equal(a, b) for a, b in zip(flat(layer(*(x.float() for x in inputs))), flat(wanted), strict=True))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", CELLS)
def test_cells_in_half_are_near_float64(name, dtype):
    """Outputs, states and gradients of the reference against those in float64, of the same inputs and weights; and under autocast the same bits."""
    layer = made(CELLS[name]).to(dtype).float()  # weights that are exact in half
    inputs, reset = given(layer, dtype), some_resets(BATCH, STEPS)
    found, grads = ran(layer, inputs, reset=reset)
    with torch.autocast("cpu", dtype):
        mixed, _ = ran(layer, inputs, reset=reset)
    assert all(torch.equal(a, b) for a, b in zip(found, mixed, strict=True))
    assert all(o.dtype not in HALF for o in flat(layer(*inputs)[1]))
    exact = made(CELLS[name]).to(dtype).double()
    wanted, slopes = ran(exact, [x.to(torch.complex128 if x.is_complex() else torch.float64) for x in inputs], reset=reset)
    kinks = "surrogate" in CELLS[name] or "spike" in CELLS[name]  # a spike more or less is no rounding
    if not kinks:
        assert_near(found, wanted, 64, dtype)
        assert_near(grads, slopes, 512, dtype)


# Backends


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.one_in(12)) for n in CELLS])
def test_kernels_agree_with_the_reference(name, dtype, backend):
    """The products are the same, so that states differ by roundings of float32, and outputs by one of their dtype; with resets, from a half state."""
    layer, plain = made(CELLS[name], backend), made(CELLS[name])
    if backend == "triton":
        layer.schedule = "newton" if dtype == torch.bfloat16 else "sequential"
    inputs, reset = given(plain, dtype), some_resets(BATCH, STEPS)
    state = plain.State(*(s if s.is_complex() or s.dtype == torch.int64 else (s + 0.1 * torch.rand_like(s)).to(dtype) for s in plain.initial_state(BATCH)))
    (found, grads), (wanted, slopes) = (ran(m, inputs, reset=reset, state=state) for m in (layer, plain))
    assert [t.dtype for t in (*found, *grads)] == [t.dtype for t in (*wanted, *slopes)]
    for a, b in zip(found, wanted, strict=True):
        assert_near([a], [b], 2 if a.dtype in HALF else 200)
    assert_near(grads, slopes, 16, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("text", [PARA_GRU, CELLS["Mamba"], CELLS["LRU"], HEADS, PLAIN], ids=["gru", "mamba", "lru", "heads", "plain"])
def test_steps_and_halves_give_the_numbers_of_the_whole(text, dtype, backend):
    layer = made(text, backend)
    inputs = given(layer, dtype)
    with torch.no_grad():
        whole, end = layer(*inputs)
        front, middle = layer(*(x[:, :3] for x in inputs))
        back, last = layer(*(x[:, 3:] for x in inputs), state=middle)
        steps, state = [], None
        for t in range(STEPS):
            y, state = layer.step(*(x[:, t] for x in inputs), state)
            steps.append(flat(y))
    joined = [torch.cat(pair, 1) for pair in zip(flat(front), flat(back), strict=True)]
    stacked = [torch.stack(o, 1) for o in zip(*steps, strict=True)]
    for found in ((joined, last), (stacked, state)):
        assert all(a.dtype == b.dtype for a, b in zip(flat(found), flat((whole, end)), strict=True))
        assert_near(flat(found), flat((whole, end)), 8, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float16_overflows_as_torch_does_and_nothing_else_does(backend):
    text = "cell Sum(D, H):\n input x: [D]\n state h: [H]\n param W: [H, D]\n h[t] = 0.9 * h[t-1] + W @ x\n output h\n"
    layer = made(text, backend)
    with torch.no_grad():
        layer.W.copy_(torch.ones_like(layer.W))
    x = torch.zeros(1, 4, layer.D, dtype=torch.float16)
    x[0, :, 0] = torch.tensor([60000.0, 60000.0, 0.0, 0.0])
    y, state = layer(x)
    exact = 60000.0 * (0.9 + 1) * 0.9**2
    assert torch.isinf(y[0, 1:3]).all() and torch.isfinite(y[0, 0]).all(), "outputs are float16"
    torch.testing.assert_close(state.h, torch.full_like(state.h, exact), rtol=1e-6, atol=0.0)
    x[0, 0, 1] = 10000.0
    product = torch.nn.functional.linear(x, layer.W.half())
    assert torch.isinf(product[0, 0]).all() and torch.isinf(layer(x)[1].h).all(), "products are too"
    assert torch.isfinite(layer(x.bfloat16())[1].h).all()


@pytest.mark.parametrize("dtype", HALF)
def test_what_is_added_to_a_product_is_not_half(dtype):
    """Several biases and several products: each bias once, in float32."""
    layer = made("cell Sum(D, H):\n input x: [D]\n state h: [H]\n param W: [H, D]\n param a, b: [H]\n h[t] = W @ x + a + b + W @ x + b\n output h\n", "reference")
    with torch.no_grad():
        layer.a.fill_(1.0)
        layer.b.fill_(2.0**-12)
    x = torch.randn(2, 3, layer.D).to(dtype)
    product = torch.nn.functional.linear(x, layer.W.to(dtype)).float()
    torch.testing.assert_close(layer(x)[1].h, (2 * product + 1 + 2.0**-11)[:, -1], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALF)
def test_modules_cast_to_half(dtype, backend):
    layer, wide = made(PARA_GRU, backend).to(dtype), made(PARA_GRU, "reference").to(dtype).float()
    (x,) = given(wide, dtype)
    y, state = layer(x)
    want, end = wide(x)
    assert y.dtype == dtype and state.h.dtype == torch.float32
    assert_near([y, state.h], [want, end.h], 200)
    y.sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {dtype}


# What is kept, and what PyTorch does with a layer


@pytest.mark.parametrize("backend", KERNELS)
def test_half_streams_are_kept_half(backend):
    """The backward pass finds no copy of the products in float32."""
    layer = made(PARA_GRU, backend)
    (x,) = given(layer, torch.bfloat16, steps=64)
    kept: list[Tensor] = []
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x.requires_grad_())
    streams = [t for t in kept if t.shape[-1] == 3 * layer.H and t.dim() == 3]
    assert streams and {t.dtype for t in streams} == {torch.bfloat16}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_compiled_and_recomputed_calls_give_the_same(backend, autocast):
    layer = made(PARA_GRU, backend)
    (x,) = given(layer, torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        wanted, slopes = ran(layer, [x])
        layer.recompute = True
        found, grads = ran(layer, [x])
        layer.recompute = False
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        again = flat(compiled(x.clone().requires_grad_()))
    assert all(torch.equal(a, b) for a, b in zip((*found, *grads), (*wanted, *slopes), strict=True))
    assert_near(again, wanted, 4)


@pytest.mark.parametrize("dtype", HALF)
def test_exported_programs(dtype):
    layer = made(PARA_GRU, "cpu")
    (x,) = given(layer, dtype)
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (x,)), file)
    file.seek(0)
    assert_near(flat(torch.export.load(file).module()(x)), flat(layer(x)), 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_vmap_and_derivatives_of_derivatives(backend):
    """Over params and inputs, forwards, and twice backwards, where the numbers are those of the reference."""
    layer, plain = made(PARA_GRU, backend), made(PARA_GRU)
    (x,) = given(plain, torch.bfloat16)
    params = {n: p.detach() for n, p in layer.named_parameters()}
    each = vmap(lambda x: functional_call(layer, params, (x.unsqueeze(0),))[0].squeeze(0))(x)
    assert_near([each], [layer(x)[0]], 4)
    many = {n: torch.stack([p, 2 * p]) for n, p in params.items()}
    stacked = vmap(lambda p: functional_call(layer, p, (x,))[0])(many)
    assert_near([stacked[1]], [functional_call(layer, {n: 2 * p for n, p in params.items()}, (x,))[0]], 4)

    def twice(m: nn.Module) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(m(leaf)[1].h.square().sum(), leaf, create_graph=True)
        return [slope, *torch.autograd.grad(slope.float().square().sum(), [leaf, m.W_z, m.a_z])]

    found, wanted = twice(layer), twice(plain)
    assert [g.dtype for g in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert_near(found, wanted, 32, torch.bfloat16)
    tangents = [torch.func.jvp(lambda x, m=m: m(x)[1].h, (x,), (torch.ones_like(x),))[1] for m in (layer, plain)]
    assert_near(tangents[:1], tangents[1:], 8, torch.bfloat16)


@pytest.mark.parametrize("backend", KERNELS)
def test_backwards_under_autocast_is_backwards_without(backend):
    """Second derivatives of kernels, which are taken in plain PyTorch, know nothing of the autocast around them."""
    layer = made(EXAMPLES["gru"] if backend == "cpu" else PARA_GRU, backend)
    (x,) = given(layer, torch.float32)
    first = [s.requires_grad_() for s in layer.initial_state(BATCH)]
    (slope,) = torch.autograd.grad(layer(x, state=first)[0].square().sum(), first, create_graph=True)
    wanted = torch.autograd.grad(slope.square().sum(), first, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(slope.square().sum(), first)
    assert_near(list(found), list(wanted), 4)


def test_on_the_meta_device_dtypes_are_the_same():
    layer = made(PARA_GRU).to("meta")
    y, state = layer(torch.empty(BATCH, STEPS, layer.D, dtype=torch.bfloat16, device="meta"))
    assert y.dtype == torch.bfloat16 and state.h.dtype == torch.float32


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_plans_tell_half_streams_apart():
    layer = made(PARA_GRU, "triton")
    (x,) = given(layer, torch.bfloat16)
    labels = []
    real = type(layer)._begin
    for inputs, autocast in ((x, False), (x.float(), True), (x.float(), False)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            labels.append(real(layer, (inputs,)).products)
            layer.plan_for(inputs)
    assert labels == [torch.bfloat16, torch.bfloat16, torch.float32]
