"""Constrained params: what is stored, what is read and assigned, initial values near their bounds, and that all of torch's machinery takes them as
it takes any other param."""

import copy
import io
import math
import pickle
import re

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

import rnndsl
from rnndsl.runtime import layer as layer_module
from tests.agreement import layer_of, random_inputs
from tests.zoo_cells import FOLDER, ZOO, name_of

CELL = """
cell Leaky(D, H, top = 1.0):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param tau: [H] > 0
  param rho: [H] in (0, top) ~ uniform(0.1, 0.9)
  h[t] = rho * h[t-1] + tanh(W @ x) / tau
  output h
"""
KERNELS = ("reference", "cpu")


def leaky(**settings):
    return rnndsl.load(CELL).Leaky(D=3, H=4, **settings)


def one(text: str, **settings) -> nn.Module:
    """A layer whose param `v` is declared by a text."""
    return rnndsl.load(f"cell One(H):\n input x: [H]\n state h: [H]\n param v: [H]{text}\n h[t] = 0.5 * h[t-1] + v * x\n output h\n").One(H=4, **settings)


X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


def gradients(layer, x=X):
    return dict(zip(dict(layer.named_parameters()), torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters())), strict=True))


# What is stored


ALL = {n: z.text for n, z in ZOO.items()} | {p.stem: p.read_text(encoding="utf-8") for p in FOLDER.parent.glob("*.rnn")}
CONSTRAINED = [n for n, text in ALL.items() if re.search(r"^ *param .*\] (>|in) ", text, re.M)]


@pytest.mark.parametrize("name", CONSTRAINED)
def test_every_constrained_param_has_a_key_of_its_own(name):
    """In all published cells: the class keeps its name, the key is `raw_` and the name, and the attribute is the formula of the language page."""
    text = ALL[name]
    cell = name_of(text)
    layer = layer_of(text, cell, {"D": 3, "H": 6, "N": 2, "K": 3, "V": 5, "M": 4, "L": 2, "P": 2, "E": 3, "C": 2})
    assert type(layer).__name__ == cell and layer._raw
    assert set(dict(layer.named_parameters())) == {layer._raw.get(n, n) for n in layer._tensors if n not in layer._buffers}
    for param, raw in layer._raw.items():
        assert raw == f"raw_{param}"
        stored, bounds, value = getattr(layer, raw), layer._bounds[param], getattr(layer, param)
        low, high = bounds.low, bounds.high
        expected = low + nn.functional.softplus(stored) if math.isinf(high) else low + (high - low) * torch.sigmoid(stored)
        torch.testing.assert_close(value, expected)
        with torch.no_grad():
            setattr(layer, param, value)
        torch.testing.assert_close(getattr(layer, param), value.detach(), check_stride=False)
    x = random_inputs(layer, 2, 4)
    again = pickle.loads(pickle.dumps(layer))
    for a, b in zip(tree_leaves(layer(*x)), tree_leaves(again(*x)), strict=True):
        assert torch.equal(a, b)


def test_class_name_and_keys_stay():
    layer = leaky()
    assert type(layer) is rnndsl.load(CELL).Leaky and "Leaky(D=3" in repr(layer)
    assert list(layer.state_dict()) == ["W", "raw_tau", "raw_rho"] == [n for n, _ in layer.named_parameters()]


