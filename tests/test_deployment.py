"""Ways out of the process: what docs/deployment.md says of them beyond what its blocks show."""

import warnings

import pytest
import torch

import rnndsl
from rnndsl.nn import Recurrent
from rnndsl.runtime import build
from tests.zoo_cells import ZOO

GRU = ZOO["GRU"].text


def standalone():
    scope: dict = {"__name__": "standalone_gru"}
    exec(compile(rnndsl.compile(GRU, standalone=True), "standalone_gru.py", "exec"), scope)
    return scope["GRU"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_script_is_refused_by_name():
    for model in (rnndsl.load(GRU).GRU(D=3, H=4), standalone()(D=3, H=4), torch.nn.Sequential(Recurrent(rnndsl.load(GRU).GRU, {"D": 3, "H": 4}))):
        with pytest.raises(TypeError, match=r"GRU: torch\.jit\.script cannot read it; torch\.export\.export takes it"):
            torch.jit.script(model)


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("steps", [1, 5])
def test_traced_layers_take_any_batch(steps):
    """And no other number of steps, fewer or more: kernels would read beyond an end, and what one step makes would be taken for that of all."""
    layer = rnndsl.load(GRU).GRU(D=3, H=4, backend="cpu")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(layer, (torch.randn(2, steps, 3),))
        for batch in (1, 2, 4):
            x = torch.randn(batch, steps, 3)
            torch.testing.assert_close(traced(x), tuple(layer(x)))
        for others in (steps - 1, steps + 1):
            with pytest.raises(RuntimeError, match=f"T={steps}.* was given a sequence .*torch.export.export takes any"):
                traced(torch.randn(2, others, 3))


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
def test_traced_layers_take_no_other_sizes():
    """A kernel knows them, and would read beyond the end of what is smaller."""
    layer = rnndsl.load("cell Mean(D):\n  input x: [D]\n  state h: [D]\n  h[t] = 0.5 * h[t-1] + x\n  output h\n").Mean(D=6, backend="cpu")
    x, state = torch.randn(2, 3, 6), layer.State(torch.randn(2, 6))
    traced = torch.jit.trace(layer, (x, state), check_trace=False)
    torch.testing.assert_close(traced(x, state), tuple(layer(x, state)))
    for wrong in ((x[..., :4], state), (x[..., :1], state), (x, layer.State(state.h[:, :4])), (x, layer.State(state.h[:1]))):
        with pytest.raises(RuntimeError):
            traced(*wrong)


def test_standalone_layers_are_exported_with_a_number_of_steps():
    layer = standalone()(D=3, H=4)
    program = torch.export.export(layer, (torch.randn(2, 4, 3),), dynamic_shapes={"inputs": ({0: torch.export.Dim("B")},)})
    x = torch.randn(5, 4, 3)
    torch.testing.assert_close(program.module()(x)[0], layer(x)[0])
    assert not any("rnndsl" in str(n.target) for n in program.graph.nodes)


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
def test_a_model_over_ragged_sequences_is_exported_whole(monkeypatch):
    """An embedding, both directions, lengths and a head, with any batch and number of steps."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.net, self.head = torch.nn.Embedding(10, 3), Recurrent(rnndsl.load(GRU).GRU, {"D": 3, "H": 4}, bidirectional=True), torch.nn.Linear(8, 5)

        def forward(self, words, lengths):
            return self.head(self.net(self.words(words), lengths=lengths)[0])

    model, batch = Tagger().eval(), torch.export.Dim("B")
    example = (torch.randint(0, 10, (2, 5)), torch.tensor([5, 3]))
    program = torch.export.export(model, example, dynamic_shapes=({0: batch, 1: torch.export.Dim("T")}, {0: batch}))
    words, lengths = torch.randint(0, 10, (4, 9)), torch.tensor([9, 1, 0, 4])
    torch.testing.assert_close(program.module()(words, lengths), model(words, lengths))
