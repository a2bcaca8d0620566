"""The interface of a generated class: construction, calls, errors, and torch's own machinery."""

import copy
import io
import math
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

import rnndsl
from rnndsl.checks.attributes import LAYER_ATTRIBUTES, MODULE_NAMES
from rnndsl.runtime.sizes import Size, axes_text, divide
from rnndsl.runtime.traced import constant_in_graphs
from rnndsl.runtime_names import RUNTIME_NAMES
from tests.agreement import layer_of, random_inputs
from tests.features import FEATURES, SIZES, program

GRU = """
cell ParaGRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_n: [H, D]
  param a_z, a_n, b_z, b_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1] + b_z)
  n = tanh(W_n @ x + a_n * h[t-1] + b_n)
  h[t] = (1 - z) * h[t-1] + z * n
  output h
"""

TWO = """
cell Two(D, H, dt = 0.5):
  input x: [D]
  input s: []
  state h: [H]
  state g: complex [H]
  param W: [H, D]
  param beta: [H] in (0, 1)
  param C: complex [H, H]
  const M: [H, H]
  h[t] = beta * tanh(W @ x + dt * s * h[t-1] + M @ h[t-1])
  g[t] = 0.5 * C @ g[t-1] + h[t]
  output h, e = abs(g[t])
"""


def gru(**settings):
    return rnndsl.load(GRU).ParaGRU(D=3, H=5, **settings)


def two(**settings):
    return rnndsl.load(TWO).Two(D=3, H=4, **settings)


# Construction


def test_the_constructor_takes_the_header_in_order():
    cls = rnndsl.load(TWO).Two
    assert cls(3, 4, 0.1)._hypers == {"dt": 0.1}
    assert cls(H=4, D=3).W.shape == (4, 3)
    assert "D=3, H=4, dt=0.5" in repr(cls(3, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"D": 0, "H": 4}, ValueError, "D: expected a positive size, got 0"),
        ({"D": 3.0, "H": 4}, TypeError, "D: expected a whole number, got 3.0"),
        ({"D": True, "H": 4}, TypeError, "D: expected a whole number"),
        ({"D": 3, "H": 4, "dt": "x"}, TypeError, "dt: expected a number, got 'x'"),
        ({"D": 3, "H": 4, "dtype": torch.int64}, TypeError, "dtype: expected a real floating type"),
        (
            {"D": 3, "H": 4, "backend": "gpu"},
            ValueError,
            "backend: expected one of auto, reference, cpu, triton, torch, got 'gpu'",
        ),
        ({"D": 3, "H": 4, "schedule": "fast"}, ValueError, "schedule: expected one of"),
    ],
)
def test_wrong_constructor_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        rnndsl.load(TWO).Two(**arguments)


def test_a_size_that_does_not_divide_is_an_error():
    text = "cell S(H):\n input x: [H]\n a, b = split(x, 2)\n output y = a * b\n"
    assert rnndsl.load(text).S(H=4)(torch.ones(1, 2, 4))[0].shape == (1, 2, 2)
    with pytest.raises(ValueError, match="H/2 is not a whole number|H / 2 is not a whole number"):
        rnndsl.load(text).S(H=5)


@pytest.mark.parametrize("declared", ["input v", "state v", "param v", "const v", "noise v"])
def test_a_size_below_one_is_an_error(declared):
    further = {"state v": "  v[t] = v[t-1]\n", "noise v": ""}.get(declared, "")
    draw = " ~ normal(0, 1)" if declared == "noise v" else ""
    made = rnndsl.load(f"cell S(D, H):\n  input x: [D]\n  {declared}: [H - D]{draw}\n{further}  output x\n").S
    made(D=2, H=3)
    for width in (2, 1):
        with pytest.raises(ValueError, match=rf"v: \[-D \+ H={width - 2}\] has an axis that is not positive"):
            made(D=2, H=width)


def test_a_lazy_conjugate_may_be_cast():
    layer = rnndsl.load("cell A(H):\n  input z: complex [H]\n  const c: complex [H]\n  output y = c * z\n").A(H=1)
    layer.c = torch.tensor([1 + 2j]).conj()
    assert layer.double()(torch.ones(1, 1, 1, dtype=torch.complex128))[0].item() == 1 - 2j


