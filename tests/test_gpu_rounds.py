"""Rounds of Newton's method in Triton, where channels meet inside a step: against the reference in float64, in Triton's interpreter or on a GPU."""

from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.compiler import compiled
from rnndsl.devices import USUAL, of_architecture
from rnndsl.diagnostics import Source
from rnndsl.kernel.build import Refusal
from rnndsl.kernel.row_stages import row_stages, with_residual
from rnndsl.kernel.row_steps import row_steps
from rnndsl.kernel.verify import verify
from rnndsl.runtime.choice import backend_for
from rnndsl.runtime.torch import newton
from rnndsl.runtime.triton import rounds
from tests.agreement import against_reference, assert_close, layer_of, random_inputs, sizes_of, some_resets
from tests.test_rounds import LAGS
from tests.test_tiles import MADE, TILED, cell_of
from tests.test_triton import DEVICE, example, kernels_of, needs_numpy
from tests.zoo_cells import ZOO

pytestmark = needs_numpy
ROOT = Path(__file__).resolve().parent.parent


def compare(text: str, cell: str, batch: int, steps: int, tolerance: float = 1e-10, **more) -> None:
    """Outputs, states and all gradients, from a given state, with resets."""
    found = against_reference(text, cell, sizes_of(text, cell), batch, steps, backend="triton", schedule="newton", device=DEVICE, **more)
    assert_close(found, tolerance)


def gpu_layer(name: str, **settings) -> torch.nn.Module:
    return layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name), backend="triton", schedule="newton", **settings).to(DEVICE)


def test_nothing_published_is_refused():
    assert {name: why for name in TILED if (why := kernels_of(ZOO[name].text, name).unrounded)} == {}
    assert all(kernels_of(ZOO[name].text, name).rounds for name in TILED)


@pytest.mark.parametrize("name", TILED[::5])
def test_stages(name):
    """They are legal graphs; no product with a matrix is left in one but in a loop."""
    (kernels,) = compiled(Source(name, ZOO[name].text)).kernels
    for r in kernels.recurrences:
        assert not isinstance(r.newton, Refusal)
        steps = row_steps(r.newton)
        for step in (with_residual(steps.look, 1), steps.linear, steps.pull):
            *earlier, last = row_stages(step)
            assert last.products == () and [a for a, _ in last.step.outputs] == [a for a, _ in step.outputs]
            assert all(stage.products for stage in earlier)
            for stage in (*earlier, last):
                nodes = stage.step.builder.nodes
                verify(nodes, name)
                products = [n for n in nodes if n.op == "product" and any(nodes[a].op == "static" and len(nodes[a].shape) > 1 for a in n.args)]
                assert not products or any(n.op in ("loop", "loop_back") for n in nodes)


@pytest.mark.one_in(20)
@pytest.mark.parametrize("name", TILED)
def test_published_cells_agree_with_the_reference(name):
    compare(ZOO[name].text, name, 1, 3)


@pytest.mark.parametrize("name", ["MGU", "SLSTM"])
def test_some_at_every_run(name):
    compare(ZOO[name].text, name, 2, 2)


@pytest.mark.parametrize("name", MADE)
def test_made_cells_agree_with_the_reference(name):
    compare(MADE[name], cell_of(MADE[name]), 1, 3)


def test_lags_resets_chunks_and_windows(monkeypatch):
    """Values of several steps ago, of two shapes, in chunks of few steps, of which solved ones leave."""
    monkeypatch.setattr(newton, "_VALUES", 150)
    compare(LAGS, "C", 1, 6)


def test_a_scan_of_more_steps_than_a_program_has_at_a_time(monkeypatch):
    """As many rounds as in PyTorch's operations, at most."""
    monkeypatch.setattr(rounds, "_LANES", 4)
    layer = gpu_layer("CoRNN")
    inputs, reset = [x.to(DEVICE) for x in random_inputs(layer, 1, 7)], some_resets(1, 7).to(DEVICE)
    reset[:, 2:] = False
    found = []
    for backend in ("triton", "torch"):
        layer.backend = backend
        y, _ = layer(*inputs, reset=reset)
        found.append((y, *torch.autograd.grad(y.square().sum(), list(layer.parameters())), layer.solve_report()[0].rounds))
        assert layer.solve_report()[0].schedule == "newton"
    *values, counts = zip(*found, strict=True)
    assert counts[0] <= counts[1]
    for a, b in values:
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.detach().abs().max()))


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (1, 1), (9, 2)])
def test_small_calls(batch, steps):
    layer = gpu_layer("ATR")
    x = random_inputs(layer, batch, steps)[0].detach().to(DEVICE)
    y, _ = layer(x)
    layer.schedule = "sequential"
    torch.testing.assert_close(y, layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(dtype, monkeypatch):
    """Where streams are half, which kernels read as they are, everything else is float32."""
    layer = gpu_layer("ATR", dtype=torch.float32)
    read = []
    given = rounds.TritonRounds.given
    monkeypatch.setattr(rounds.TritonRounds, "given", lambda self, call: (read.append(call.streams[0].dtype), given(self, call))[1])
    x = random_inputs(layer, 2, 2)[0].detach().to(DEVICE, dtype)
    found = []
    for backend in ("triton", "reference"):
        layer.backend = backend
        leaf = x.clone().requires_grad_()
        y, _ = layer(leaf)
        found.append([y, *torch.autograd.grad(y.float().square().sum(), [leaf, *layer.parameters()])])
    assert set(read) == {dtype}
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got.float(), want.float(), rtol=2e-5 if dtype == torch.float32 else 0.05, atol=2e-5 if dtype == torch.float32 else 0.1)