def test_a_name_that_the_cell_has_itself_is_left_alone():
    text = "cell C(H, raw_w = 2):\n input x: [H]\n param v: [H] > 0\n param raw_v, raw_v_: [H]\n param w: [H] > 0\n output y = x * v + raw_v + raw_v_ + w * raw_w\n"
    layer = rnndsl.load(text).C(H=3)
    assert [n for n, _ in layer.named_parameters()] == ["raw_v__", "raw_v", "raw_v_", "raw_w_"]
    layer(torch.randn(1, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("name", ["lambda", "__v", "property", "self", "Bounds", "_v", "λ"])
def test_odd_names_are_constrained_too(name):
    text = f"cell C(H):\n input x: [H]\n param {name}: [H] in (0, 1)\n output y = x * {name}\n"
    layer = rnndsl.load(text).C(H=3)
    setattr(layer, name, torch.full((3,), 0.25))
    torch.testing.assert_close(layer(torch.ones(1, 1, 3))[0], torch.full((1, 1, 3), 0.25))


# Reading and assigning


def test_reads_and_assigns_in_its_own_space():
    layer = leaky()
    stored = layer.raw_rho
    for value in (torch.full((4,), 0.7), nn.Parameter(torch.full((4,), 0.6)), torch.full((4,), 0.5, dtype=torch.float64)):
        layer.rho = value
        torch.testing.assert_close(layer.rho, value.detach().float())
    assert layer.raw_rho is stored and stored.requires_grad
    layer.raw_rho.requires_grad_(False)
    layer.rho = layer.rho * 0.5
    assert not layer.raw_rho.requires_grad and not layer.rho.requires_grad
    torch.testing.assert_close(layer.rho, torch.full((4,), 0.25))


def test_the_attribute_carries_gradients():
    layer = leaky()
    (layer.tau.sum() * 3).backward()
    torch.testing.assert_close(layer.raw_tau.grad, 3 * torch.sigmoid(layer.raw_tau.detach()))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (torch.tensor([0.5, 1.5, 0.5, 0.5]), ValueError, "rho: the value 1.5 is out of bounds: every value must be between 0 and 1"),
        (torch.tensor([0.5, 0.5, 0.0, 0.5]), ValueError, "rho: the value 0 is out of bounds"),
        (torch.full((4,), math.nan), ValueError, "rho: the value nan is out of bounds"),
        (torch.full((3,), 0.5), ValueError, r"rho: expected \[H=4\], got \[3\]"),
        (torch.full((4,), 0.5 + 0j), TypeError, "rho: expected real values"),
        (0.5, TypeError, "rho: expected a tensor, got float"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_stored(value, error, words):
    layer = leaky()
    before = layer.raw_rho.clone()
    with pytest.raises(error, match=words):
        layer.rho = value
    assert torch.equal(layer.raw_rho, before)


def test_a_value_that_is_differentiated_is_refused():
    """Its derivative would be lost, without a word: what is stored is another tensor."""
    layer, value = leaky(), torch.full((4,), 0.5)
    lost = (
        lambda: setattr(layer, "rho", leaky().rho),
        lambda: functional_call(layer, {"rho": value.clone().requires_grad_()}, (X,)),
        lambda: torch.func.grad(lambda v: functional_call(layer, {"rho": v}, (X,))[0].sum())(value),
        lambda: torch.func.jvp(lambda v: functional_call(layer, {"rho": v}, (X,))[0], (value,), (value,)),
    )
    for call in lost:
        with pytest.raises(ValueError, match="rho: a value is assigned without derivatives.* give to functional_call 'raw_rho'"):
            call()
    with torch.no_grad():
        layer.rho = leaky().rho
    layer.rho, before = 0.5 * layer.rho, 0.5 * layer.rho
    functional_call(layer, {"rho": value}, (X,))
    torch.testing.assert_close(layer.rho, before)


def test_bounds_that_a_hyperparameter_makes_empty_are_named():
    for top in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="rho: a constraint needs finite bounds"):
            leaky(top=top)


# Initial values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("constraint", "value"),
    [("> 0", v) for v in (1e-30, 2.8e-10, 1e-4, 0.5, 1.0, 39.0, 1e4, 1e30)]
    + [("> 1000", v) for v in (1000.5, 1001.0, 2000.0)]
    + [("> -1e6", v) for v in (-1.0, 3.0)]
    + [("in (0, 1)", v) for v in (1e-30, 1e-12, 0.001, 0.5, 0.9, 0.999)]
    + [("in (-1e6, 1e6)", v) for v in (-999999.0, -3.0, 0.0, 0.125, 1e5)]
    + [("in (-1, 3)", v) for v in (-0.99, 0.0, 2.5)],
)
def test_an_initial_value_is_what_was_written(constraint, value, dtype):
    """To the precision of what is stored: half a unit in the last place of the stored value, and of the result."""
    try:
        layer = one(f" {constraint} ~ constant({value!r})", dtype=dtype)
    except ValueError as e:
        low = float(constraint.split()[1]) if ">" in constraint else value
        assert abs(value - low) > torch.finfo(dtype).max and f"v: the initial value {value:g} is too large" in str(e)
        return
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny * torch.finfo(dtype).eps
    stored, bounds = layer.raw_v.double(), layer._bounds["v"]
    exact = bounds.value(layer.raw_v, torch.float64)
    slope = torch.sigmoid(stored) if math.isinf(bounds.high) else (bounds.high - bounds.low) * torch.sigmoid(stored) * torch.sigmoid(-stored)
    allowed = eps * (1 + stored.abs()) * slope + 1e-15 * max(abs(bounds.low), abs(value))
    assert bool(((exact - value).abs() <= allowed).all()), (exact - value, allowed)
    read = layer.v.detach().double()
    if abs(value) > torch.finfo(dtype).max:
        return
    assert bool(bounds.holds(layer.v).all()) and bool(((read - exact).abs() <= eps * exact.abs().clamp(min=tiny / eps)).all())
    used = layer(torch.ones(1, 1, 4, dtype=torch.float32))[0]
    torch.testing.assert_close(used[0, 0], exact.to(used.dtype), rtol=1e-6, atol=0)
    layer.v = layer.v
    torch.testing.assert_close(layer.v.detach().double(), read, rtol=4 * eps * (1 + float(stored.detach().abs().max())), atol=float(allowed.detach().max()) * 2 + tiny)


def test_random_initial_values_stay_where_they_were_drawn():
    v = one(" > 0 ~ uniform(2e-10, 3e-10)").v
    assert bool(((v >= 1.99e-10) & (v <= 3.01e-10)).all()) and len(v.unique()) > 1


def test_initial_values_outside_are_moved_just_inside():
    v = one(" in (0, 1) ~ linspace(0, 3e-10)").v.detach()
    assert 0 < float(v[0]) < 1e-3 * float(v[1]) and torch.allclose(v[1:], torch.tensor([1e-10, 2e-10, 3e-10]), atol=0, rtol=1e-4)
    v = one(" in (-2, 5) ~ linspace(-3, 6)", dtype=torch.float64).v.detach()
    assert bool(((v > -2) & (v < 5)).all()) and abs(float(v[0]) + 2) < 1e-5 and abs(float(v[-1]) - 5) < 1e-5
    v = one(" > 1000 ~ normal(0, 1)").v.detach()
    assert bool((v > 1000).all()) and float(v.max()) < 1000.01


@pytest.mark.parametrize(("draw", "fits", "outside"), [("zeros", -0.5, 0.5), ("ones", 0.5, 1.5), ("constant(low)", None, 1.5), ("constant(2 * low)", 0.75, -0.5)])
def test_a_fixed_initial_value_outside_names_the_param(draw, fits, outside):
    make = rnndsl.load(f"cell C(H, low = 1):\n input x: [H]\n param v: [H] in (low, 2) ~ {draw}\n output y = x * v\n").C
    if fits is not None:
        make(H=2, low=fits)
    with pytest.raises(ValueError, match=r"v: the initial value .* is out of bounds: every value must be between"):
        make(H=2, low=outside)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("constraint", ["> 0", "> 1000", "> -0.3", "in (0, 1)", "in (-1, 0)", "in (0.1, 0.7)", "in (-1e6, 1e6)", "in (1e6, 1000001)"])
def test_whatever_is_stored_the_value_lies_inside(constraint, dtype):
    """Also where the formula rounds to a bound; and the gradient is that of the formula there too."""
    layer = one(f" {constraint}", dtype=dtype)
    bounds = layer._bounds["v"]
    for stored in (-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4):
        nn.init.constant_(layer.raw_v, stored)
        value = layer.v
        if bool(value.isfinite().all()) and bounds.low != 1e6:
            assert bool(bounds.holds(value).all()), (stored, value)
        (grad,) = torch.autograd.grad(value.sum(), layer.raw_v)
        s = torch.tensor(stored, dtype=torch.float64)
        slope = torch.sigmoid(s) if math.isinf(bounds.high) else (bounds.high - bounds.low) * torch.sigmoid(s) * torch.sigmoid(-s)
        torch.testing.assert_close(grad, slope.to(dtype).expand(4))


# torch's machinery


def test_tying_keeps_one_tensor():
    a, b = leaky(), leaky()
    b.raw_tau = a.raw_tau
    a.tau = torch.full((4,), 2.0)
    assert b.raw_tau is a.raw_tau and torch.equal(b.tau, a.tau)
    both = nn.ModuleList([a, b])
    assert len(list(both.parameters())) == 5
    twin = copy.deepcopy(both)
    assert twin[0].raw_tau is twin[1].raw_tau


def test_freezing():
    layer = leaky()
    layer.requires_grad_(False)
    assert not layer.tau.requires_grad and not layer(X)[0].requires_grad
    layer.raw_tau.requires_grad_(True)
    layer(X)[0].sum().backward()
    assert layer.raw_tau.grad is not None and layer.raw_rho.grad is None
    again = pickle.loads(pickle.dumps(layer))
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in layer.parameters()] == [False, True, False]


