"""Compiled kernels, run by the emulator of tests/ptx, against the reference in float64. `pytest -m ptx` runs all; plain pytest a part,
in a process of its own, since a process where kernels are interpreted compiles none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.agreement import ODD, against_reference, difference, layer_of, random_inputs, sizes_of
from tests.ptx.launches import Launches, emulated
from tests.ptx.native import compiler
from tests.ptx.plugin import PROPERTY
from tests.test_triton import RUNNING, example
from tests.zoo_cells import ZOO

pytest.importorskip("triton")
ROOT = Path(__file__).resolve().parent.parent
needs_compiler = pytest.mark.skipif(compiler() is None, reason="the emulator needs a C++ compiler")

TARGET, NOISE = "sm_90", 2
EXAMPLES = ("para_gru", "para_lstm", "lif", "min_gru", "lru")
CELLS = {name: ZOO[name].text for name in RUNNING} | {f"example {name}": example(name)[0] for name in EXAMPLES}
TILES = {
    "sequential": ({"channels": 8, "ahead": 2}, {"channels": 32, "ahead": 4}),
    "newton": ({"channels": 8, "lanes": 4, "lane_steps": 2}, {"channels": 4, "lanes": 16, "lane_steps": 4}, {"channels": 8, "lanes": 16, "lane_steps": 2, "warps": 4}),
}
FLOAT32 = 2e-5  # relative to the scale; or four times as far as the reference is in float32
FLOAT64 = 1e-11
HALF = 2.0**-5  # where the products and the streams are rounded to bfloat16

# Faults that are known and do no harm, until they are mended: kernel by kernel, by the end of its name.
KNOWN: dict[str, set[str]] = {"_decode": {"race_shared_warp", "race_shared"}}


def cell_of(name: str) -> tuple[str, str]:
    """The text and the name of a cell."""
    return (CELLS[name], name) if name in ZOO else example(name.removeprefix("example "))


def assert_nothing_wrong(launches: Launches) -> None:
    assert launches.all, "no kernel ran"
    for name, faults in launches.wrong.items():
        known = next((faults_known for end, faults_known in KNOWN.items() if name.endswith(end)), set())
        assert set(faults) - {"first"} <= known, (name, faults)


@pytest.fixture
def record(request):
    """Says what a case was, for `--ptx-record`."""

    def say(kind: str, cell: str, launches: Launches) -> None:
        assert_nothing_wrong(launches)
        request.node.user_properties.append((PROPERTY, {"kind": kind, "cell": cell, "target": TARGET, "counts": launches.counts()}))

    return say


def check(name: str, sizes: dict, batch: int, steps: int, schedule: str, tiles: dict, dtype: torch.dtype) -> Launches:
    """Outputs, states and all gradients, from a given state, with resets."""
    text, cell = cell_of(name)
    with emulated(TARGET, noise=NOISE) as launches:
        found = against_reference(text, cell, sizes, batch, steps, dtype, backend="triton", schedule=schedule, tiles=tiles)
    plain = against_reference(text, cell, sizes, batch, steps, dtype, backend="reference") if dtype == torch.float32 else found
    for what, (got, want) in found.items():
        allowed = max(FLOAT32, 4 * difference(*plain[what])) if dtype == torch.float32 else FLOAT64
        assert difference(got, want) < allowed, (what, difference(got, want), allowed)
    return launches


@needs_compiler
@pytest.mark.ptx
@pytest.mark.one_in(48)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("schedule", TILES)
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, schedule, dtype, record):
    launches = check(name, sizes_of(*cell_of(name)), 2, 11, schedule, TILES[schedule][0], dtype)
    record(f"{schedule} {str(dtype).removeprefix('torch.')}", name, launches)


@needs_compiler
@pytest.mark.ptx
@pytest.mark.one_in(48)
@pytest.mark.parametrize(("schedule", "tiling"), [(s, i) for s in TILES for i in range(1, len(TILES[s]))])
@pytest.mark.parametrize("name", CELLS)
def test_tilings_and_odd_sizes(name, schedule, tiling, record):
    text, cell = cell_of(name)
    sizes = {n: ODD.get(n, 3) for n in sizes_of(text, cell)} | ({"H": 17} if cell.startswith("Para") else {})
    record(f"{schedule} tiling {tiling}", name, check(name, sizes, 3, 37, schedule, TILES[schedule][tiling], torch.float32))


@needs_compiler
@pytest.mark.ptx
@pytest.mark.one_in(48)
@pytest.mark.parametrize("schedule", TILES)
@pytest.mark.parametrize("name", CELLS)
def test_half_precision_streams(name, schedule, record):
    """Under autocast to bfloat16: outputs, and gradients of the inputs, against the reference under the same."""
    text, cell = cell_of(name)
    found = []
    with emulated(TARGET, noise=NOISE) as launches:
        for which in ("triton", "reference"):
            torch.manual_seed(0)
            layer = layer_of(text, cell, sizes_of(text, cell), backend=which, dtype=torch.float32)
            if which == "triton":
                layer.schedule, layer.tiles = schedule, TILES[schedule][0]
            inputs = random_inputs(layer, 2, 9)
            with torch.autocast("cpu", torch.bfloat16):
                y, _ = layer(*inputs)
            outputs = list(y) if isinstance(y, tuple) else [y]
            loss = sum(torch.where(torch.isfinite(v.abs()), v, 0).abs().float().sum() for v in outputs)
            found.append([*outputs, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)])
    for got, want in zip(*found, strict=True):
        assert difference(got.to(want.dtype), want) < HALF
    record(f"{schedule} bfloat16", name, launches)


@needs_compiler
@pytest.mark.ptx
@pytest.mark.one_in(48)
@pytest.mark.parametrize("name", CELLS)
def test_single_steps(name, record):
    """The kernels of a step, without gradients, against the sequence; those of cells that have one."""
    text, cell = cell_of(name)
    layer = layer_of(text, cell, sizes_of(text, cell), dtype=torch.float32)
    inputs = [x.detach() for x in random_inputs(layer, 2, 4)]
    want, _ = layer(*inputs)
    layer.backend = "triton"
    with emulated(TARGET, noise=NOISE) as launches, torch.no_grad():
        state = layer.initial_state(2)
        for t in range(4):
            y, state = layer.step(*[x[:, t] for x in inputs], state)
            for got, whole in zip(y if isinstance(y, tuple) else (y,), want if isinstance(want, tuple) else (want,), strict=True):
                assert difference(got, whole[:, t]) < FLOAT32
    if not launches.all:
        pytest.skip("this cell steps in PyTorch")
    record("step", name, launches)


@needs_compiler
def test_a_part_in_a_process_of_its_own():
    """What CI runs of `pytest -m ptx`."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "TRITON_INTERPRET"))}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "ptx", "--part", "-p", "no:cacheprovider", "tests/test_ptx.py", "tests/test_ptx_machine.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
