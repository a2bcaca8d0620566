"""Steps by stages in Triton, a kernel for each and products of matrices between them: against the reference in float64, in Triton's interpreter or on a GPU."""

from dataclasses import replace

import pytest
import torch

import rnndsl
from rnndsl import costs
from rnndsl.checks.dims import Dim
from rnndsl.compiler import compiled
from rnndsl.devices import USUAL, of_architecture
from rnndsl.diagnostics import Source
from rnndsl.kernel.build import Refusal
from rnndsl.kernel.choice import predict
from rnndsl.kernel.row_work import row_work_of
from rnndsl.runtime.choice import backend_for
from rnndsl.runtime.key import made_of
from rnndsl.runtime.triton import graphs, stages, tile_launch
from rnndsl.runtime.triton.backend import _has_rounds, _sequential
from tests.agreement import against_reference, assert_close, layer_of, random_inputs, sizes_of, some_resets
from tests.stages import SIZES, program
from tests.test_rounds import LAGS
from tests.test_tiles import MADE, TILED, cell_of
from tests.test_triton import DEVICE, example, needs_numpy
from tests.zoo_cells import ZOO

pytestmark = needs_numpy
LOOPS = ["RHN", "HouseholderRNN", "DeltaProduct"]  # whose rounds of a loop multiply by slices of a param: each is a part of a step
ROUNDS = ["perhaps no round", "swap", "two, one after the other", "counter in arithmetic", "complex", "read before it is bound again"]
SPREAD = ["GRUv1", "MGU", "SLSTM", "LMU", "LayerNormLSTM", "FastWeights", "PublishedSLSTM", "M2RNN", "Titans"]


@pytest.fixture
def runs(monkeypatch):
    """How many steps each run of stages had."""
    found = []
    for name in ("_forward", "_backward"):
        whole = getattr(stages, name)
        monkeypatch.setattr(stages, name, lambda *given, whole=whole: (found.append(given[-1][0].shape[1]), whole(*given)))
    return found


@pytest.fixture
def recorded(monkeypatch):
    """CUDA graphs of which everything runs here but the recording: a graph runs what was to be recorded, on the memory of its own."""
    made = []

    def record(memory, work, device):
        own = memory()
        made.append(graphs.Graph(*own, lambda: work(*own)))
        return made[-1]

    monkeypatch.setattr(graphs, "recorded", record)
    monkeypatch.setattr(graphs.Graphs, "serve", lambda self, device: True)
    return made


def compare(text: str, cell: str, batch: int, steps: int, **tiles: int) -> None:
    """Outputs, states and all gradients, from a given state, with resets."""
    tiles = {"stages": 1} | tiles
    assert_close(against_reference(text, cell, sizes_of(text, cell), batch, steps, backend="triton", schedule="sequential", device=DEVICE, tiles=tiles), 1e-10)


def staged_layer(name: str, **settings) -> torch.nn.Module:
    layer = layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name), backend="triton", schedule="sequential", **settings).to(DEVICE)
    layer.tiles = {"stages": 1}
    return layer


def test_all_have_stages():
    for name in TILED:
        (kernels,) = compiled(Source(name, ZOO[name].text)).kernels
        found = [row_work_of(r.newton).step for r in kernels.recurrences if isinstance(r.channel, Refusal) and not isinstance(r.newton, Refusal)]
        assert all(step != Dim.of(0) for step in found), name
        assert any("L" in step.names for step in found) == (name in LOOPS), name


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", TILED)
def test_published_cells_agree_with_the_reference(name, runs):
    compare(ZOO[name].text, name, 2, 3)
    assert set(runs) == {3}


@pytest.mark.parametrize("name", ROUNDS)
def test_rounds_of_loops(name, runs):
    text = program(name)
    sizes = SIZES | ({"L": 1} if name == "perhaps no round" else {})
    assert_close(against_reference(text, "C", sizes, 2, 2, backend="triton", schedule="sequential", device=DEVICE, tiles={"stages": 1}), 1e-10)
    assert set(runs) == {2}


@pytest.mark.parametrize("name", [*SPREAD, *LOOPS])
def test_some_at_every_run(name, runs):
    compare(ZOO[name].text, name, 1, 2)
    assert set(runs) == {2}


@pytest.mark.parametrize("name", MADE)
def test_made_cells_agree_with_the_reference(name, runs):
    compare(MADE[name], cell_of(MADE[name]), 3, 4)
    assert runs