@pytest.mark.parametrize("assign", [False, True])
def test_state_dicts(assign):
    a, b = leaky(), leaky()
    buffer = io.BytesIO()
    torch.save(a.state_dict(), buffer)
    buffer.seek(0)
    b.load_state_dict(torch.load(buffer, weights_only=True), assign=assign)
    assert torch.equal(a(X)[0], b(X)[0]) and type(b.raw_tau) is nn.Parameter


@pytest.mark.parametrize("prefix", ["", "0."])
def test_checkpoints_of_earlier_versions_load(prefix):
    a, b = leaky(), leaky()
    earlier = {prefix + {"raw_tau": "parametrizations.tau.original", "raw_rho": "parametrizations.rho.original"}.get(n, n): v for n, v in a.state_dict().items()}
    kept = dict(earlier)
    (nn.Sequential(b) if prefix else b).load_state_dict(earlier)
    assert torch.equal(a(X)[0], b(X)[0]) and earlier.keys() == kept.keys()
    with pytest.raises(RuntimeError, match="raw_rho"):
        b.load_state_dict({n: v for n, v in a.state_dict().items() if n != "raw_rho"})


def test_pickles_of_earlier_versions_load():
    a = leaky()
    values = {{"raw_tau": "parametrizations.tau.original", "raw_rho": "parametrizations.rho.original"}.get(n, n): v for n, v in a.state_dict().items()}
    settings = {"backend": "reference", "schedule": "auto", "dtype": torch.float32, "device": torch.device("cpu")}
    frozen = ["parametrizations.tau.original"]
    b = layer_module._rebuilt(type(a), a._sizes, a._hypers, settings, {"tiles": None, "recompute": True}, values, False, frozen)
    assert torch.equal(b(X)[0], a(X)[0]) and not b.training and b.recompute
    assert [n for n, p in b.named_parameters() if not p.requires_grad] == ["raw_tau"]


