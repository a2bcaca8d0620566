"""Compiled kernels, run by the emulator of tests/ptx, against the reference in float64. `pytest -m ptx` runs all; plain pytest a part,
in a process of its own, since a process where kernels are interpreted compiles none."""

import json
import os
import re
import subprocess
from itertools import chain
from pathlib import Path

import pytest
import torch

from rnndsl.runtime.triton.files import text_of
from tests.agreement import against_reference, assert_close, difference, kernels_run, layer_of, random_inputs, sizes_of
from tests.forks import PYTHON
from tests.ptx.__main__ import main
from tests.ptx.cells import DTYPES, FLOAT32, TILES, Run, compared, drawn, wrong_in
from tests.ptx.kernel import WRONG
from tests.ptx.launches import Launches, _kernel, emulated
from tests.ptx.native import compiler
from tests.ptx.plugin import PROPERTY
from tests.ptx.rules import RULES
from tests.test_tiles import TILED
from tests.test_triton import PROGRAMS, RUNNING, example, kernels_of
from tests.zoo_cells import ZOO

pytest.importorskip("triton")
ROOT = Path(__file__).resolve().parent.parent
UNUSUAL = ROOT / "tests" / "ptx" / "unusual.rnn"
pytestmark = pytest.mark.skipif(compiler() is None, reason="the emulator needs a C++ compiler")

# By the name of a case, the text and the name of every cell whose channels are apart: published ones, the examples, and unusual ones.
CELLS = {name: (ZOO[name].text, name) for name in RUNNING}
APART = ["lif", "lru", "min_gru", "para_gru", "para_lstm"]
CELLS |= {f"example {name}": example(name) for name in APART}
CELLS |= {f"unusual {name}": (UNUSUAL.read_text(encoding="utf-8"), name) for name in re.findall(r"^cell (\w+)", UNUSUAL.read_text(encoding="utf-8"), re.M)}


@pytest.fixture
def record(request):
    """Says what a case was, for `--ptx-record`."""

    def say(kind: str, cell: str, target: str, launches: Launches) -> None:
        request.node.user_properties.append((PROPERTY, {"kind": f"{kind}, {target}", "cell": cell, "target": target, "counts": launches.counts()}))

    return say


def check(record, kind: str, name: str, run: Run) -> None:
    launches, found = compared(run)
    assert not (wrong := wrong_in(launches, found)), (run, wrong)
    record(kind, name, run.target, launches)


@pytest.mark.ptx
@pytest.mark.part("example para_gru-newton-float32", "example lif-sequential-float32", "MinGRU-newton-float64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("schedule", ["sequential", "newton"])
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, schedule, dtype, record):
    """At small odd sizes."""
    check(record, f"{schedule}, {dtype}", name, Run(*CELLS[name], schedule, DTYPES[dtype]))


@pytest.mark.ptx
@pytest.mark.part("example para_gru-newton-bfloat16")
@pytest.mark.parametrize("dtype", ["bfloat16"])
@pytest.mark.parametrize("schedule", ["sequential", "newton"])
@pytest.mark.parametrize("name", CELLS)
def test_half_precision_streams(name, schedule, dtype, record):
    check(record, f"{schedule}, {dtype} streams", name, Run(*CELLS[name], schedule, DTYPES[dtype]))


@pytest.mark.ptx
@pytest.mark.part("BRC-auto")
@pytest.mark.parametrize("schedule", TILES)
@pytest.mark.parametrize("name", CELLS)
def test_sizes_and_tiles_that_are_drawn(name, schedule, request, record):
    """By `--ptx-seed`. Those that the model cuts are compiled for the older target."""
    target = "sm_80" if schedule == "auto" else "sm_90"
    check(record, f"{schedule}, drawn", name, Run(*CELLS[name], schedule, target=target, **drawn(*CELLS[name], schedule, request.config.getoption("--ptx-seed"))))