def test_a_default_may_be_infinite():
    layer = rnndsl.load("cell A(D, lo = -inf, hi = inf):\n  input x: [D]\n  output y = clamp(x, lo, hi)\n").A(D=1)
    assert (layer.lo, layer.hi) == (-math.inf, math.inf) and layer(torch.ones(1, 1, 1))[0].item() == 1


def test_a_default_may_be_made_by_functions():
    """Those of the prelude too."""
    layer = rnndsl.load("cell A(D, a = mod(7, 4) + hardtanh(2), b = gelu(0)):\n  input x: [D]\n  output y = a * x + b\n").A(D=1)
    assert (layer.a, layer.b) == (4, 0)


def test_a_size_that_others_make_may_be_an_argument():
    text = "def centred(v, n) = v - dot(v, ones(n)) / n * ones(n)\ncell A(D):\n  input x: [2*D]\n  output y = centred(x, 2 * D), z = centred(concat(x, x), D + 3 * D)\n"
    x = torch.randn(1, 1, 4)
    y, _ = rnndsl.load(text).A(D=2)(x)
    torch.testing.assert_close(y.y, x - x.mean(-1, keepdim=True))
    assert y.z.shape == (1, 1, 8)


def test_an_accent_is_part_of_a_fields_name():
    cls = rnndsl.load("cell A(D):\n  input x: [D]\n  state h\u0303: [D]\n  h\u0303[t] = x\n  output h\u0303\n").A
    assert cls.State._fields == ("h\u0303",)


def test_sizes_are_written_with_their_brackets():
    one, two = Size(1, "A"), Size(2, "B")
    sizes = [3 * (one + two), (one + two) * two, one - (two - one), -(one + two), divide(one + 5, two), divide(8 * two, 2 * two), 7 - (one - two)]
    assert axes_text(sizes) == ["3*(A + B)=9", "(A + B)*B=6", "A - (B - A)=0", "-(A + B)=-3", "(A + 5)/B=3", "8*B/(2*B)=4", "7 - (A - B)=8"]


@pytest.mark.parametrize(
    ("draw", "words"), [("uniform(1, s)", "uniform needs finite bounds in their order, got 1 and -1"), ("normal(0, s)", "normal needs a standard deviation of 0 or more, got -1")]
)
def test_what_cannot_be_drawn_is_an_error(draw, words):
    text = f"cell S(H, s = -1):\n  input x: [H]\n  param p: [H] ~ {draw}\n  noise m: [H] ~ bernoulli(1 - s)\n  output y = m * p * x\n"
    with pytest.raises(ValueError, match=f"p: {words}"):
        rnndsl.load(text).S(H=2)
    with pytest.raises(ValueError, match="a probability lies between 0 and 1, got -1"):
        rnndsl.load(text).S(H=2, s=2)(torch.ones(1, 1, 2))


def test_default_initial_values():
    text = """
cell I(D, H, N):
  input x: [D]
  param W: [H, D]
  param R: [N; H, D]
  param a, b, c1: [H]
  param s: []
  param e: [N;] ~ linspace(1, 2)
  param l: [H] ~ linspace(-1, 1)
  param o: [H, H] ~ orthogonal
  param i: [N; H, H] ~ eye
  param u: [H] ~ uniform(-1/sqrt(H), 1/sqrt(H))
  param k: [H] in (0, 1) ~ constant(0.25)
  param g: [H] > 2
  param n: [H] in (0, 1) ~ normal(0.9, 5)
  param z: complex [H, D]
  output y = x
"""
    torch.manual_seed(0)
    layer = rnndsl.load(text).I(D=100, H=400, N=2)
    assert (
        float(layer.W.detach().abs().max()) <= 0.1 < 1.02 * float(layer.W.detach().abs().max())
    )  # U(-1/sqrt(D), 1/sqrt(D)), as torch.nn.Linear
    assert float(layer.R.detach().abs().max()) <= 0.1 < 1.02 * float(layer.R.detach().abs().max())
    assert 0.8 / 20 < float(layer.a.detach().std()) < 1.2 / 20
    assert (
        torch.equal(layer.b, torch.zeros(400))
        and torch.equal(layer.c1, torch.zeros(400))
        and float(layer.s.detach()) == 0
    )
    assert torch.equal(layer.e, torch.tensor([1.0, 2.0])) and torch.equal(layer.l, torch.linspace(-1, 1, 400))
    torch.testing.assert_close(layer.o @ layer.o.T, torch.eye(400), atol=1e-4, rtol=0)
    assert torch.equal(layer.i, torch.eye(400).expand(2, 400, 400))
    assert float(layer.u.detach().abs().max()) <= 1 / 20
    torch.testing.assert_close(layer.k, torch.full((400,), 0.25))
    assert bool((layer.g > 2).all()) and bool(((layer.n > 0) & (layer.n < 1)).all())
    assert layer.z.is_complex() and float(layer.z.detach().imag.abs().max()) > 0


