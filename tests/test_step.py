"""Single steps without gradients, by a kernel, against sequences and the reference: every cell, every backend that has such a kernel."""

import copy
import inspect
import pickle
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

import rnndsl
from rnndsl.runtime import build
from rnndsl.runtime.backend import BACKENDS
from tests.agreement import ODD, difference, random_inputs
from tests.renaming import CELLS, cell_of
from tests.zoo_cells import ZOO

TEXTS = CELLS | {f"made/{name}": e.text for name, e in ZOO.items() if e.text not in CELLS.values()}


@cache
def class_of(text: str) -> type:
    return getattr(rnndsl.load(text), cell_of(text))


def layer_of(text: str, backend: str) -> nn.Module:
    """A cell's layer in float64, with random values that are the same on every backend, also of consts that are left to the user."""
    known = inspect.signature(class_of(text)).parameters
    sizes = {n: ODD.get(n, 3) for n, p in known.items() if p.default is p.empty}
    torch.manual_seed(0)
    layer = class_of(text)(**sizes, dtype=torch.float64, backend=backend).eval()
    with torch.no_grad():
        for v in (*layer.parameters(), *layer.buffers()):
            v.add_(0.3 * torch.randn_like(v))
    return layer


def run(layer: nn.Module, inputs: list[Tensor], state: list[Tensor], single: bool) -> dict[str, Tensor]:
    """Outputs [B, T, ...] and the last state, of a sequence or of single steps."""
    with torch.no_grad():
        if not single:
            y, end = layer(*inputs, state=state)
            outputs = y if isinstance(y, tuple) else (y,)
        else:
            each = []
            end = tuple(state)
            for t in range(inputs[0].shape[1]):
                y, end = layer.step(*(x[:, t] for x in inputs), end)
                each.append(y if isinstance(y, tuple) else (y,))
            outputs = tuple(torch.stack(v, 1) for v in zip(*each, strict=True))
    return {f"output {i}": v for i, v in enumerate(outputs)} | {f"state {n}": v for n, v in zip(layer.State._fields, end, strict=True)}


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("name", TEXTS)
def test_steps_are_those_of_a_sequence(name, monkeypatch):
    steps_of(name, "cpu", 3, 4, monkeypatch)


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", TEXTS)
def test_steps_in_triton_are_those_of_a_sequence(name, monkeypatch):
    """Kernels of channels, and of tiles where channels meet."""
    pytest.importorskip("triton")
    steps_of(name, "triton", 3, 2, monkeypatch)


def steps_of(name: str, backend: str, batch: int, steps: int, monkeypatch) -> None:
    """From a given state; where the layer has a kernel for a step, every step is made by it."""
    text = TEXTS[name]
    kernels = class_of(text)._kernels[backend]
    there = kernels.step is not None
    if kernels.refused or not kernels.kernels or (backend == "triton" and not there):
        pytest.skip("it has no such kernels")
    reference, layer = layer_of(text, "reference"), layer_of(text, backend)
    running = BACKENDS[backend]
    made = []
    step = running.step

    def again(found, *tensors):
        made.append(found)
        return found.again(*tensors)

    def watched(*arguments, **named):
        made.append(found := step(*arguments, **named))
        return found and found._replace(again=found.again and partial(again, found))

    monkeypatch.setattr(running, "step", watched)
    inputs = [x.detach() for x in random_inputs(reference, batch, steps)]
    torch.manual_seed(1)
    state = [s + 0.3 * torch.randn_like(s) if s.dtype != torch.int64 else s + 5 for s in reference.initial_state(batch)]
    before = [s.clone() for s in state]
    wanted = run(reference, inputs, state, single=False)
    assert not made
    for single in (False, True):
        got = run(layer, inputs, state, single)
        for n in wanted:
            assert difference(got[n], wanted[n]) < 1e-9, (n, single)
    assert [found is not None for found in made] == [there] * steps
    assert all(torch.equal(*pair) for pair in zip(state, before, strict=True))  # nothing was changed in place