@pytest.mark.parametrize("cell", ["lags", "RHN"])
def test_runs_of_so_many_steps_are_graphs(cell, recorded, runs, monkeypatch):
    """From the second of a look on, in memory of their own; lags, two shapes, resets, chunks backwards; what is left over runs as it is."""
    monkeypatch.setattr("rnndsl.runtime.torch.newton._VALUES", 150)
    text, name, count = (LAGS, "C", 4) if cell == "lags" else (ZOO[cell].text, cell, 2)
    compare(text, name, 2, 9, graph=2)
    assert len(recorded) == count  # of each recurrence, forwards and backwards
    assert {1, 2} <= set(runs)
    assert all(len(g.made[0][0]) == 2 for g in recorded)
    assert all(not t.is_set_to(u) for g in recorded for h in recorded if g is not h for t in g.made for u in h.made)


def test_graphs_of_other_params_and_looks(recorded):
    """Layers of one class share graphs, whose memory holds nothing of the last call that the next one reads."""
    found = []
    x = torch.randn(2, 7, 3, device=DEVICE, dtype=torch.float64)
    for seed in range(3):
        torch.manual_seed(seed)
        layer = staged_layer("LSTM")
        for tiles in ({"stages": 1, "graph": 2}, {"stages": 1, "graph": 0}):
            layer.tiles = tiles
            y, _ = layer(x[: 2 - seed % 2])
            found.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
    assert 0 < len(recorded) <= 4
    for by_graphs, plainly in zip(found[::2], found[1::2], strict=True):
        torch.testing.assert_close(by_graphs, plainly)


def test_few_graphs_are_kept(recorded, monkeypatch):
    monkeypatch.setattr(graphs, "_MOST", 2)
    layer = staged_layer("ATR")
    layer.tiles = {"stages": 1, "graph": 1}
    for batch in (1, 2, 3, 1):
        x = torch.randn(batch, 3, 3, device=DEVICE, dtype=torch.float64)
        with torch.no_grad():
            y, _ = layer(x)
        layer.backend = "reference"
        torch.testing.assert_close(y, layer(x)[0])
        layer.backend = "triton"
    assert len(recorded) == 4


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (1, 1), (9, 2)])
def test_small_calls(batch, steps):
    layer = staged_layer("ATR")
    x = random_inputs(layer, batch, steps)[0].detach().to(DEVICE).requires_grad_()
    y, state = layer(x)
    found = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    layer.backend = "reference"
    want, end = layer(x)
    torch.testing.assert_close((y, *state), (want, *end))
    if want.numel():
        torch.testing.assert_close(found, torch.autograd.grad(want.sum(), [x, *layer.parameters()]))
    else:
        assert not any(g.any() for g in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(dtype):
    """Where streams are half, everything else is float32."""
    layer = staged_layer("GRU", dtype=torch.float32)
    x = random_inputs(layer, 2, 3)[0].detach().to(DEVICE, dtype)
    found = []
    for backend in ("triton", "reference"):
        layer.backend = backend
        leaf = x.clone().requires_grad_()
        y, _ = layer(leaf, reset=some_resets(2, 3).to(DEVICE))
        found.append([y, *torch.autograd.grad(y.float().square().sum(), [leaf, *layer.parameters()])])
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got.float(), want.float(), rtol=2e-5 if dtype == torch.float32 else 0.05, atol=2e-5 if dtype == torch.float32 else 0.1)


def test_pytorch_asks_what_it_likes():
    """Compiled whole, without gradients, of some params alone, of a gradient again, under vmap."""
    layer = staged_layer("ATR")
    x = random_inputs(layer, 2, 2)[0].to(DEVICE)
    y, _ = layer(x)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0], y)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], y)
    param, *others = layer.parameters()
    for p in others:
        p.requires_grad_(False)
    (found,) = torch.autograd.grad(layer(x)[0].square().sum(), [param], create_graph=True)
    (again,) = torch.autograd.grad(found.square().sum(), [param])
    layer.backend = "reference"
    (want,) = torch.autograd.grad(layer(x)[0].square().sum(), [param], create_graph=True)
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(again, torch.autograd.grad(want.square().sum(), [param])[0])


def gru(width: int, **settings) -> torch.nn.Module:
    layer = rnndsl.load(example("gru")[0]).GRU(3, width, backend="auto", **settings)
    return layer


CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("cell", "width", "batch", "steps", "by_stages"), [("GRU", 64, 1, 512, False), ("GRU", 1024, 1, 512, True), ("GRU", 1024, 64, 512, True), ("RHN", 512, 1, 512, True)]
)
def test_what_a_gpu_takes(cell, width, batch, steps, by_stages, monkeypatch):
    """Stages where a program would read large matrices in every step: what is asked, what runs and what `explain` counts with are of one mind."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    text = ZOO[cell].text
    layer = getattr(rnndsl.load(text), cell)(**sizes_of(text, cell) | {"H": width}, schedule="sequential")
    name = "s" if cell == "RHN" else "h"
    taken = backend_for(layer, name, CUDA, (batch, steps))
    plan = taken.plan_for(layer, name, batch, steps, {"dtype": torch.float32, "device": torch.device("cpu"), "products": torch.float32})
    assert (plan.backend, plan.schedule) == ("triton", "sequential")
    assert ("products of matrices in PyTorch" in plan.why) == by_stages


def test_a_step_too_large_for_a_program_is_no_loop(monkeypatch):
    """Where a program could not hold a step, stages are kernels still, whatever the model says."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    monkeypatch.setattr("rnndsl.runtime.torch.backend.device_of", lambda device: of_architecture(USUAL))
    monkeypatch.setattr(tile_launch, "WIDEST", 16)
    layer = gru(14)
    assert backend_for(layer, "h", CUDA, (1, 8)).name == "triton"
    layer.to(DEVICE).backend = "triton"
    x = torch.randn(2, 3, 3, device=DEVICE)
    assert "products of matrices" in layer.plan_for(x)[0].why
    y, _ = layer(x)
    layer.backend = "reference"
    torch.testing.assert_close(y, layer(x)[0], rtol=1e-5, atol=1e-6)


def test_prices():
    """Launches in a graph and reading the matrices, of a step; a kernel of whole steps where registers hold them."""
    device = of_architecture(USUAL)
    load = costs.Load(1, 1000, 6.0 * 256**2, 3 * 256.0, 3 * 1024.0, 1024.0, kernels=costs.RowKernels(2, 3 * 256**2, 4, 40 * 256.0))
    assert costs.by_stages(load, device) > 1000 * 2 * device.graph_launch
    assert costs.step_kernels(load, True) == ("sequential", "stages")
    assert costs.step_kernels(replace(load, programs=64), True) == ("sequential",)
    assert costs.step_kernels(load, False) == ("stages",)
    assert costs.step_kernels(replace(load, kernels=None), True) == ("sequential",)
    in_operations = replace(load, kernels=replace(load.kernels, round=0))
    assert costs.rounds(in_operations, device) == costs.rounds(replace(load, kernels=None), device) > costs.rounds(load, device)


@pytest.mark.parametrize("tiles", [{"graph": -1}, {"stages": True}, {"graph": 1.0}])
def test_wishes_that_are_none(tiles):
    with pytest.raises(ValueError, match="expected a whole number"):
        staged_layer("ATR").tiles = tiles


@pytest.mark.parametrize(("width", "steps"), [(64, 64), (1024, 512), (256, 4096), (128, 1024)])
def test_explain_tells_what_a_layer_plans(width, steps, monkeypatch):
    """From the same counts: the schedule, and what runs it."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    monkeypatch.setattr("rnndsl.runtime.torch.backend.device_of", lambda device: of_architecture(USUAL))
    layer = gru(width)
    planned = backend_for(layer, "h", CUDA, (1, steps))._schedule(layer, "h", {"dtype": torch.float32, "device": CUDA}, (1, steps))
    by_stages = _sequential(made_of(layer), "h", torch.float32).by_stages(1, steps, torch.device("cpu"))  # the model of the usual device
    (kernels,) = compiled(Source("gru.rnn", example("gru")[0])).kernels
    (r,) = kernels.recurrences
    said = predict(r, 1, steps, {"D": 3, "H": width}, of_architecture(USUAL))
    words = "rounds over all steps in kernels" if planned == "newton" else "a step by stages" if by_stages else "a kernel of whole steps"
    assert (said.schedule, said.why.split(",")[0].split(";")[0]) == (planned, words)
    work = row_work_of(r.newton)
    launches, matrices, moved = (d.evaluate({"H": width}) for d in (work.step, work.matrices, work.moved))
    assert _sequential(made_of(layer), "h", torch.float32).rows == costs.RowKernels(launches, matrices, work.round, moved)


@pytest.mark.parametrize("width", [64, 256])
def test_matrices_in_loops(width):
    """Rounds are kernels where registers hold what they multiply by in a loop: `explain` and a layer agree."""
    layer = layer_of(ZOO["RHN"].text, "RHN", sizes_of(ZOO["RHN"].text, "RHN") | {"H": width}, dtype=torch.float32)
    (kernels,) = compiled(Source("RHN", ZOO["RHN"].text)).kernels
    (r,) = kernels.recurrences
    assert row_work_of(r.newton).holds(layer._sizes, costs.RESIDENT / 4) == _has_rounds(made_of(layer), "s", torch.float32) == (width == 64)