@pytest.mark.ptx
@pytest.mark.part("MGU")
@pytest.mark.parametrize("name", TILED)
def test_whole_steps(name):
    """Where channels meet: at odd sizes, with resets."""
    with emulated("sm_90", noise=2) as launches:
        found = against_reference(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 3, 3, torch.float32, backend="triton")
    assert not launches.wrong
    assert_close(found, FLOAT32)


@pytest.mark.ptx
@pytest.mark.part()
@pytest.mark.parametrize("name", ["DeltaNet", "RWKV7", "M2RNN", "DeltaProduct"])
@pytest.mark.parametrize("most", [1 << 14, 4])
def test_programs_that_divide_a_state(name, most, monkeypatch):
    """By columns or rows, of which the last program has fewer; with matrices in registers, or in memory."""
    monkeypatch.setattr("rnndsl.runtime.triton.cut._COLUMNS", 2)
    monkeypatch.setattr("rnndsl.runtime.triton.cut.MOST", most)
    sizes = {n: {"K": 5, "V": 3, "L": 2, "N": 1}.get(n, v) for n, v in sizes_of(ZOO[name].text, name).items()}
    with emulated("sm_90", noise=2) as launches:
        found = against_reference(ZOO[name].text, name, sizes, 2, 2, torch.float32, backend="triton", schedule="sequential", tiles={"stages": 0})
    assert not launches.wrong
    assert {launch.grid[0] for launch in launches.all} in ({4}, {6})
    assert_close(found, FLOAT32)


@pytest.mark.ptx
@pytest.mark.part("SLSTM")
@pytest.mark.parametrize("name", TILED)
def test_rounds(name):
    """Of Newton's method, where channels meet: kernels over rows, and scans along time."""
    with emulated("sm_90", noise=2) as launches:
        found = against_reference(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 3, torch.float32, backend="triton", schedule="newton")
    assert not launches.wrong
    assert any("_rows_" in launch.name for launch in launches.all)
    assert_close(found, FLOAT32)


@pytest.mark.ptx
@pytest.mark.part()
@pytest.mark.parametrize("name", ["LSTM", "SLSTM", "MGU", "RHN", "HouseholderRNN", "DeltaProduct"])
def test_stages(name):
    """Of single steps, where channels meet: kernels over rows."""
    with emulated("sm_90", noise=2) as launches:
        found = against_reference(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 2, torch.float32, backend="triton", tiles={"stages": 1})
    assert not launches.wrong
    assert any("_advance_" in launch.name for launch in launches.all) and any("_gradients_" in launch.name for launch in launches.all)
    assert_close(found, FLOAT32)


def together(name: str, sizes: dict[str, int], edit=None, **tiles: int) -> Launches:
    """Forwards and backwards by programs that compute the same rows together."""
    with emulated("sm_90", noise=2) as launches:
        launches.edit = edit
        found = against_reference(ZOO[name].text, name, sizes_of(ZOO[name].text, name) | sizes, 3, 3, torch.float32, backend="triton", tiles=tiles)
    assert [launch.constants["TOGETHER"] for launch in launches.all] == [tiles["together"]] * 2
    if edit is None:
        assert_close(found, FLOAT32)
    return launches


@pytest.mark.ptx
@pytest.mark.part("LSTM")
@pytest.mark.parametrize("name", ["MGU", "GRU", "LSTM", "RHN", "SLSTM", "M2RNN", "DeltaProduct", "LayerNormLSTM"])
def test_programs_that_compute_together(name):
    """Of several rows, of which one is not there, of heads, in loops."""
    assert not together(name, {}, together=4, rows=2).wrong


@pytest.mark.ptx
@pytest.mark.part()
def test_programs_that_do_not_meet_are_seen(monkeypatch):
    """With matrices in memory: right as it is; without the release, the acquire, or memory of its own for what the next meeting is for, reported."""
    monkeypatch.setattr("rnndsl.runtime.triton.cut.MOST", 4)
    assert not together("LSTM", {"H": 6}, together=8, warps=2).wrong
    for pattern in ("release", "acquire"):
        found = together("LSTM", {"H": 6}, lambda text, pattern=pattern: text.replace(pattern, "relaxed"), together=8, warps=2).wrong
        assert any(key.startswith("race") for said in found.values() for key in said), pattern
    monkeypatch.setattr("rnndsl.runtime.triton.backend.text_of", lambda *a, **k: text_of(*a, **k).replace("meetings % 2 *", "meetings * 0 *"))
    found = together("LSTM", {"H": 7}, str, together=8, warps=2).wrong
    assert any(key.startswith("race") for said in found.values() for key in said)


