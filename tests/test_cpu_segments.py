"""C++ kernels that keep a matrix state of every so-manieth step, and make those between again."""

import inspect
from itertools import chain

import pytest
import torch

import rnndsl
from rnndsl.runtime import build, recurrence
from rnndsl.runtime.call import Call
from rnndsl.runtime.cpu import invoke
from tests.agreement import against_reference, assert_close
from tests.zoo_cells import ZOO

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")

SIZE, STEPS = 12, 37  # a state of 1,152 bytes is large enough; two segments of 16 steps, and some
CELLS = "DeltaNet GatedDeltaNet GLA HGRN2 KDA LinearAttention Longhorn Mamba2 MLSTM RetNet RWKV6 RWKV7 Titans".split()


def class_of(name: str):
    return getattr(rnndsl.load(ZOO[name].text), name)


def sizes_of(name: str) -> dict[str, int]:
    return {n: SIZE for n, p in inspect.signature(class_of(name)).parameters.items() if p.default is p.empty}


def has_segments(name: str) -> bool:
    return any(k.segments for k in class_of(name)._kernels["cpu"].kernels.values())


@pytest.fixture
def gla():
    torch.manual_seed(0)
    layer = class_of("GLA")(**sizes_of("GLA"), dtype=torch.float64, backend="cpu")
    return layer, torch.randn(2, STEPS, SIZE, dtype=torch.float64, requires_grad=True), torch.rand(2, STEPS) < 0.1


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", CELLS)
def test_segments_agree_with_the_reference(name):
    assert has_segments(name)
    assert_close(against_reference(ZOO[name].text, name, sizes_of(name), 2, STEPS), 1e-9)


@pytest.mark.parametrize("name", ["FastWeights", "M2RNN", "Mamba"])
def test_states_that_are_put_out_or_take_long_are_kept(name):
    """One is an output, and the others take a product with a matrix of params, and an exp for every entry."""
    assert not has_segments(name)


@pytest.mark.parametrize("steps", [0, 1, 16, 17])
def test_ends_of_segments(steps):
    assert_close(against_reference(ZOO["GLA"].text, "GLA", sizes_of("GLA"), 2, steps), 1e-9)


def test_exported_with_any_number_of_steps(gla):
    """Also more than a segment has; the states of all steps are kept."""
    layer, x, _ = gla
    dims = {"inputs": ({0: torch.export.Dim("B"), 1: torch.export.Dim("T")},)}
    program = torch.export.export(layer, (x[:, :5].detach().contiguous(),), dynamic_shapes=dims).module()
    torch.testing.assert_close(program(x), layer(x))


def test_states_of_all_steps_and_threads_change_no_bit(gla, monkeypatch):
    layer, x, reset = gla
    found = []
    for threads, more in ((1, {}), (1, {"all_states": True}), (3, {})):
        monkeypatch.setattr(invoke, "threads", lambda work, threads=threads: threads)
        y, last, *states = layer(x, reset=reset, **more)
        found.append((y, last.S, *torch.autograd.grad(y.sin().sum() + last.S.sum(), [x, *layer.parameters()])))
        assert all(s["S"].shape[1] == STEPS and torch.equal(s["S"][:, -1], last.S) for s in states)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_what_is_kept_and_its_derivatives(gla, monkeypatch):
    """States of the ends of segments. No layer asks for their gradients, but the op has them."""
    layer, x, reset = gla
    calls, op = [], recurrence.OP
    monkeypatch.setattr(recurrence, "OP", lambda *arguments: calls.append(arguments) or op(*arguments))
    layer(x, reset=reset)
    ((key, *groups, _, steps),) = calls
    groups = [[t.detach().requires_grad_() for t in g] for g in groups]
    found = op(key, *groups, reset, steps)
    want = list(chain.from_iterable(recurrence.known(key).reference(Call(*groups, reset, steps))))
    assert found[0].shape == (2, STEPS // 16, SIZE, SIZE, SIZE)
    leaves = list(chain.from_iterable(groups))
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(*(torch.autograd.grad(sum(r.sin().sum() for r in results), leaves) for results in (found, want)))
