"""Calls from outside: what a layer is given and gives back, whoever listens, changes it or looks on; and that `step` is `forward`."""

import copy
import itertools
import math
import re
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import rnndsl
from rnndsl.runtime import build, memory
from rnndsl.runtime.cpu import invoke
from tests.agreement import assert_close, difference, layer_of, random_inputs, sizes_of, some_resets
from tests.zoo_cells import PUBLISHED

triton = pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
NO_INTERPRETER = triton.__version__.startswith("3.6") and numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0"

# Everything that the state tuple can carry, and outputs that are other names of what is given.
LAGS = """
cell Lags(D, H, rate = 0.5):
  input x: [D]
  state h: [H] = h0
  state g: [D]
  param h0: [H]
  param W: [H, D]
  const M: [H]
  h[t] = rate * tanh(h[t-2] + M) + W @ x[t-1] + 0.01 * sin(t)
  g[t] = x
  output h, same = h[t], y = x, z = h0, g, old = g[t-1]
"""
LIF = "cell Leak(D, rate = 0.5):\n  input x: [D]\n  state h: [D]\n  h[t] = h[t-1] + x\n  output y = h[t] * rate\n"
COMPLEX = "cell Turn(H):\n  input x: complex [H]\n  state h: complex [H]\n  param a: complex [H]\n  h[t] = 0.5 * a * h[t-1] + x\n  output h\n"
CELLS = {p.stem: p.read_text(encoding="utf-8") for p in sorted((ROOT / "examples").glob("*.rnn"))} | {"lags": LAGS, "turn": COMPLEX}
ALL = {f"example {n}": t for n, t in CELLS.items()} | PUBLISHED


def cell_of(text: str) -> str:
    return re.search(r"^cell (\w+)", text, re.M)[1]


def running(text: str, backend: str) -> bool:
    """Whether a backend has kernels for a cell here; in Triton of channels, since the interpreter is slow with those of whole steps."""
    cls = getattr(rnndsl.load(text), cell_of(text))
    if backend == "cpu":
        return build.compiler() is not None and not cls._kernels["cpu"].refused
    kernels = cls._kernels["triton"]
    return backend == "reference" or bool(kernels.kernels and not kernels.refused and not kernels.tiled and not NO_INTERPRETER)


def made(text: str, backend: str = "cpu", dtype: torch.dtype = torch.float64, **header) -> nn.Module:
    """A layer with random weights."""
    if not running(text, backend):
        pytest.skip(f"there are no kernels for {backend}")
    torch.manual_seed(0)
    cell = cell_of(text)
    layer = layer_of(text, cell, sizes_of(text, cell) | header, backend=backend, dtype=dtype)
    with torch.no_grad():
        for t in (*layer.parameters(), *layer.buffers()):
            t.add_(0.3 * torch.randn_like(t))
    return layer


def given(layer: nn.Module, batch: int = 2, steps: int = 3) -> tuple[list[Tensor], tuple]:
    """Inputs [B, T, ...], and a state that is not the initial one."""
    inputs = [x.detach() for x in random_inputs(layer, batch, steps)]
    state = [s.detach() + (1 if s.dtype == torch.int64 else 0.1 * torch.randn_like(s)) for s in layer.initial_state(batch)]
    return inputs, layer.State(*state)


def flat(found: tuple) -> list[Tensor]:
    """Outputs, then the state."""
    y, state = found
    return [*(y if isinstance(y, tuple) else (y,)), *state]


def same(found: tuple, wanted: tuple, tolerance: float = 1e-9) -> None:
    pairs = list(zip(flat(found), flat(wanted), strict=True))
    assert_close({f"value {i}": (a.detach().double() if not a.is_complex() else a.detach(), b.detach().double() if not b.is_complex() else b.detach()) for i, (a, b) in enumerate(pairs)}, tolerance)


def first_step(layer: nn.Module, inputs: list[Tensor], state: tuple) -> tuple:
    """What `forward` gives for the first step of some inputs, as `step` gives it."""
    y, state = layer(*(x[:, :1] for x in inputs), state=state)
    return (type(y)(*(o.squeeze(1) for o in y)) if isinstance(y, tuple) else y.squeeze(1)), state