def test_nearly_every_cell_has_a_kernel_for_a_step():
    """Else the test above would show little."""
    found = [class_of(text) for text in CELLS.values()]
    assert sum(c._kernels["cpu"].step is not None for c in found) > 0.85 * len(found)
    assert sum(c._kernels["triton"].step is not None for c in found) > 0.95 * len(found)


PROGRAM = """cell Some(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param a: [H] in (0, 1)
  const m: [H] = ones(H)
  h[t] = a * h[t-1] + tanh(W @ x + R @ h[t-1] + m * h[t-2])
  output h
"""


def replaced(layer, name, value):
    delattr(layer, name)
    setattr(layer, name, value)


def swapped(layer):
    layer.W.data = layer.W.data.t().contiguous().t()


def hooked(layer):
    layer.register_forward_hook(lambda module, given, found: (found[0] + 1, found[1]))


def reduced(layer):
    torch.nn.utils.parametrizations.weight_norm(layer, "W")


# What may happen to a layer after a step, before the next one: each must show in it, as it does in a sequence.
CHANGES = {
    "nothing": lambda layer: None,
    "values in place": lambda layer: layer.R.data.mul_(-2),
    "a constrained param": lambda layer: setattr(layer, "a", torch.full_like(layer.a, 0.25)),
    "other memory": lambda layer: setattr(layer.R, "data", layer.R.data * 3),
    "other strides": swapped,
    "columns of a matrix in the same memory": lambda layer: setattr(layer.R, "data", layer.R.data.t()),
    "a plain tensor": lambda layer: replaced(layer, "W", torch.ones_like(layer.W.data)),
    "a parametrization": reduced,
    "load_state_dict": lambda layer: layer.load_state_dict({n: v + 0.5 for n, v in layer.state_dict().items()}, assign=True),
    "a buffer": lambda layer: setattr(layer, "m", torch.full_like(layer.m, -1)),
    "a hook": hooked,
    "float64": lambda layer: layer.double(),
    "half params": lambda layer: layer.bfloat16(),
    "another backend": lambda layer: setattr(layer, "backend", "reference"),
    "another schedule": lambda layer: setattr(layer, "schedule", "newton"),
    "another forward": lambda layer: setattr(layer, "forward", lambda *x, state=None: (x[0] * 0, state)),
}


@pytest.fixture
def kernels(monkeypatch):
    """Steps are made by kernels."""
    if build.compiler() is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.delenv("RNNDSL_BACKEND")


def some_layer() -> nn.Module:
    torch.manual_seed(0)
    return rnndsl.load(PROGRAM).Some(D=3, H=3)


def values(found) -> list[Tensor]:
    y, state = found
    return [y, *state]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_since_the_last_step_counts(change, kernels):
    layer, x = some_layer(), torch.randn(2, 3)
    with torch.no_grad():
        state = layer.initial_state(2)
        for _ in range(3):
            _, state = layer.step(x, state)
        assert layer._seen is not None
        CHANGES[change](layer)
        wanted = layer(x.unsqueeze(1), state=state)
        for _ in range(2):
            got = layer.step(x, state)
            assert got[0].dtype == wanted[0].dtype
            assert all(difference(a, b) < 1e-6 for a, b in zip(values(got), [wanted[0].squeeze(1), *wanted[1]], strict=True))


# Arguments of a step behind one that was made of plain ones.
GIVEN = {
    "another batch": lambda x, s: (x[:1], type(s)(*(v[:1] for v in s))),
    "no sequence": lambda x, s: (x[:0], type(s)(*(v[:0] for v in s))),
    "a list": lambda x, s: (x, list(s)),
    "columns of something": lambda x, s: (torch.randn(3, 2).t(), s),
    "a row for all": lambda x, s: (x[:1].expand(2, 3), s),
    "a sign to be turned": lambda x, s: (torch.view_as_complex(torch.randn(2, 3, 2)).conj().imag, s),
    "float64": lambda x, s: (x.double(), s),
    "half": lambda x, s: (x.bfloat16(), s),
    "a param": lambda x, s: (nn.Parameter(x), s),
    "the initial state": lambda x, s: (x, None),
    "the same tensor twice": lambda x, s: (x, type(s)(s[0], s[0])),
}