@pytest.mark.ptx
@pytest.mark.part("tf32x3-MGU")
@pytest.mark.parametrize("name", ["MGU", "SLSTM", "M2RNN", "RHN"])
@pytest.mark.parametrize("setting", ["ieee", "tf32x3"])
def test_products_of_matrices(name, setting, monkeypatch):
    """Of 16 rows, by tensor cores where they may round."""
    monkeypatch.setattr("rnndsl.runtime.triton.tile_launch.of_products", lambda device: setting)
    sizes = {n: {"H": 17, "K": 17, "V": 17, "N": 1}.get(n, v) for n, v in sizes_of(ZOO[name].text, name).items()}
    texts: list[str] = []
    with emulated("sm_80", noise=2) as launches:
        launches.edit = lambda text: texts.append(text) or text
        found = against_reference(ZOO[name].text, name, sizes, 3, 3, torch.float32, backend="triton", tiles={"rows": 16})
    assert not launches.wrong
    assert all(("mma.sync" in text) == (setting == "tf32x3") for text in texts) and texts
    assert_close(found, FLOAT32)


@pytest.mark.ptx
@pytest.mark.part()
@pytest.mark.parametrize("name", ["LMU", "DeltaProduct"])
def test_lanes_that_hold_one_value(name):
    """Have the same digits of it: none of them would store others."""
    with emulated("sm_90", noise=2) as launches:
        against_reference(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 3, 3, torch.float32, backend="triton", tiles={"rows": 2, "warps": 1})
    assert not launches.wrong


@pytest.mark.ptx
@pytest.mark.part("ParaGRU")
@pytest.mark.parametrize("name", CELLS)
def test_single_steps(name, record):
    """The kernels of a step, without gradients, against the sequence; those of cells that have one."""
    launches = stepped(*CELLS[name])
    record("step, float32", name, "sm_90", launches)


@pytest.mark.ptx
@pytest.mark.part("MGU")
@pytest.mark.parametrize("name", TILED)
def test_single_whole_steps(name):
    """The same where channels meet."""
    stepped(ZOO[name].text, name)


def stepped(text: str, cell: str) -> Launches:
    """Steps of a cell one by one, against the sequence."""
    layer = layer_of(text, cell, sizes_of(text, cell), dtype=torch.float32)
    inputs = [x.detach() for x in random_inputs(layer, 2, 4)]
    want, _ = layer(*inputs)
    layer.backend = "triton"
    with emulated("sm_90", noise=2) as launches, torch.no_grad():
        state = layer.initial_state(2)
        for t in range(4):
            y, state = layer.step(*[x[:, t] for x in inputs], state)
            for got, whole in zip(y if isinstance(y, tuple) else (y,), want if isinstance(want, tuple) else (want,), strict=True):
                assert difference(got, whole[:, t]) < FLOAT32
    if not launches.all:
        pytest.skip("this cell steps in PyTorch")
    assert not launches.wrong
    return launches


@pytest.mark.ptx
@pytest.mark.part()
@pytest.mark.parametrize("schedule", ["sequential", "newton"])
def test_noise_of_training(schedule):
    """From one seed the same on both backends: `once` a sequence, and of every step."""
    layer = layer_of(*CELLS["unusual Dropped"], {"D": 3, "H": 5}, schedule=schedule, dtype=torch.float32).train()
    layer.tiles = TILES[schedule]
    found = []
    for layer.backend in ("triton", "reference"):
        torch.manual_seed(0)
        with emulated(noise=2) as launches:
            y, _ = layer(*(inputs := random_inputs(layer, 2, 11)))
            found.append([y.detach(), *torch.autograd.grad(y.sum(), inputs)])
        assert not launches.wrong
    assert all(difference(*pair) < FLOAT32 for pair in zip(*found, strict=True))