# Calls


def test_forward_returns_tensors_and_named_tuples():
    layer = two()
    y, state = layer(torch.randn(2, 7, 3), torch.randn(2, 7))
    assert y._fields == ("h", "e") and y.h.shape == (2, 7, 4) and not y.e.is_complex()
    assert state._fields == ("h", "g") and state.g.is_complex() and state.h.shape == (2, 4)
    assert gru()(torch.randn(2, 7, 3))[0].shape == (2, 7, 5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m(torch.randn(4, 10, 63)), ValueError, "x: expected [B, T, D=3], got [4, 10, 63]"),
        (lambda m: m(torch.randn(10, 3)), ValueError, "x: expected [B, T, D=3], got [10, 3]"),
        (lambda m: m(), TypeError, "expected 1 input (x), got 0"),
        (lambda m: m(torch.ones(1, 2, 3), torch.ones(1, 2, 3)), TypeError, "expected 1 input (x), got 2"),
        (lambda m: m([1.0]), TypeError, "x: expected a tensor, got list"),
        (lambda m: m(torch.ones(1, 2, 3, dtype=torch.int64)), TypeError, "x: expected floating-point values, got torch.int64"),
        (lambda m: m(torch.ones(1, 2, 3).to(torch.float8_e5m2)), TypeError, "x: expected floating-point values, got torch.float8_e5m2"),
        (lambda m: m(torch.nn.utils.rnn.pack_sequence([torch.ones(2, 3)])), TypeError, "x: expected a tensor, got PackedSequence; rnndsl.nn.Recurrent takes one"),
        (lambda m: m(torch.ones(1, 2, 3, dtype=torch.complex64)), TypeError, "x: expected real values, got torch.complex64"),
        (lambda m: m(torch.ones(1, 2, 3, device="meta")), ValueError, "x: expected on cpu as the layer, got meta"),
        (lambda m: m(torch.ones(1, 2, 3), state=torch.ones(1, 5)), TypeError, "state: expected ParaGRUState(h), got Tensor"),
        (lambda m: m(torch.ones(1, 2, 3), state=()), ValueError, "state: expected 1 fields (h), got 0"),
        (lambda m: m(torch.ones(1, 2, 3), state=(torch.ones(2, 5),)), ValueError, "state.h: expected [B=1, H=5], got [2, 5]"),
        (lambda m: m(torch.ones(1, 2, 3), state=(torch.ones(1, 5).to(torch.float8_e5m2),)), TypeError, "state.h: expected torch.float32, got torch.float8_e5m2"),
        (lambda m: m(torch.ones(1, 2, 3), state=(torch.ones(1, 5).double(),)), TypeError, "state.h: expected torch.float32, got torch.float64"),
        (lambda m: m(torch.ones(1, 2, 3), reset=torch.ones(1, 2)), TypeError, "reset: expected a bool tensor, got torch.float32"),
        (lambda m: m(torch.ones(1, 2, 3), reset=torch.ones(1, 3).bool()), ValueError, "reset: expected [B=1, T=2], got [1, 3]"),
        (lambda m: m.step(torch.ones(1, 2, 3), m.initial_state(1)), ValueError, "x: expected [B, D=3], got [1, 2, 3]"),
        (lambda m: m.initial_state(-1), ValueError, "batch_size: expected a whole number, got -1"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named_in_the_cells_words(call, error, words):
    with pytest.raises(error) as caught:
        call(gru())
    assert words in str(caught.value)


def test_inputs_must_share_batch_and_time():
    with pytest.raises(ValueError, match=r"s: expected \[B=2, T=7\], got \[2, 6\]"):
        two()(torch.randn(2, 7, 3), torch.randn(2, 6))


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize(("batch", "steps"), [(2, 0), (0, 3), (0, 0)])
def test_empty_sequences_and_batches(name, batch, steps):
    layer = layer_of(program(name), "C", SIZES)
    inputs = random_inputs(layer, batch, steps)
    y, state = layer(*inputs, reset=torch.zeros(batch, steps, dtype=torch.bool))
    outputs = y if isinstance(y, tuple) else (y,)
    assert all(o.shape[:2] == (batch, steps) for o in outputs)
    for kept, start in zip(state, layer.initial_state(batch), strict=True):
        assert kept.shape == start.shape and kept.dtype == start.dtype
        assert torch.equal(kept, start) or steps


def test_initial_state_is_where_forward_starts():
    layer = two(dtype=torch.float64)
    x, s = torch.randn(2, 5, 3).double(), torch.randn(2, 5).double()
    assert torch.equal(layer(x, s)[0].h, layer(x, s, state=layer.initial_state(2))[0].h)


def test_the_state_can_be_replaced_and_carries_gradients():
    layer = layer_of(program("lags of a state"), "C", SIZES)
    (x,) = random_inputs(layer, 2, 4)
    _, state = layer(x)
    h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    y, _ = layer(x, state=state._replace(h=h))
    y.h.sum().backward()
    assert h.grad is not None and bool(h.grad.abs().sum() > 0)


# Precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_streams_keep_a_float32_state(dtype):
    layer = gru()
    x = torch.randn(2, 9, 3)
    y, state = layer(x.to(dtype))
    assert y.dtype == dtype and state.h.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x.to(dtype).float())[0], atol=1e-2, rtol=1e-2)
    again, _ = layer(x.to(dtype), state=state)
    assert again.dtype == dtype