@pytest.mark.parametrize("given", GIVEN)
def test_steps_of_further_arguments(given, kernels):
    layer, x = some_layer(), torch.randn(2, 3)
    with torch.no_grad():
        _, state = layer.step(x, layer.initial_state(2))
        x, state = GIVEN[given](x, state)
        before = [v.clone() for v in (x, *(state or ()))]
        wanted = layer(x.unsqueeze(1), state=state)
        got = layer.step(x, state)
    assert all(a.dtype == b.dtype and difference(a, b) < 1e-6 for a, b in zip(values(got), [wanted[0].squeeze(1), *wanted[1]], strict=True))
    got[0].fill_(7)
    for v in got[1]:
        v.fill_(7)
    assert all(torch.equal(a, b) for a, b in zip((x, *(state or ())), before, strict=True))  # results are nobody else's memory


def freed(x: Tensor) -> Tensor:
    x = x.clone()
    x.untyped_storage().resize_(0)
    return x


WRONG = {
    "another width": (lambda x, s: (x[:, :2], s), ValueError),
    "another batch of states": (lambda x, s: (x[:1], s), ValueError),
    "a tensor for a state": (lambda x, s: (x, torch.stack(tuple(s))), TypeError),
    "too few fields": (lambda x, s: (x, tuple(s)[:1]), ValueError),
    "numbers": (lambda x, s: (x.long(), s), TypeError),
    "sparse": (lambda x, s: (x.to_sparse(), s), TypeError),
    "no tensor": (lambda x, s: (x.tolist(), s), TypeError),
    "meta": (lambda x, s: (x.to("meta"), s), ValueError),
    "memory that was freed": (lambda x, s: (freed(x), s), RuntimeError),
}


@pytest.mark.parametrize("given", WRONG)
def test_wrong_arguments_behind_a_step(given, kernels):
    """They say what they say in a first step."""
    layer, x = some_layer(), torch.randn(2, 3)
    make, error = WRONG[given]
    said = []
    with torch.no_grad():
        state = layer.initial_state(2)
        for steps in (0, 2):
            for _ in range(steps):
                layer.step(x, state)
            with pytest.raises(error) as raised:
                layer.step(*make(x, state))
            said.append(str(raised.value))
    assert said[0] == said[1] or error is RuntimeError


def test_gradients_modes_and_copies_behind_a_step(monkeypatch, kernels):
    layer, x = some_layer(), torch.randn(2, 3)
    with torch.no_grad():
        state = layer.initial_state(2)
        plain = values(layer.step(x, state))
        for copied in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
            assert all(map(torch.equal, values(copied.step(x, state)), plain))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wanted, _ = layer(x.unsqueeze(1), state=state)
            assert torch.equal(layer.step(x, state)[0], wanted.squeeze(1))
        y = torch.func.vmap(lambda v: layer.step(v, state)[0])(torch.stack([x, 2 * x]))
        assert difference(y[0], plain[0]) < 1e-6
        monkeypatch.setenv("RNNDSL_BACKEND", "reference")
        assert layer._settings() != layer._seen.settings
        monkeypatch.setenv("RNNDSL_BACKEND", "nonsense")
        with pytest.raises(ValueError, match="RNNDSL_BACKEND"):
            layer.step(x, state)
    monkeypatch.delenv("RNNDSL_BACKEND")
    with torch.inference_mode():
        assert layer.step(x, state)[0].is_inference()
    assert layer.step(x, state)[0].requires_grad  # outside of no_grad again
