"""Kernels of whole steps in Triton: recurrences whose channels meet, against the reference and the oracle, in Triton's interpreter or on a GPU."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import rnndsl
from rnndsl.devices import USUAL, of_architecture
from rnndsl.runtime.choice import TILES, backend_for
from rnndsl.runtime.triton import cut, tile_launch
from rnndsl.runtime.triton.precision import of_products
from rnndsl.runtime.triton.tiled import Sized
from rnndsl.tiles import CUTS, WHOLE_CUTS
from tests.agreement import Case, against_reference, assert_agrees, assert_close, layer_of, random_inputs, sizes_of
from tests.features import FEATURES, SIZES, program
from tests.test_triton import DEVICE, RUNNING, example, kernels_of, needs_numpy
from tests.zoo_cells import ZOO

pytestmark = needs_numpy

EXAMPLES = {p.stem: p.read_text(encoding="utf-8") for p in (Path(__file__).parents[1] / "examples").glob("*.rnn")}
TILED = [name for name in ZOO if name not in RUNNING]


def compare(text: str, cell: str, sizes: dict, batch: int, steps: int, tolerance: float = 1e-10, **more) -> None:
    assert_close(against_reference(text, cell, sizes, batch, steps, backend="triton", device=DEVICE, **more), tolerance)


def test_nothing_published_is_refused():
    kernels = {name: kernels_of(ZOO[name].text, name) for name in ZOO}
    assert all(k.kernels for k in kernels.values()) and [name for name, k in kernels.items() if k.tiled] == TILED
    refused = {name: k.refused for name, k in kernels.items()} | {n: kernels_of(*example(n)).refused for n in EXAMPLES}
    assert {name: why for name, why in refused.items() if why} == {}
    assert len(TILED) > 50


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", TILED)
def test_published_cells_agree_with_the_reference(name):
    """Outputs, states and all gradients, in float64, from a given state, with resets, at odd sizes."""
    compare(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 3)


@pytest.mark.parametrize("name", ["repeat that replaces a state", "powers and comparisons of a counter"])
def test_repeats_agree_with_the_reference(name):
    compare(program(name), "C", SIZES, 2, 3)


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", FEATURES)
def test_every_form_of_the_language_agrees_with_the_reference(name):
    compare(program(name), "C", SIZES, 2, 3)


def test_calls_agree_with_the_oracle():
    """Also halves against the whole, single steps, and a call without gradients."""
    if DEVICE == "cpu":
        assert_agrees(Case(ZOO["ATR"].text, "ATR", {"D": 2, "H": 3}, 2, 2, backend="triton"))


@pytest.mark.parametrize(("batch", "steps", "width"), [(1, 1, 1), (3, 1, 3), (1, 3, 9), (2, 0, 3), (0, 2, 3)])
def test_odd_sizes(batch, steps, width):
    compare(ZOO["MGU"].text, "MGU", {"D": 2, "H": width}, batch, steps)


@pytest.mark.parametrize("rows", [2, 4])
def test_rows_of_a_program(rows):
    """Some of which the batch does not have: they take no part in any sum."""
    compare(ZOO["LTC"].text, "LTC", sizes_of(ZOO["LTC"].text, "LTC"), 3, 2, tiles={"rows": rows})


@pytest.mark.parametrize(("name", "most"), [("MGU", 1 << 14), ("MGU", 300), ("SLSTM", 1 << 14), ("RHN", 1 << 14)])
def test_products_of_matrices(name, most, monkeypatch):
    """With 16 rows a program, of more or fewer than the batch has; the matrices in registers, or in blocks."""
    made = []
    monkeypatch.setattr(cut, "MOST", most)
    monkeypatch.setattr(tile_launch, "launch", lambda *a, _launch=tile_launch.launch, **k: (made.append((k["ROWS"], k["PRECISION"])), _launch(*a, **k)))
    sizes = {n: {"H": 17, "K": 17, "N": 1}.get(n, v) for n, v in sizes_of(ZOO[name].text, name).items()}
    compare(ZOO[name].text, name, sizes, 17 if most == 300 else 3, 2, tiles={"rows": 16})
    assert set(made) == {(16, "ieee")}


@pytest.mark.parametrize("name", ["MGU", "RHN", "LEM"])
def test_programs_that_compute_together(name, monkeypatch):
    """Where kernels are interpreted, one of them does what all do; tests/test_ptx.py has the others."""
    made = []
    monkeypatch.setattr(tile_launch, "launch", lambda kernel, programs, *a, _launch=tile_launch.launch, **k: (made.append((programs, k["TOGETHER"])), _launch(kernel, programs, *a, **k)))
    compare(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 3, 2, tiles={"together": 4, "rows": 2})
    assert set(made) == ({(2, 1)} if DEVICE == "cpu" else {(8, 4)})


def test_programs_that_cannot_compute_together():
    """More than run at a time, or parts that none can hold; what has no parts says so."""
    layer = layer_of(ZOO["MGU"].text, "MGU", {"D": 2, "H": 5}, backend="triton").to(DEVICE)
    layer.tiles = {"together": 32}
    x = random_inputs(layer, 9, 1)[0].to(DEVICE)
    with pytest.raises(ValueError, match="tiles: together: 288 programs would wait for each other, of which '.*' runs [0-9]+ at a time; ask for fewer"):
        layer(x)
    assert "of which 32 compute the same rows together" in str(layer.plan_for(x[:1])[0])
    sized = SimpleNamespace(programs=1, values=1024, divided=1 << 20, matrices=3 << 20)
    asked = tile_launch.Asked(1, of_architecture(USUAL), "ieee", 4)
    with pytest.raises(ValueError, match="a program would have 65,536 entries of a product, of which it holds 32,768 at most; ask for more programs"):
        tile_launch.shared_cut(sized, {"together": 16}, asked)
    assert [tile_launch.shared_cut(sized, {"together": n}, asked).warps for n in (32, 64, 128)] == [16, 16, 8]


ASKED = {"rows": 2, "channels": 64, "ahead": 8, "lanes": 16, "lane_steps": 2, "warps": 2, "together": 4, "stages": 1, "graph": 8}
OF_CHANNELS = {"rows", "together", "stages", "graph"}
IN_VAIN = {
    ("ParaGRU", "auto"): OF_CHANNELS, ("ParaGRU", "sequential"): {*OF_CHANNELS, "lanes", "lane_steps"}, ("ParaGRU", "newton"): {*OF_CHANNELS, "ahead"},
    ("MGU", "sequential"): {"channels", "ahead", "lanes", "lane_steps"}, ("DeltaNet", "auto"): {"channels", "ahead", "lanes", "lane_steps", "together"},
}  # fmt: skip


@pytest.mark.parametrize(("name", "schedule"), IN_VAIN)
def test_what_is_asked_for_is_so_or_is_said_to_be_in_vain(name, schedule):
    """Whatever tiles are asked for, of each kind of kernel."""
    assert {*ASKED} == {*TILES} == CUTS | WHOLE_CUTS
    cls = getattr(rnndsl.load(f"{ZOO[name].text}# {schedule}\n"), name)  # a class that has said nothing yet
    layer = cls(**sizes_of(ZOO[name].text, name), backend="triton", schedule=schedule).to(DEVICE)
    x = torch.randn(1, 64, 3, device=DEVICE)
    for key, value in ASKED.items():
        layer.tiles = {key: value} | ({"stages": 1} if key == "graph" and name != "ParaGRU" else {})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            plan = layer.plan_for(x)[0]
        assert [str(w.message).startswith(f"tiles: {name}: `") for w in said] == [True] * (key in IN_VAIN[name, schedule]), key
        if not said:
            words = {"rows": "2 rows", "warps": "2 warps", "together": "4 compute the same rows", "stages": "products of matrices in PyTorch", "graph": "kernels"}
            assert getattr(plan.forward, key) == value if plan.forward else words[key] in plan.why


@pytest.mark.parametrize(("tiles", "why"), [({"together": 4, "stages": 1}, "has no stages, since its programs"), ({"stages": 0, "graph": 4}, "has no graph, since it has no stages")])
def test_tiles_that_exclude_each_other(tiles, why):
    layer = rnndsl.load(f"{ZOO['ATR'].text}# exclusive\n").ATR(**sizes_of(ZOO["ATR"].text, "ATR"), backend="triton", schedule="sequential").to(DEVICE)
    layer.tiles = tiles
    with pytest.warns(UserWarning, match=why):
        layer.plan_for(torch.randn(1, 2, 3, device=DEVICE))


def test_matrix_states_are_rows_of_products():
    """Of one row of the batch too."""
    layer = layer_of(ZOO["M2RNN"].text, "M2RNN", {"D": 2, "N": 1, "K": 17, "V": 16, "H": 3}, backend="triton").to(DEVICE)
    assert "1 row and 1 warp a program, products of matrices in ieee" in str(layer.plan_for(*random_inputs(layer, 1, 2))[0])
    compare(ZOO["M2RNN"].text, "M2RNN", {"D": 2, "N": 1, "K": 17, "V": 16, "H": 3}, 1, 2)


@pytest.mark.parametrize(
    ("batch", "matrices", "precision", "backward", "rows"),
    [(1, 1 << 12, "ieee", False, 1), (1 << 14, 1 << 12, "ieee", False, 1), (1 << 14, 1 << 12, "tf32", False, 16), (1 << 14, 1 << 16, "ieee", True, 16),
     (64, 1 << 16, "ieee", False, 1), (1 << 14, 1 << 14, "tf32x3", True, 1)],
)  # fmt: skip
def test_rows_by_size(batch, matrices, precision, backward, rows):
    """More than one where processors have many, and products of matrices are quicker or spare reading; none whose matrices shared memory does not hold."""
    sized = Sized(widest=4096, values=256, matrices=matrices, dot_rows=16, programs=1)
    found = tile_launch.usual_cut(sized, {}, tile_launch.Asked(batch, of_architecture(USUAL), precision, 4, backward))
    assert (found.rows, found.precision) == (rows, precision if rows > 1 else None)


def test_the_precision_of_products_is_that_of_pytorch(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "matmul", object())  # as versions of torch have it that know no precision by name
    for setting, precision in (("highest", "ieee"), ("high", "tf32x3"), ("medium", "tf32")):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda setting=setting: setting)
        assert of_products(torch.device("cpu")) == precision
    for named, precision in (("none", "ieee"), ("ieee", "ieee"), ("tf32", "tf32")):
        monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision=named))
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "highest")
        assert of_products(torch.device("cpu")) == precision


@pytest.mark.parametrize(("name", "sizes"), [("MGU", {"D": 2, "H": 6}), ("M2RNN", {"D": 2, "H": 3, "N": 1, "K": 2, "V": 5})])
def test_matrices_that_do_not_fit_into_registers(name, sizes, monkeypatch):
    """Are read block by block, and the results go through memory."""
    monkeypatch.setattr(cut, "MOST", 4)
    monkeypatch.setattr(cut, "BLOCK", 16)
    known = sizes_of(ZOO[name].text, name)
    compare(ZOO[name].text, name, {n: sizes.get(n, v) for n, v in known.items()}, 1, 2)


@pytest.mark.parametrize(("name", "most"), [("RWKV7", 1 << 14), ("M2RNN", 1 << 14), ("DeltaProduct", 4)])
def test_programs_that_divide_a_state(name, most, monkeypatch):
    """By its columns, or by its rows, also in rounds; what is the same for all of them has one gradient, to which each gives a part, also as a factor of a product."""
    made = []
    monkeypatch.setattr(cut, "_COLUMNS", 2)
    monkeypatch.setattr(cut, "MOST", most)
    monkeypatch.setattr(tile_launch, "launch", lambda kernel, programs, *a, _launch=tile_launch.launch, **k: (made.append(programs), _launch(kernel, programs, *a, **k)))
    sizes = {n: {"D": 2, "K": 3, "V": 3, "L": 2, "N": 1}.get(n, v) for n, v in sizes_of(ZOO[name].text, name).items()}
    compare(ZOO[name].text, name, sizes, 1, 2, schedule="sequential", tiles={"stages": 0})
    assert set(made) == {2}


@pytest.mark.parametrize(("name", "warps"), [("DeltaNet", "4 warps"), ("RWKV7", "4 warps"), ("M2RNN", "4 warps a program, products of matrices in ieee"), ("DeltaProduct", "8 warps")])
def test_large_states_are_divided(name, warps):
    """Of 256 rows and columns, 16 of which a program has."""
    sizes = {n: {"D": 64, "K": 256, "V": 256, "N": 1}.get(n, v) for n, v in sizes_of(ZOO[name].text, name).items()}
    layer = layer_of(ZOO[name].text, name, sizes, backend="triton", dtype=torch.float32, schedule="sequential").to(DEVICE)
    layer.tiles = {"stages": 0}
    assert f"1 row and {warps}" in str(layer.plan_for(*(x.detach() for x in random_inputs(layer, 1, 1)))[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(dtype):
    """Half streams are read as they are, and everything else is float32."""
    torch.manual_seed(0)
    layer = layer_of(ZOO["MGU"].text, "MGU", {"D": 3, "H": 5}, dtype=torch.float32).to(DEVICE)
    x = random_inputs(layer, 2, 2)[0].detach().to(DEVICE, dtype)
    found = []
    for backend in ("triton", "reference"):
        layer.backend = backend
        leaf = x.clone().requires_grad_()
        y, _ = layer(leaf)
        found.append([y, *torch.autograd.grad(y.float().square().sum(), [leaf, *layer.parameters()])])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got.float(), want.float(), rtol=2e-5 if dtype == torch.float32 else 0.05, atol=2e-5 if dtype == torch.float32 else 0.1)


MADE = {
    "lags": """