def test_what_is_not_finite_stays_where_it_is():
    """What stands before a step without a number is solved, and so is what comes behind a reset."""
    layer = gpu_layer("ATR")
    x = random_inputs(layer, 2, 4)[0].detach().to(DEVICE)
    x[1, 1, 2] = float("nan")
    reset = torch.zeros(2, 4, dtype=torch.bool, device=DEVICE)
    reset[:, 3] = True
    y, _ = layer(x, reset=reset)
    layer.backend = "reference"
    torch.testing.assert_close(y, layer(x, reset=reset)[0], equal_nan=True, rtol=1e-9, atol=1e-10)


def test_a_guess():
    layer = gpu_layer("ATR")
    x = random_inputs(layer, 2, 4)[0].detach().to(DEVICE)
    y, _, states = layer(x, all_states=True)
    torch.testing.assert_close(layer(x, guess={"h": states["h"] * 1e30})[0], y, rtol=1e-9, atol=1e-10)
    layer(x, guess=states)
    assert layer.solve_report()[0].rounds == 1


def test_compiled():
    layer = gpu_layer("ATR")
    x = random_inputs(layer, 1, 2)[0].to(DEVICE)
    together = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(together(x)[0], layer(x)[0])


def test_what_a_program_cannot_hold_is_left_to_others(monkeypatch):
    """And says so where it was asked for by name."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    text = "cell Far(H):\n  input x: [H]\n  state h: [H]\n  param R: [H, H]\n  h[t] = tanh(R @ h[t-1] + 0.1 * h[t-7] + x)\n  output h\n"
    layer = rnndsl.load(text).Far(3, schedule="newton")
    assert kernels_of(text, "Far").unrounded == {"h": "a block of 7 values a channel"}
    assert backend_for(layer, "h", torch.device("cuda"), (1, 64)).name == "torch"
    layer.backend = "triton"
    with pytest.warns(UserWarning, match="schedule: Far: `h` runs sequentially, with the same numbers: 'triton' has no newton for it: a block of 7 values a channel"):
        layer.to(DEVICE)(torch.randn(1, 2, 3, device=DEVICE))


def test_large_matrices_in_loops_are_left_to_pytorch(monkeypatch):
    """At 64 channels a program has those of RHN in registers, at 256 it has not."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    taken = []
    for width in (64, 256):
        sizes = sizes_of(ZOO["RHN"].text, "RHN") | {"H": width}
        layer = layer_of(ZOO["RHN"].text, "RHN", sizes, backend="auto", schedule="newton", device="meta")
        taken.append(backend_for(layer, next(iter(kernels_of(ZOO["RHN"].text, "RHN").rounds)), torch.device("cuda"), (1, 64)).name)
    assert taken == ["triton", "torch"]


@pytest.mark.parametrize(
    ("width", "schedule", "steps", "runs"), [(8, "auto", 64, "sequential"), (256, "auto", 4096, "newton"), (256, "sequential", 4096, "sequential"), (8, "newton", 64, "newton")]
)
def test_what_a_gpu_takes(width, schedule, steps, runs, monkeypatch):
    """What the model of a device predicts to be quickest, unless a schedule is asked for."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    monkeypatch.setattr("rnndsl.runtime.torch.backend.device_of", lambda device: of_architecture(USUAL))
    layer = rnndsl.load(example("gru")[0]).GRU(3, width, schedule=schedule)
    taken = backend_for(layer, "h", torch.device("cuda"), (1, steps))
    assert taken.name == "triton"
    assert taken._schedule(layer, "h", {"dtype": torch.float32, "device": torch.device("cuda")}, (1, steps)) == runs


def test_golden_rounds(accept):
    """The rounds of a GRU, as people would read them."""
    found = compiled(Source("gru.rnn", (ROOT / "examples" / "gru.rnn").read_text(encoding="utf-8"))).carried[0]["triton"].texts["rows"]
    golden = ROOT / "tests" / "golden" / "kernels" / "gru.rounds.triton.txt"
    if accept:
        golden.write_text(found, encoding="utf-8", newline="\n")
    assert found == golden.read_text(encoding="utf-8")


def test_a_diagonal_of_a_slice_is_read_without_its_matrix():
    """RHN's rounds multiply by the diagonals of R[k] in a loop: a matrix of them all would lie in registers, and most of it in memory behind."""
    found = compiled(Source("rhn", ZOO["RHN"].text)).carried[0]["triton"].texts["rows"]
    assert "(H_ + 1,)" in found and "diagonal_of" not in found