def test_meta_device():
    layer = leaky()
    for empty in (leaky(device="meta"), copy.deepcopy(layer).to("meta")):
        assert empty.tau.is_meta and empty.raw_tau.is_meta
        filled = empty.to_empty(device="cpu")
        filled.load_state_dict(layer.state_dict())
        assert torch.equal(filled(X)[0], layer(X)[0])
    with torch.device("meta"):
        assigned = leaky()
    assigned.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(assigned.tau, layer.tau)


def test_fake_tensors_have_no_entries_to_look_at():
    with FakeTensorMode():
        layer = leaky()
        layer.reset_parameters()
        layer.tau = torch.full_like(layer.tau, 1e9)
        assert layer(torch.randn(X.shape))[0].shape == leaky()(torch.randn(X.shape))[0].shape


def test_stacked_and_functional():
    layers = [leaky(dtype=torch.float64) for _ in range(3)]
    params, buffers = stack_module_state(layers)
    base = copy.deepcopy(layers[0]).to("meta")
    x = X.double()
    together = vmap(lambda p, b: functional_call(base, (p, b), (x,))[0])(params, buffers)
    torch.testing.assert_close(together, torch.stack([layer(x)[0] for layer in layers]))
    moved = functional_call(layers[0], {"raw_tau": layers[1].raw_tau}, (x,))[0]
    twin = copy.deepcopy(layers[0])
    twin.raw_tau = layers[1].raw_tau
    torch.testing.assert_close(moved, twin(x)[0])
    grads = torch.func.grad(lambda p: functional_call(layers[0], p, (x,))[0].square().sum())(dict(layers[0].named_parameters()))
    for name, g in gradients(layers[0], x).items():
        torch.testing.assert_close(grads[name], g)