cell Lags(D, H):
  input x: [D]
  state h: [H]
  param W, V: [H, H]
  param U: [H, D]
  h[t] = tanh(U @ x + W @ h[t-1] + 0.5 * (V @ h[t-3]))
  output h
""",
    "complex": """
cell Rotated(D, H):
  input x: [D]
  state h: complex[H]
  param W: complex[H, H]
  param U: [H, D]
  h[t] = 0.5 * (W @ h[t-1]) / (1 + sum(abs(h[t-1]))) + U @ x
  output y = re(h[t])
""",
    "slices": """
cell Sliced(D, H, L):
  input x: [D]
  state h: [H]
  param W: [L; H, H]
  param U: [H, D]
  h[t] = tanh(W[2] @ h[t-1] + U @ x)
  output h
""",
}


def cell_of(text: str) -> str:
    return re.search(r"^cell (\w+)", text, re.M)[1]


@pytest.mark.parametrize("name", MADE)
def test_made_cells_agree_with_the_reference(name):
    text = MADE[name]
    compare(text, cell_of(text), sizes_of(text, cell_of(text)), 1, 5 if name == "lags" else 2)


def test_calls_twice_give_the_same_bits():
    layer = layer_of(ZOO["ATR"].text, "ATR", {"D": 2, "H": 5}, backend="triton", dtype=torch.float32).to(DEVICE)
    x = random_inputs(layer, 3, 2)[0].detach().to(DEVICE)
    found = []
    for _ in range(2):
        y, _ = layer(x)
        found.append([y, *torch.autograd.grad(y.sum(), list(layer.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("batch", [1, 3])
def test_single_steps_are_one_launch(batch, monkeypatch):
    """Without gradients of the whole cell, products of the inputs included; with gradients of the recurrence, forwards and backwards."""
    launches = []
    launch = tile_launch.launch
    monkeypatch.setattr(tile_launch, "launch", lambda kernel, *a, **k: (launches.append(kernel.__name__), launch(kernel, *a, **k)))
    layer = layer_of(ZOO["MGU"].text, "MGU", {"D": 2, "H": 5}, backend="triton").to(DEVICE)
    (x,) = random_inputs(layer, batch, 1)
    x = x[:, 0].to(DEVICE)
    with torch.no_grad():
        y, state = layer.step(x, layer.initial_state(batch))
    assert launches == ["cell_decode"]
    with_gradients, after = layer.step(x, layer.initial_state(batch))
    with_gradients.sum().backward()
    assert launches[1:] == ["h_tile_forward", "h_tile_backward"]
    assert_close({"output": (y, with_gradients), "state": (state[0], after[0])}, 1e-12)


@pytest.mark.parametrize(
    ("width", "schedule", "steps", "backend"),
    [(8, "auto", 64, "triton"), (256, "auto", 4096, "triton"), (256, "auto", 1, "triton"), (256, "sequential", 4096, "triton"), (8, "newton", 64, "triton")],
)
def test_what_a_gpu_takes(width, schedule, steps, backend, monkeypatch):
    """What the model of a device predicts to be quickest, unless a schedule is asked for."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    monkeypatch.setattr("rnndsl.runtime.torch.backend.device_of", lambda device: of_architecture(USUAL))
    layer = rnndsl.load(example("gru")[0]).GRU(3, width, schedule=schedule)
    assert backend_for(layer, "h", torch.device("cuda"), (1, steps)).name == backend


def test_a_step_that_no_program_can_hold(monkeypatch):
    """Is refused for its sizes, and left to others by `auto`."""
    monkeypatch.setenv("RNNDSL_BACKEND", "auto")
    monkeypatch.setattr("rnndsl.runtime.torch.backend.device_of", lambda device: of_architecture(USUAL))
    cell = rnndsl.load(ZOO["FastWeights"].text).FastWeights
    layer = cell(**(sizes_of(ZOO["FastWeights"].text, "FastWeights") | {"H": 200}), backend="triton", device=DEVICE)
    x = random_inputs(layer, 1, 1)[0].detach().float().to(DEVICE)
    with pytest.raises(ValueError, match="backend: 'triton' has no kernel for these sizes: a step has a value of [0-9,]+ entries, of which a program holds 32,768 at most; use 'auto'"):
        layer(x)
    for schedule in ("auto", "sequential"):
        layer.backend, layer.schedule = "auto", schedule
        assert backend_for(layer, next(iter(layer._states)), torch.device("cuda"), (1, 64)).name != "triton"