def test_float64_in_is_float64_throughout():
    layer = gru()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    y, state = layer(x)
    assert y.dtype == state.h.dtype == torch.float64
    torch.testing.assert_close(y, copy.deepcopy(layer).double()(x)[0], atol=1e-12, rtol=0)


def test_float32_is_near_float64():
    layer = gru()
    x = torch.randn(4, 50, 3)
    torch.testing.assert_close(layer(x)[0].double(), layer(x.double())[0], atol=1e-5, rtol=1e-4)


def test_casting_keeps_complex_params_complex():
    layer = two()
    for cast in (layer.double(), layer.to(torch.float32), layer.to("cpu", torch.float64)):
        assert cast.C.is_complex()
    assert layer.C.dtype == torch.complex128
    assert layer.bfloat16().C.is_complex()


def test_autocast():
    layer = gru()
    x = torch.randn(2, 9, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x)
    assert state.h.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x)[0], atol=5e-2, rtol=5e-2)


# Gradients


@pytest.mark.parametrize(
    "name", ["lags of a state", "heads", "complex", "minus infinity", "norms of the state", "matrix state", "repeat"]
)
def test_gradients_and_second_derivatives(name):
    layer = layer_of(program(name), "C", SIZES)
    inputs = random_inputs(layer, 2, 3)
    names = [n for n, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def run(*leaves):
        params = dict(zip(names, leaves[: len(names)], strict=True))
        y, _ = functional_call(layer, params, tuple(leaves[len(names) :]))
        outputs = y if isinstance(y, tuple) else (y,)
        return tuple(torch.where(torch.isfinite(o.abs()), o, torch.zeros_like(o)) for o in outputs if o.requires_grad)

    assert torch.autograd.gradcheck(run, (*values, *inputs), atol=1e-6)
    assert torch.autograd.gradgradcheck(run, (*values, *inputs), atol=1e-5)


def test_gradients_stay_finite_with_an_infinite_start():
    layer = layer_of(program("minus infinity"), "C", SIZES)
    inputs = random_inputs(layer, 2, 4)
    y, state = layer(*inputs)
    (y.l.sum() + y.c.sum() + state.m.sum()).backward()
    assert all(bool(x.grad.isfinite().all()) for x in inputs)


def test_a_surrogate_is_used_backward_only():
    layer = layer_of(program("surrogate"), "C", SIZES)
    (x,) = random_inputs(layer, 2, 5)
    y, _ = layer(x)
    assert set(y.p.unique().tolist()) <= {0.0, 1.0}
    (g,) = torch.autograd.grad(y.p.sum(), x)
    torch.testing.assert_close(g, 2 / (1 + 25 * (2 * x).abs()) ** 2)


def test_the_backward_pass_is_linear_in_time():
    """Slicing in place would make the gradient of every step a full sequence."""
    layer = gru()

    def nodes(steps):
        y, _ = layer(torch.randn(1, steps, 3))
        seen, stack = set(), [y.grad_fn]
        while stack:
            f = stack.pop()
            if f is not None and f not in seen:
                seen.add(f)
                stack.extend(g for g, _ in f.next_functions)
        return len(seen)

    assert nodes(80) - nodes(40) == 2 * (nodes(40) - nodes(20))


# Noise


def test_noise_is_drawn_in_training_only():
    layer = layer_of(program("noise by its mean"), "C", SIZES)
    (x,) = random_inputs(layer, 2, 6)
    assert torch.equal(layer(x)[0], layer(x)[0])
    layer.train()
    torch.manual_seed(1)
    a = layer(x)[0]
    torch.manual_seed(1)
    assert torch.equal(a, layer(x)[0]) and not torch.equal(a, layer(x)[0])


def test_noise_has_its_distribution():
    text = """
cell N(H):
  input x: [H]
  noise b: [H] ~ bernoulli(0.3)
  noise n: [H] ~ normal(2, 3)
  noise u: [] ~ uniform(-1, 5)
  output b, n, u
"""
    torch.manual_seed(0)
    layer = rnndsl.load(text).N(H=50)
    y, _ = layer(torch.zeros(20, 100, 50))
    assert abs(float(y.b.mean()) - 0.3) < 0.01 and set(y.b.unique().tolist()) == {0.0, 1.0}
    assert abs(float(y.n.mean()) - 2) < 0.05 and abs(float(y.n.std()) - 3) < 0.05
    assert abs(float(y.u.mean()) - 2) < 0.15 and float(y.u.min()) >= -1 and float(y.u.max()) <= 5
    assert len(y.u[0].unique()) > 90  # a draw a step
    z, _ = layer.eval()(torch.zeros(1, 1, 50))
    torch.testing.assert_close(
        (z.b, z.n, z.u), (torch.full((1, 1, 50), 0.3), torch.full((1, 1, 50), 2.0), torch.full((1, 1), 2.0))
    )


# torch's machinery


def same(a, b):
    x = (torch.randn(2, 5, 3), torch.randn(2, 5))
    return torch.equal(a(*x)[0].h, b(*x)[0].h)


def test_deepcopy_and_pickle():
    layer = two().eval()
    layer.M.copy_(torch.randn(4, 4))
    assert same(layer, copy.deepcopy(layer))
    again = pickle.loads(pickle.dumps(layer))
    assert same(layer, again) and not again.training and type(again) is type(layer)
    plain = pickle.loads(pickle.dumps(gru()))
    assert plain._sizes == {"D": 3, "H": 5}
    state = pickle.loads(pickle.dumps(layer.initial_state(2)))
    assert state._fields == ("h", "g")


def test_state_dict_round_trip():
    a, b = two(), two()
    buffer = io.BytesIO()
    torch.save(a.state_dict(), buffer)
    buffer.seek(0)
    b.load_state_dict(torch.load(buffer))
    assert same(a, b)
    assert set(gru().state_dict()) == {"W_z", "W_n", "a_z", "a_n", "b_z", "b_n"}


def test_a_const_takes_a_tensor():
    layer = two()
    layer.M = torch.ones(4, 4)
    assert "M" in dict(layer.named_buffers())


def test_a_const_of_the_wrong_shape_is_named():
    layer = two()
    layer.M = torch.ones(4)
    with pytest.raises(ValueError, match=r"M: expected \[H=4, H=4\], got \[4\]"):
        layer(torch.randn(1, 2, 3), torch.randn(1, 2))


def test_functional_call_and_vmap_over_weights():
    layer = gru()
    x = torch.randn(2, 5, 3)
    values = {n: p + 1 for n, p in layer.named_parameters()}
    y, _ = functional_call(layer, values, (x,))
    assert not torch.equal(y, layer(x)[0])
    stacked = {n: torch.stack([p, p + 1]) for n, p in layer.named_parameters()}
    both = torch.func.vmap(lambda v: functional_call(layer, v, (x,))[0])(stacked)
    torch.testing.assert_close(both[1], y)

    surrogate = rnndsl.load(program("surrogate")).C(**SIZES)
    grads = torch.func.grad(lambda v: surrogate(v)[0].o.sum())(torch.randn(2, 4, 5))
    assert bool(grads.isfinite().all())


def test_weight_norm_parametrization():
    layer = gru()
    nn.utils.parametrizations.weight_norm(layer, "W_z")
    layer(torch.randn(2, 5, 3))[0].sum().backward()
    assert layer.parametrizations.W_z.original0.grad is not None


def test_an_in_place_change_between_forward_and_backward_is_noticed():
    layer = gru()
    y, _ = layer(torch.randn(2, 5, 3))
    with torch.no_grad():
        layer.a_z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_torch_compile():
    layer = two(dtype=torch.float64)
    x, s = torch.randn(2, 4, 3).double(), torch.randn(2, 4).double()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, s)[0].h, layer(x, s)[0].h)
    (compiled(x, s)[0].e.sum()).backward()
    assert layer.W.grad is not None