@pytest.mark.parametrize("backend", KERNELS)
def test_a_parametrization_of_the_users_own(backend):
    class Doubled(nn.Module):
        def forward(self, v):
            return 2 * v

        def right_inverse(self, v):
            return v / 2

    layer = leaky(backend=backend)
    tau = layer.tau.detach().clone()
    parametrize.register_parametrization(layer, "raw_tau", Doubled())
    torch.testing.assert_close(layer.tau, tau)
    layer(X)[0].sum().backward()
    assert layer.parametrizations.raw_tau.original.grad is not None
    layer.tau = torch.full((4,), 3.0)
    torch.testing.assert_close(layer.tau, torch.full((4,), 3.0))
    with torch.no_grad():
        y, _ = layer.step(X[:, 0])
    torch.testing.assert_close(y, layer(X[:, :1])[0][:, 0].detach())


def test_dtypes():
    layer = leaky()
    wide = copy.deepcopy(layer).double()
    assert wide.tau.dtype == torch.float64 and wide.raw_tau.dtype == torch.float64
    torch.testing.assert_close(wide(X.double())[0].float(), layer(X)[0])
    half = copy.deepcopy(layer).to(torch.bfloat16)
    assert half.tau.dtype == torch.bfloat16 and half(X)[0].dtype == torch.float32


@pytest.mark.parametrize("backend", KERNELS)
def test_forward_step_and_compiled_agree(backend):
    layer, x = leaky(backend=backend, dtype=torch.float64), X.double()
    layer.tau = torch.tensor([1e-5, 0.3, 1.0, 50.0], dtype=torch.float64)
    y, _ = layer(x)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0], y)
    with torch.no_grad():
        state, found = None, []
        for t in range(5):
            z, state = layer.step(x[:, t], state)
            found.append(z)
    torch.testing.assert_close(torch.stack(found, 1), y.detach())


def test_an_optimizer_trains_what_is_stored():
    torch.manual_seed(0)
    layer = leaky()
    optimizer = torch.optim.Adam([{"params": [p for n, p in layer.named_parameters() if n.startswith("raw_")], "lr": 0.1}])
    before, W = layer.tau.detach().clone(), layer.W.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        layer(X)[0].square().sum().backward()
        optimizer.step()
    assert not torch.equal(layer.tau, before) and bool((layer.tau > 0).all()) and torch.equal(layer.W, W)


def test_a_standalone_module_does_the_same():
    scope: dict = {"__name__": "alone"}
    exec(compile(rnndsl.compile(CELL, standalone=True), "alone.py", "exec"), scope)
    layer = scope["Leaky"](D=3, H=4)
    layer.load_state_dict(leaky().state_dict())
    layer.tau = torch.full((4,), 2.0)
    torch.testing.assert_close(layer.tau, torch.full((4,), 2.0))
    layer(X)[0].sum().backward()
    assert layer.raw_tau.grad is not None