def one(inputs: list[Tensor]) -> list[Tensor]:
    return [x[:, 0] for x in inputs]


BACKENDS = ["reference", "cpu", "triton"]
backends = pytest.mark.parametrize("backend", BACKENDS)
over_all = pytest.mark.parametrize(("name", "backend"), [(n, b) for n in ALL for b in BACKENDS])


# Memory


def address(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()


@pytest.mark.one_in(15)
@over_all
def test_results_lie_in_memory_of_their_own(name, backend):
    """A later change in place of anything given, or of any result, reaches no other: not the state, that the next call starts from."""
    layer = made(ALL[name], backend)
    for steps, batch in ((3, 2), (1, 1), (0, 2)):
        inputs, state = given(layer, batch, steps)
        held = [*layer.parameters(), *layer.buffers(), *(getattr(layer, n) for n in layer._tensors)]
        calls = [lambda: layer(*inputs, state=state), lambda: layer(*inputs), lambda: (layer.initial_state(batch), ())]  # noqa: B023
        if steps:
            calls += [lambda: layer.step(*one(inputs), state), lambda: layer.step(*one(inputs))]  # noqa: B023
        for run, grad in itertools.product(calls, (False, True)):
            with torch.set_grad_enabled(grad):
                results = [r.detach() for r in flat(run())]
            known = [t for t in (*inputs, *state, *held) if t.numel()]
            for i, r in enumerate(results):
                assert all(s for s, n in zip(r.stride(), r.shape, strict=True) if n > 1), f"result {i} lies in one place several times"
                if r.numel():
                    assert address(r) not in {address(t) for t in known}, f"result {i}"
                    known.append(r)


@backends
@pytest.mark.parametrize("name", ["GRU", "RWKV4", "LRU"])
def test_results_are_no_views(name, backend):
    """A hook of theirs, as FSDP2 has one, is not lost where they are changed in place."""
    layer = made(PUBLISHED[name], backend)
    assert not any(r._is_view() for r in flat(layer(*given(layer)[0])))


@backends
def test_inputs_may_be_used_again_between_calls(backend):
    layer = made("cell Late(D):\n  input x: [D]\n  state h: [D]\n  h[t] = 0.5 * h[t-1] + x[t-1]\n  output h\n", backend, D=2)
    buffer = torch.ones(1, 1, 2, dtype=torch.float64)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            _, state = layer(buffer.fill_(1))
            y, _ = layer(buffer.fill_(100), state=state)
            assert y.flatten().tolist() == [1.0, 1.0]
            _, state = layer.step(buffer.fill_(1)[:, 0])
            y, _ = layer.step(buffer.fill_(100)[:, 0], state)
            assert y.flatten().tolist() == [1.0, 1.0]


@pytest.mark.one_in(15)
@over_all
def test_tensors_may_be_laid_out_in_any_way(name, backend):
    """Strides, lazy signs and conjugates: forward, its gradients, and steps read the values, not what lies in memory."""
    layer = made(ALL[name], backend)
    inputs, state = given(layer, 3, 3)
    inputs = [x[:1].expand_as(x).clone() for x in inputs]  # all rows alike, so that they can be one

    def far(t: Tensor) -> Tensor:
        return torch.stack([t, torch.full_like(t, 7)], -1)[..., 0]

    def turned(t: Tensor) -> Tensor:
        return t.transpose(0, 1).contiguous().transpose(0, 1) if t.dim() > 1 else far(t)

    def lazy(t: Tensor) -> Tensor:
        if t.dtype == torch.int64:
            return far(t)
        return t.conj().resolve_conj().conj() if t.is_complex() else torch._neg_view(-t)  # as `.conj().imag` gives one

    reset = some_resets(3, 3)
    with torch.no_grad():
        wanted, once = layer(*inputs, state=state, reset=reset), layer.step(*one(inputs), state)
        first = first_step(layer, inputs, state)
        same(once, first)
        for lay in (far, turned, lazy):
            same(layer(*map(lay, inputs), state=layer.State(*map(lay, state)), reset=far(reset)), wanted)
            same(layer.step(*map(lay, one(inputs)), layer.State(*map(lay, state))), once)
        same(layer(*(x[:1].expand_as(x) for x in inputs), state=state, reset=reset), wanted)
        same(layer.step(*(x[:1].expand_as(x) for x in one(inputs)), state), once)
        with torch.inference_mode():
            same(layer(*(x.clone() for x in inputs), state=state, reset=reset), wanted)
            same(layer.step(*(x.clone() for x in one(inputs)), layer.State(*(s.clone() for s in state))), once)
        for x in inputs:
            x.requires_grad_()
        same(layer(*inputs, state=state, reset=reset), wanted)
        same(layer.step(*one(inputs), state), once)
    leaves = [*layer.parameters(), *inputs]

    def gradients(lay) -> list[Tensor]:
        results = [r for r in flat(layer(*map(lay, inputs), state=state, reset=reset)) if r.requires_grad]
        seeds = [lay(torch.ones_like(r) if not r.is_complex() else torch.full_like(r, 1 + 2j)) for r in results]
        return list(torch.autograd.grad(results, leaves, seeds, allow_unused=True, materialize_grads=True))

    plain = gradients(lambda t: t)
    for lay in (far, lazy):
        for a, b in zip(gradients(lay), plain, strict=True):
            assert difference(a, b) < 1e-9


@backends
@pytest.mark.parametrize("batch", [1, 2])
def test_lazy_parts_of_complex_values(backend, batch):
    """One channel, so that real and imaginary parts lie as kernels want them: `.imag` of a lazy conjugate has a lazy sign."""
    found = []
    for which in (backend, "reference"):
        layer = made(COMPLEX, which, H=1)
        x = torch.randn(batch, 4, 1, dtype=torch.complex128, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y, state = layer(x.conj())
        seeds = [torch.full_like(r, 1 + 2j).conj() for r in (y, state.h)]
        found.append([y, state.h, *torch.autograd.grad([y, state.h], [x, layer.a], seeds)])
        with torch.no_grad():
            found[-1] += flat(layer.step(x[:, 0].conj(), layer.State(state.h.conj())))
    assert all(difference(a, b) < 1e-12 for a, b in zip(*found, strict=True))


def test_no_address_of_an_unchecked_tensor_leaves():
    """The runtime asks for the address of a tensor in one place, which looks at it; that of Triton's kernels is the same."""
    source = {p: p.read_text(encoding="utf-8") for p in (ROOT / "rnndsl" / "runtime").rglob("*.py")}
    asks = {p.name for p, text in source.items() for line in text.split("\n") if ".data_ptr()" in line and "storage" not in line}
    assert asks == {"memory.py"}
    assert {p.name for p, text in source.items() if re.search(r"\bkernel\[", text)} == {"launch.py"}
    plain, freed = torch.ones(4), torch.ones(4)
    assert invoke.strided([plain], 1, torch.float32)[1:] == [1, 0]
    freed.untyped_storage().resize_(0)
    turned = torch.ones(4, dtype=torch.complex64).conj().imag
    for wrong in (plain.double(), plain.to("meta"), plain.to_sparse(), torch._efficientzerotensor(4), turned, freed):
        with pytest.raises(RuntimeError):
            invoke.strided([wrong], 1, torch.float32)
    assert memory.rows(turned, 1).tolist() == [0.0] * 4 and memory.rows(torch._efficientzerotensor(4), 1).tolist() == [0.0] * 4


# Whoever listens


def old_weight_norm(layer):
    weight_norm(layer, "W")


def old_spectral_norm(layer):
    spectral_norm(layer.eval(), "W")


def new_weight_norm(layer):
    parametrizations.weight_norm(layer, "W")


def new_spectral_norm(layer):
    parametrizations.spectral_norm(layer, "W")


def pruned(layer):
    prune.l1_unstructured(layer, "W", 0.5)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*", "ignore:.*spectral_norm.*")
@backends
@pytest.mark.parametrize("change", [old_weight_norm, old_spectral_norm, new_weight_norm, new_spectral_norm, pruned])
def test_weights_that_are_made_anew_in_each_call(change, backend):
    layer = made(LAGS if backend != "triton" else WEIGHTED, backend)
    change(layer)
    layer.eval()
    inputs, state = given(layer)
    with torch.no_grad():
        layer.step(*one(inputs), state)
        for p in layer.parameters():
            p.mul_(1.7)
        fresh = copy.deepcopy(layer)
        same(layer.step(*one(inputs), state), first_step(fresh, inputs, state))


WEIGHTED = "cell Weighted(D, H):\n  input x: [D]\n  state h: [H]\n  param W: [H, D]\n  h[t] = 0.5 * tanh(h[t-1]) + W @ x\n  output h\n"


@backends
def test_hooks_see_a_step_as_a_call(backend):
    layer = made(WEIGHTED, backend)
    inputs, state = given(layer)
    plain = layer.step(*one(inputs), state)
    seen: list[str] = []
    module = nn.modules.module

    def pre(m, args):
        seen.append("pre")
        assert args[0].shape[1] == 1

    def double(m, args):
        return tuple(2 * a for a in args)

    def hook(m, args, found):
        seen.append("post")
        return found[0] + 1, found[1]

    with torch.no_grad():
        for register in (layer.register_forward_pre_hook, module.register_module_forward_pre_hook):
            handle = register(pre)
            same(layer.step(*one(inputs), state), plain)
            handle.remove()
        handle = layer.register_forward_pre_hook(double)
        same(layer.step(*one(inputs), state), first_step(layer, inputs, state))
        handle.remove()
        for register in (layer.register_forward_hook, module.register_module_forward_hook):
            handle = register(hook)
            y, _ = layer.step(*one(inputs), state)
            assert difference(y, plain[0] + 1) < 1e-12
            handle.remove()
        assert seen == ["pre", "pre", "post", "post"]
        same(layer.step(*one(inputs), state), plain)
    handle = layer.register_full_backward_hook(lambda m, into, out: seen.append("back"))
    x = one(inputs)[0].requires_grad_()
    layer.step(x, state)[0].sum().backward()
    handle.remove()
    assert seen[4:] == ["back"]


def test_a_forward_of_a_subclass_is_also_that_of_step():
    class Scaled(rnndsl.load(WEIGHTED).Weighted):
        def forward(self, x, **more):
            return super().forward(3 * x, **more)

    layer = Scaled(D=2, H=3, backend="cpu")
    x = torch.randn(2, 1, 2)
    with torch.no_grad():
        torch.testing.assert_close(layer.step(x[:, 0])[0], layer(x)[0][:, 0])
        layer.forward = lambda x, state=None: (x + 1, state)
        assert torch.equal(layer.step(x[:, 0])[0], x[:, 0] + 1)


@backends
def test_autocast_is_that_of_forward(backend):
    layer = made(WEIGHTED, backend, torch.float32)
    inputs, state = given(layer)
    plain = first_step(layer, inputs, state)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, wanted = layer.step(*one(inputs), state), first_step(layer, inputs, state)
    assert all(torch.equal(a, b) for a, b in zip(flat(found), flat(wanted), strict=True))
    assert not torch.equal(flat(found)[0], flat(plain)[0])


class Logged(Tensor):
    """Notes that something was done with it."""

    seen = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen += 1
        return super().__torch_function__(func, types, args, kwargs)


class Wrapped(Tensor):
    """Holds its values elsewhere."""

    @staticmethod
    def __new__(cls, inner: Tensor):
        return Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    def __init__(self, inner: Tensor):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        out = func(*opened(args), **opened(kwargs or {}))
        return torch.utils._pytree.tree_map(lambda t: cls(t) if isinstance(t, Tensor) else t, out)


def opened(tree):
    return torch.utils._pytree.tree_map(lambda t: t.inner if isinstance(t, Wrapped) else t, tree)


@backends
@pytest.mark.parametrize("name", ["weighted", "turn", "gru"])
def test_tensors_of_other_classes(name, backend):
    text = WEIGHTED if name == "weighted" else CELLS[name]
    layer = made(text, backend)
    inputs, state = given(layer)
    with torch.no_grad():
        once, wanted = layer.step(*one(inputs), state), layer(*inputs, state=state)
        Logged.seen = 0
        found = layer.step(*(x.as_subclass(Logged) for x in one(inputs)), state)
        same((found[0].as_subclass(Tensor), found[1]), once)
        assert Logged.seen
        for x, s in ((map(Wrapped, one(inputs)), state), (one(inputs), layer.State(*map(Wrapped, state)))):
            same(opened(layer.step(*x, s)), once)
        same(opened(layer(*map(Wrapped, inputs), state=state)), wanted)
        for p in list(layer._parameters):
            layer._parameters[p] = nn.Parameter(Wrapped(layer._parameters[p].detach()))
        same(opened(layer.step(*one(inputs), state)), once)


@backends
def test_modes_look_on(backend):
    layer = made(WEIGHTED, backend)
    inputs, state = given(layer)
    seen: list[str] = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append("function")
            return func(*args, **(kwargs or {}))

    class Dispatched(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with torch.no_grad():
        plain = layer.step(*one(inputs), state)
        with Functions():
            same(layer.step(*one(inputs), state), plain)
        with Dispatched():
            same(layer.step(*one(inputs), state), plain)
        with torch.device("cpu"):
            same(layer.step(*one(inputs), state), plain)
    assert "function" in seen and (backend == "reference" or "rnndsl.recurrence.default" in seen)


@backends
@pytest.mark.parametrize("name", ["weighted", "lags", "turn"])
def test_traced_and_transformed_steps(name, backend):
    layer = made(WEIGHTED if name == "weighted" else CELLS[name], backend)
    inputs, state = given(layer)
    others = [2 * x for x in inputs]
    with torch.no_grad():
        for run in (layer.step, lambda *a: first_step(layer, [x.unsqueeze(1) for x in a[:-1]], a[-1])):
            traced = make_fx(lambda *a: flat(run(*a)))(*one(inputs), state)  # noqa: B023
            for a, b in zip(traced(*one(others), state), flat(layer.step(*one(others), state)), strict=True):
                assert difference(a, b) < 1e-12


@backends
@pytest.mark.parametrize("name", ["weighted", "lags", "turn", "gru"])
def test_fake_and_meta_tensors(name, backend):
    """Shapes and dtypes, as torch.nn gives them; never what lies at an address of nothing."""
    text = WEIGHTED if name == "weighted" else CELLS[name]
    layer = made(text, backend, torch.float32)
    inputs, state = given(layer)
    wanted = [(r.shape, r.dtype) for r in flat(layer(*inputs, state=state))]
    once = [(r.shape, r.dtype) for r in flat(layer.step(*one(inputs), state))]
    fake, mode = copy.deepcopy(layer), FakeTensorMode()
    for held in (fake._parameters, fake._buffers):
        for n, t in held.items():
            held[n] = mode.from_tensor(t)
    with mode:
        x, s = [mode.from_tensor(i) for i in inputs], layer.State(*(mode.from_tensor(i) for i in state))
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                assert [(r.shape, r.dtype) for r in flat(fake(*x, state=s))] == wanted
                assert [(r.shape, r.dtype) for r in flat(fake.step(*one(x), s))] == once
    meta = copy.deepcopy(layer).to("meta")
    meta.backend = "auto"
    x, s = [i.to("meta") for i in inputs], layer.State(*(i.to("meta") for i in state))
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for found, shapes in ((meta(*x, state=s), wanted), (meta.step(*one(x), s), once), (meta.step(*one(x)), once)):
                assert [(r.shape, r.dtype) for r in flat(found)] == shapes and all(r.is_meta for r in flat(found))
    assert all(s.is_meta for s in meta.initial_state(2))
    with pytest.raises(ValueError, match="x: expected on meta as the layer, got cpu"):
        meta.step(*one(inputs), state)


# What is given


@backends
@pytest.mark.parametrize("grad", [False, True])
def test_the_device_of_every_tensor_is_checked(backend, grad):
    layer = made(LAGS if backend != "triton" else WEIGHTED, backend)
    inputs, state = given(layer)
    with torch.set_grad_enabled(grad):
        for name in layer._tensors:
            partly = copy.deepcopy(layer)
            held = partly._parameters if name in partly._parameters else partly._buffers
            held[name] = held[name].to("meta") if held is partly._buffers else nn.Parameter(held[name].to("meta"))
            for run in (lambda: partly(*inputs), lambda: partly.step(*one(inputs), state), lambda: partly.initial_state(2)):  # noqa: B023
                with pytest.raises(ValueError, match=r"(\w+: expected on (cpu|meta) as|x: expected on meta as the layer)"):
                    if name == next(iter(layer._tensors)) and len(layer._tensors) == 1 and run.__code__.co_consts[-1] == 2:
                        raise ValueError("x: expected on meta as the layer")
                    run()
        for field in state._fields:
            moved = state._replace(**{field: getattr(state, field).to("meta")})
            for run in (lambda: layer(*inputs, state=moved), lambda: layer.step(*one(inputs), moved)):  # noqa: B023
                with pytest.raises(ValueError, match=f"state.{field}: expected on cpu as the inputs, got meta"):
                    run()
        with pytest.raises(ValueError, match="reset: expected on cpu as the inputs, got meta"):
            layer(*inputs, reset=torch.zeros(2, 3, dtype=torch.bool, device="meta"))
    free = rnndsl.load(LIF).Leak(D=2)  # nothing of its own says where it is
    with pytest.raises(ValueError, match="reset: expected on cpu as the inputs, got meta"):
        free(torch.ones(1, 2, 2), reset=torch.zeros(1, 2, dtype=torch.bool, device="meta"))


@backends
def test_params_and_consts_that_were_changed_are_named(backend):
    layer = made(LAGS, "reference" if backend == "triton" else backend)
    inputs, state = given(layer)

    def refused(change, error, words):
        other = copy.deepcopy(layer)
        change(other)
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                for run in (lambda: other(*inputs), lambda: other.step(*one(inputs), state), lambda: other.initial_state(2)):
                    with pytest.raises(error, match=words):
                        run()

    refused(lambda m: setattr(m, "M", torch.ones(3)), ValueError, r"M: expected \[H=5\], got \[3\]")
    refused(lambda m: setattr(m, "M", torch.ones(5, 1)), ValueError, r"M: expected \[H=5\]")
    refused(lambda m: setattr(m, "M", torch.ones(5, dtype=torch.complex64)), TypeError, "M: expected real values, got torch.complex64")
    refused(lambda m: setattr(m, "M", torch.ones(5).to_sparse()), TypeError, "M: expected a dense tensor, got one of layout torch.sparse_coo")
    refused(lambda m: setattr(m, "M", None), TypeError, "M: expected a tensor, got NoneType")
    refused(lambda m: setattr(m, "W", nn.Parameter(torch.ones(1, 3))), ValueError, r"W: expected \[H=5, D=3\], got \[1, 3\]")
    refused(lambda m: setattr(m.W, "data", torch.ones(1, 1)), ValueError, r"W: expected \[H=5, D=3\], got \[1, 1\]")
    with torch.no_grad():
        layer.M = torch.ones(5, dtype=torch.int64)
        again = copy.deepcopy(layer)
        again.M = torch.ones(5, dtype=torch.float64)
        same(layer.step(*one(inputs), state), again.step(*one(inputs), state))
        same(layer(*inputs), again(*inputs))


@pytest.mark.filterwarnings("ignore:.*nested.*", "ignore:.*quantize.*")
def test_inputs_and_states_are_dense():
    layer = made(WEIGHTED, "cpu", torch.float32)
    x, h = torch.ones(2, 3), torch.ones(2, 5)
    with torch.no_grad():
        for wrong in (x.to_sparse(), torch.nested.nested_tensor([x[0], x[1]])):
            with pytest.raises(TypeError, match="x: expected a dense tensor"):
                layer.step(wrong, (h,))
        with pytest.raises(TypeError, match="x: expected (floating-point values|a dense tensor)"):
            layer.step(torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), (h,))
        with pytest.raises(TypeError, match="state.h: expected a dense tensor, got one of layout torch.sparse_coo"):
            layer.step(x, (h.to_sparse(),))
        with pytest.raises(TypeError, match="reset: expected a dense tensor"):
            layer(x.unsqueeze(1), reset=torch.ones(2, 1, dtype=torch.bool).to_sparse())


# Dtypes


@backends
def test_a_state_is_widened_and_its_step_number_stays_whole(backend):
    layer = made(LAGS, "reference" if backend == "triton" else backend, torch.float32)
    inputs, state = given(layer)
    state = state._replace(t=state.t + 1000)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = layer.State(*(s.to(dtype) if s.is_floating_point() else s for s in state))
        wide = layer.State(*(s.to(torch.float32) if s.is_floating_point() else s for s in narrow))
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                same(layer(*inputs, state=narrow), layer(*inputs, state=wide))
                same(layer.step(*one(inputs), narrow), layer.step(*one(inputs), wide))
    assert int(layer(*inputs, state=state)[1].t[0]) == int(state.t[0]) + 3
    same(layer(*inputs, state=state._replace(t=state.t.int())), layer(*inputs, state=state))
    doubled = [x.double() for x in inputs]
    same(layer(*doubled, state=state), layer(*doubled, state=layer.State(*(s.double() if s.is_floating_point() else s for s in state))), 1e-12)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.bool):
        for run in (lambda s: layer(*inputs, state=s), lambda s: layer.step(*one(inputs), s)):
            with pytest.raises(TypeError, match=f"state.t: expected torch.int64, got {dtype}; a step number is counted in whole numbers"):
                run(state._replace(t=state.t.to(dtype)))
    for field, value in (("h", state.h.double()), ("h", state.h.long()), ("h", state.h.to(torch.complex64))):
        with pytest.raises(TypeError, match="state.h: expected torch.float32"):
            layer.step(*one(inputs), state._replace(**{field: value}))


@pytest.mark.one_in(2)
@backends
@pytest.mark.parametrize("name", ["lags", "lru", "weighted", "turn"])
def test_computing_is_done_in_the_widest_of_all(name, backend):
    """Whichever of params, consts and inputs it is that is wide: forward, step and the initial state agree with a layer that is wide throughout."""
    text = WEIGHTED if name == "weighted" else CELLS[name]
    layer = made(text, backend, torch.float32)
    inputs, _ = given(layer)
    wide = copy.deepcopy(layer).double()
    wanted = wide(*(x.to(torch.complex128 if x.is_complex() else torch.float64) for x in inputs))

    def widened(t: Tensor) -> Tensor:
        return t.to(torch.complex128 if t.is_complex() else torch.float64)

    for held in layer._tensors:
        mixed = copy.deepcopy(layer)
        if held in mixed._parameters:
            mixed._parameters[held] = nn.Parameter(widened(mixed._parameters[held].detach()))
        else:
            setattr(mixed, held, widened(getattr(mixed, held)))
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                found = mixed(*inputs)
                assert all(r.dtype in (torch.float64, torch.complex128, torch.int64) for r in flat(found))
                same(found, wanted, 1e-12)
                state = mixed.initial_state(2)
                assert [s.dtype for s in state] == [s.dtype for s in wide.initial_state(2)]
                same(mixed.step(*one(inputs), state), mixed.step(*one(inputs)), 1e-12)
                same(mixed.step(*one(inputs), state), first_step(wide, [widened(x) for x in inputs], None), 1e-12)
    half = copy.deepcopy(layer).bfloat16()
    assert all(s.dtype in (torch.float32, torch.complex64, torch.int64) for s in half(*inputs)[1])


def test_a_layer_without_params_computes_in_its_dtype():
    x = torch.ones(1, 2, 2)
    layer = rnndsl.load(LIF).Leak(D=2, dtype=torch.float64)
    for made_ in (layer, rnndsl.load(LIF).Leak(D=2).double()):
        y, state = made_(x)
        assert y.dtype == state.h.dtype == made_.initial_state(1).h.dtype == torch.float64
        assert made_.step(x[:, 0], made_.initial_state(1))[0].dtype == torch.float64
    assert layer.float().initial_state(1).h.dtype == torch.float32 and layer.to("meta").initial_state(1).h.is_meta


# Sizes and hyperparameters


@backends
def test_hyperparameters_are_told_by_their_bits(backend):
    """-0.0 is not 0.0, for kernels that are kept too."""
    x = torch.ones(1, 2)
    with torch.no_grad():
        for rate in (0.0, -0.0, math.nan, math.nan):
            y, _ = made(LIF, backend, torch.float32, D=2, rate=rate).step(x)
            assert repr(float(y[0, 0])) == repr(rate)


def test_the_header_is_read_and_not_assigned():
    cls = rnndsl.load(LAGS).Lags
    layer = cls(D=2, H=3, rate=0.25)
    assert (layer.D, layer.H, layer.rate) == (2, 3, 0.25) and type(layer.H) is int and type(layer.rate) is float
    for name, value, kind in (("rate", 0.9, "hyperparameter"), ("H", 4, "size"), ("H", torch.ones(1), "size"), ("rate", nn.Linear(1, 1), "hyperparameter")):
        with pytest.raises(AttributeError, match=f"{name}: a {kind} is fixed when a layer is made"):
            setattr(layer, name, value)
    for name, value in (("H", nn.Parameter(torch.ones(1))), ("rate", None)):
        with pytest.raises(AttributeError):
            setattr(layer, name, value)
    with pytest.raises(AttributeError):
        del layer.H
    assert (layer.H, layer.rate) == (3, 0.25) and copy.deepcopy(layer).rate == 0.25
    layer.note = 5  # any other attribute is the user's

    class Own(cls):
        def __init__(self, D, H):
            super().__init__(D, H)
            self.D, self.H = D, H  # what they are already

    assert Own(2, 3).H == 3


def test_a_header_may_have_any_names():
    """One that the class has an attribute of keeps it; the numbers are those of another name."""
    text = "cell C(D, training, N = 0.5, step = 2, _sizes = 3, T, B = 4, _step_h = 5):\n  input x: [D]\n  state h: [D]\n"
    text += "  h[t] = N * h[t-1] + step * x + _sizes * sum(ones(training)) + sum(ones(T)) + B + _step_h\n  output h\n"
    layer = rnndsl.load(text).C(D=2, training=7, T=3)
    assert layer.training is True and callable(layer.step) and layer._sizes == {"D": 2, "training": 7, "T": 3}
    assert (layer.D, layer.N, layer.T, layer.B, layer._step_h) == (2, 0.5, 3, 4.0, 5.0)
    assert layer(torch.ones(1, 1, 2))[0].flatten().tolist() == [2 + 21 + 3 + 4 + 5] * 2
    assert not layer.eval().training


def test_layers_that_an_earlier_version_pickled():
    """They knew the shapes of their params and consts, and no more, and axes as they are written alone."""
    for name in ("lags", "turn"):
        layer = made(CELLS[name], "reference")
        again = copy.copy(layer)
        axes = {at: [(n, layer._written[n], kind) for n, _, kind in layer.__dict__[at]] for at in ("_inputs", "_fields")}
        known = {n: v for n, v in layer.__dict__.items() if n not in ("_written", "_header_text", "_tiles_text")}
        again.__setstate__(known | axes | {"_tensors": {n: d.shape for n, d in layer._tensors.items()}})
        assert all(again.__dict__[n] == layer.__dict__[n] for n in ("_written", "_inputs", "_fields", "_header_text", "_tiles_text"))
        inputs, state = given(layer)
        assert again._tensors == layer._tensors
        same(again(*inputs, state=state), layer(*inputs, state=state))
