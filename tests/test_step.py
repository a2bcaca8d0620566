"""Single steps without gradients, by a kernel, against sequences and the reference: every cell, every backend that has such a kernel."""

import inspect
from functools import cache

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

    def watched(*arguments, **named):
        made.append(step(*arguments, **named))
        return made[-1]

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