def test_torch_compile_of_more_cells_than_it_keeps_of_one_code():
    for i in range(getattr(torch._dynamo.config, "recompile_limit", 8) + 1):
        layer = rnndsl.load(f"cell C{i}(H):\n  input x: [H]\n  state h: [H]\n  h[t] = h[t-1] / {i + 2} + x[t]\n  output h\n")
        layer, x = getattr(layer, f"C{i}")(2), torch.ones(1, 2, 2)
        for f in (layer, layer.step):
            assert torch.compile(f, fullgraph=True, backend="eager")(x if f is layer else x[:, 0])[0].shape[-1] == 2


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_torch_compile_of_several_recurrences_none_of_which_has_run(backend):
    """A graph makes the kernels of each when it comes to it."""
    layer = rnndsl.zoo.MLSTM(D=3, N=1, K=5, V=2, backend=backend)  # sizes that no other test has
    x = torch.randn(2, 4, 3)
    found = torch.compile(layer, fullgraph=True, backend="eager")(x)[0]
    torch.testing.assert_close(found, layer(x)[0])


def test_torch_compile_of_a_surrogate():
    layer = rnndsl.load(program("surrogate")).C(**SIZES)
    x = torch.randn(2, 4, 5, requires_grad=True)
    found = [torch.autograd.grad(f(x)[0].o.sum(), x)[0] for f in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager"))]
    torch.testing.assert_close(*found)


def test_graphs_slice_sequences_by_select():
    """Inductor sees no alias between a sequence and what `unbind` makes of it, and wrote the gradient of one into the other: QRNN at one sequence, or one step."""
    layer, found = rnndsl.zoo.QRNN(3, 4, backend="reference"), []
    torch.compile(layer, fullgraph=True, backend=lambda graph, _: found.extend(str(n.target) for n in graph.graph.nodes) or graph.forward)(torch.randn(1, 3, 3))
    assert "select" in found
    assert "unbind" not in found


def test_newton_says_once_that_it_runs_sequentially():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = gru(schedule="newton")
        layer(torch.randn(1, 2, 3))
        layer(torch.randn(1, 2, 3))
    assert len(caught) == 1 and "sequentially" in str(caught[0].message)


# The generated text


def test_layer_attributes_are_all_reserved():
    layer = two()
    public = {n for n in dir(layer) if not n.startswith("___")} - {"W", "beta", "C", "M", "D", "H", "dt", "raw_beta"}  # torch.compile leaves marks
    missing = {n for n in public if n not in LAYER_ATTRIBUTES and not n.startswith(("_step_", "_enter_", "_exit_"))}
    assert not missing


def test_methods_of_a_recurrence_make_way_for_params():
    text = """cell C(H):
  input x: [H]
  state h: [H]
  param _step_h, _enter_h: [H]
  h[t] = tanh(_step_h * h[t-1] + x + _enter_h)
  output h
"""
    layer = rnndsl.load(text).C(H=3)
    assert layer._step_h.shape == (3,) and layer(torch.ones(1, 2, 3))[0].shape == (1, 2, 3)


def test_names_that_a_module_needs_are_reserved_for_it(tmp_path):
    """Every name at the top level of a standalone module that holds no cell's."""
    text = rnndsl.compile("cell OnlyCell(H):\n input x: [H]\n output x\n", standalone=True)
    namespace: dict = {"__name__": "standalone"}
    exec(compile(text, "standalone.py", "exec"), namespace)
    top = {n for n in namespace if not n.startswith("_")} - {"OnlyCell", "OnlyCellState"}
    assert top <= MODULE_NAMES
    assert rnndsl.check("cell torch(H):\n input x: [H]\n output x\n")[0].code == "reserved"
    hidden = rnndsl.load("cell _A(H):\n input x: [H]\n output x\n\ncell A(H):\n input x: [H]\n output y = 2 * x\n")
    assert hidden.A.__name__ == "A" and hidden._A.__name__ == "_A"
    assert float(hidden.A(H=1)(torch.ones(1, 1, 1))[0]) == 2 * float(hidden._A(H=1)(torch.ones(1, 1, 1))[0])
    both = rnndsl.load("cell AState(H):\n input x: [H]\n output x\n\ncell A(H):\n input x: [H]\n output x\n")
    assert both.A.State is not both.AState and both.A(H=2)(torch.ones(1, 1, 2))[0].shape == (1, 1, 2)


def test_runtime_names_are_those_of_the_runtime():
    import rnndsl.runtime as runtime

    assert set(runtime.__all__) == RUNTIME_NAMES


def test_what_a_tracer_takes_for_constant_is_said_as_torch_says_it():
    ours, theirs = (mark(lambda: None) for mark in (constant_in_graphs, torch.compiler.assume_constant_result))
    assert vars(ours) == vars(theirs)


def test_generated_modules_import_the_runtime_alone(tmp_path):
    for name in FEATURES:
        text = rnndsl.compile(program(name))
        (tmp_path / f"m_{abs(hash(name))}.py").write_text(text)
    code = (
        "import sys, glob, runpy; [runpy.run_path(f) for f in glob.glob(sys.argv[1] + '/*.py')];"
        "loaded = {m for m in sys.modules if m.startswith('rnndsl')} - {'rnndsl', 'rnndsl.version', 'rnndsl.backends', 'rnndsl.cache_folder', 'rnndsl.costs', 'rnndsl.devices', 'rnndsl.families', 'rnndsl.scalars', 'rnndsl.tiles'};"
        "assert all(m.startswith('rnndsl.runtime') for m in loaded), loaded;"
        "assert not {'lark', 'jinja2', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_standalone_modules_give_the_same_numbers(tmp_path):
    text = rnndsl.compile(program("complex"), standalone=True)
    assert "from rnndsl" not in text and "import rnndsl" not in text
    namespace: dict = {"__name__": "standalone"}
    exec(compile(text, "standalone.py", "exec"), namespace)
    mine = layer_of(program("complex"), "C", SIZES)
    other = namespace["C"](**SIZES, dtype=torch.float64)
    other.load_state_dict(mine.state_dict())
    inputs = random_inputs(mine, 2, 5)
    assert torch.equal(mine(*inputs)[0].y, other(*inputs)[0].y)


def test_output_is_deterministic():
    assert rnndsl.compile(program("heads")) == rnndsl.compile(program("heads"))


def test_sizes_and_numbers_that_are_not_whole():
    """A size times a fraction, a vector or a hyperparameter is that, not a size cut to a whole number."""
    text = """cell C(N, H, r = 0.5):
  input x: [H]
  state h: [H]
  const a: [H] = N * r
  const b: [H] = N * ones(H) - 1
  const c: [H] = N + ones(H) / 2
  param d: [H] ~ constant(N - r)
  h[t] = h[t-1] * a + b + c + d * x
  output h
"""
    layer = rnndsl.load(text).C(N=3, H=2)
    for name, value in {"a": 1.5, "b": 2.0, "c": 3.5, "d": 2.5}.items():
        assert getattr(layer, name).tolist() == [value, value], name


@pytest.mark.parametrize("name", FEATURES)
def test_numbers_are_made_on_the_device(name):
    """One that is copied there from the host makes every call wait for a GPU, and none can be captured in a graph."""
    layer = layer_of(program(name), "C", SIZES)
    inputs = random_inputs(layer, 2, 3)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func is not torch.ops.aten.lift_fresh.default, "a number became a tensor of the host"
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        layer(*inputs)