@pytest.mark.ptx
@pytest.mark.part("para_gru-1")
@pytest.mark.parametrize("warps", [1, 4])
@pytest.mark.parametrize("program", ["para_gru", "lif"])
def test_chunks_that_run_step_by_step(program, warps):
    """Both ways: a NaN comes in, and nothing is right of what lanes have guessed behind it."""
    text, cell = example(program)
    layer = layer_of(text, cell, {"D": 3, "H": 6 + warps}, backend="triton", schedule="newton", dtype=torch.float32)
    layer.tiles = {"channels": 8, "lanes": 4 * warps, "lane_steps": 2, "warps": warps}
    (x,) = random_inputs(layer, 2, 70)
    with torch.no_grad():
        x[0, 40, 1] = torch.nan
    found = []
    for layer.backend in ("triton", "reference"):
        with emulated(noise=2) as launches:
            y, _ = layer(x)
            found.append([y.detach(), *torch.autograd.grad(torch.nan_to_num(y).sum(), x)])
        assert not launches.wrong
    (y, d), (want, want_d) = found
    assert torch.equal(y.isnan(), want.isnan()) and not want[1].isnan().any()
    assert program == "lif" or want[0, 40:].isnan().all()  # a spike of what is no number is none
    assert difference(y, want) < FLOAT32 and difference(d[1], want_d[1]) < FLOAT32


@pytest.mark.ptx
def test_a_program_of_ones_own(tmp_path, capsys, monkeypatch):
    """`python -m tests.ptx FILE`; that none ran, and an instruction that is not known, are said."""
    file = tmp_path / "own.rnn"
    file.write_text((ROOT / "examples" / "min_gru.rnn").read_text() + (ROOT / "examples" / "gru.rnn").read_text())
    assert main([str(file), "--schedule", "newton", "--dtype", "float32", "--size", "H=2"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^MinGRU, newton, float32: right; 2 launches, \d+ barriers; .* off by .*, allowed 2.0e-05$", said, re.M)
    assert re.search(r"^GRU, newton, float32: right; \d\d launches, ", said, re.M)
    monkeypatch.delitem(RULES, "fma")
    _kernel.cache_clear()
    assert main([str(file), "--cell", "MinGRU", "--schedule", "newton", "--dtype", "float32", "--size", "H=2"]) == 1
    assert re.search(r"^MinGRU, newton, float32: not run: PTX line \d+: `.*` is not known to the emulator$", capsys.readouterr().out, re.M)


def test_every_program_with_kernels_is_here():
    assert set(CELLS) == set(chain(RUNNING, (name for name in CELLS if " " in name)))
    assert [name for name in PROGRAMS if not kernels_of(*example(name)).tiled] == APART
    assert all(kernels_run(*cell, "triton") for cell in CELLS.values())


def test_the_record_is_of_a_whole_run():
    """What docs/emulator.md says of the last one."""
    found = json.loads((ROOT / "benchmarks" / "counts" / "ptx.json").read_text(encoding="utf-8"))
    assert set(found["tests"]) <= {"passed", "skipped"} and sorted(found["cells"]) == sorted(CELLS)
    counts = found["counts"]
    said = f"{sum(found['cases'].values()):,} cases of {len(found['cells'])} cells, {counts['launches']:,} launches, {counts['barriers']:,} barriers"
    assert said in (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8"), said
    assert not set(counts) & set(WRONG)


def test_a_part_in_a_process_of_its_own():
    """What CI runs of `pytest -m ptx`."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "TRITON_INTERPRET"))}
    command = [*PYTHON, "-m", "pytest", "-q", "-m", "ptx", "--part", "-p", "no:cacheprovider", "tests/test_ptx.py", "tests/test_ptx_machine.py", "tests/test_ptx_error.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) == 17, done.stdout
