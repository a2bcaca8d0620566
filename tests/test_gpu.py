"""What only a GPU can show of the Triton backend: streams, graphs, devices, large arrays, no waiting. The numbers have tests/test_triton.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rnndsl

pytest.importorskip("triton")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")]

ROOT = Path(__file__).resolve().parent.parent
DEVICE = "cuda"
SCHEDULES = ["sequential", "newton"]
CELLS = [("para_gru", "ParaGRU"), ("para_lstm", "ParaLSTM"), ("min_gru", "MinGRU")]
SHAPE = (3, 300, 5)  # B, T, D: nothing is a multiple of a tile
LARGE = (8, 65_600, 4096)  # B, T, H: more than 2^31 entries, most of the last sequence behind them
SPIN = 100_000_000  # cycles of a kernel that waits, some 50 ms


def layer_of(file: str, cell: str, device: object = None, **settings):
    settings = {"D": SHAPE[-1], "H": 65, "backend": "triton", "schedule": "sequential"} | settings
    torch.manual_seed(0)
    return getattr(rnndsl.load(ROOT / "examples" / f"{file}.rnn"), cell)(device=device or DEVICE, **settings).eval()


def inputs(seed: int = 0, shape: tuple[int, ...] | None = None, device: object = None) -> Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed)).to(device or DEVICE).requires_grad_()


def results(layer, x: Tensor) -> tuple[Tensor, ...]:
    """Outputs, and the gradients of their weighted sum in inputs and params."""
    y = layer(x)[0]
    weights = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=y.dtype).view_as(y)
    return (y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), weights))


def assert_same(found, wanted, rtol: float = 1e-4, atol: float = 1e-4) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol * (1 + float(b.abs().max())))


# Streams and graphs


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("file", "cell"), CELLS)
def test_a_graph_of_both_directions_is_replayed_with_new_inputs(file, cell, schedule):
    layer, x = layer_of(file, cell, schedule=schedule), inputs()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # kernels are compiled before they are captured
        for _ in range(3):
            results(layer, x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results(layer, x)
    for seed in (1, 2):
        with torch.no_grad():
            x.copy_(inputs(seed))
        graph.replay()
        assert_same(captured, results(layer, inputs(seed)))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_kernels_run_on_the_current_stream(schedule):
    layer, wanted = layer_of("para_gru", "ParaGRU", schedule=schedule), inputs(1)
    expected = results(layer, wanted)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        x = torch.zeros(SHAPE, device=DEVICE)
        torch.cuda._sleep(SPIN)  # a kernel on another stream would not wait for it, and read zeros
        x.copy_(wanted.detach())
        found = results(layer, x.requires_grad_())
    side.synchronize()
    assert_same(found, expected)


def test_two_streams_at_once():
    layers = [layer_of("para_gru", "ParaGRU", schedule=s) for s in SCHEDULES]
    xs = [inputs(seed) for seed in (1, 2)]
    expected = [results(layer, x) for layer, x in zip(layers, xs, strict=True)]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in layers]
    found: list = [None, None]
    for _ in range(5):
        for n, (layer, x, stream) in enumerate(zip(layers, xs, streams, strict=True)):
            with torch.cuda.stream(stream):
                found[n] = results(layer, x)
    torch.cuda.synchronize()
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("file", "cell"), CELLS)
def test_a_call_does_not_wait_for_the_gpu(file, cell, schedule):
    layer, x = layer_of(file, cell, schedule=schedule), inputs()
    reset = torch.zeros(SHAPE[:2], dtype=torch.bool, device=DEVICE)
    state = type(layer.initial_state(SHAPE[0]))(*(s.clone() for s in layer.initial_state(SHAPE[0])))

    def call() -> None:
        y, end = layer(x, state=state, reset=reset)
        torch.autograd.grad((y, *end), (x, *layer.parameters()), (torch.ones_like(y), *(torch.ones_like(e) for e in end)), allow_unused=True)

    call()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Devices and sizes


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_kernels_run_on_the_device_of_their_tensors(schedule):
    settings = {"schedule": schedule}
    first, second = (layer_of("para_gru", "ParaGRU", device=f"cuda:{n}", **settings) for n in (0, 1))
    second.load_state_dict(first.state_dict())
    with torch.cuda.device(0):
        found = results(second, inputs(device="cuda:1"))
        assert torch.cuda.current_device() == 0 and all(t.device == torch.device("cuda:1") for t in found)
        assert_same([t.to("cuda:0") for t in found], results(first, inputs(device="cuda:0")))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_more_entries_than_32_bits_count(schedule):
    """The last of the sequences, forwards and backwards, is what it is by itself. Its streams are bfloat16."""
    batch, steps, hidden = LARGE
    needed = 24 * batch * steps * hidden  # bytes: streams, states, and the gradients of both
    if needed > free_memory():
        pytest.skip(f"it takes {needed / 1e9:.0f} GB of memory on the GPU, and {free_memory() / 1e9:.0f} GB are free")
    layer = layer_of("min_gru", "MinGRU", D=1, H=hidden, schedule=schedule)
    x = inputs(shape=(batch, steps, 1))
    alone = x.detach()[-1:].clone().requires_grad_()
    with torch.autocast(DEVICE, torch.bfloat16):
        y, wanted = layer(x)[0], layer(alone)[0]
    assert_same([y[-1]], [wanted[0]])
    weights = torch.zeros_like(y)
    weights[-1] = torch.linspace(-1, 1, steps, device=DEVICE, dtype=y.dtype)[:, None]
    (found,) = torch.autograd.grad(y, x, weights)
    (expected,) = torch.autograd.grad(wanted, alone, weights[-1:])
    assert_same([found[-1]], [expected[0]], atol=1e-2)
    assert not found[:-1].any(), "the others have no part in it"


def free_memory() -> int:
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


# Compiled, and in lower precision


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("file", "cell"), CELLS)
def test_compiled_by_torch(file, cell, schedule):
    layer, x = layer_of(file, cell, schedule=schedule), inputs()
    expected = results(layer, x)
    torch.compiler.reset()
    assert_same(results(torch.compile(layer, fullgraph=True), x), expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("file", "cell"), CELLS)
def test_under_autocast(file, cell, schedule):
    layer, x = layer_of(file, cell, schedule=schedule), inputs()
    expected = results(layer, x)
    with torch.autocast(DEVICE, torch.bfloat16):
        y = layer(x)[0]
    weights = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=y.dtype).view_as(y)
    found = (y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), weights))
    assert [t.dtype for t in found] == [t.dtype for t in expected]
    assert_same(found, expected, rtol=0.0, atol=2**-5)


# Memory errors

KERNELS = """
import torch, rnndsl
for schedule in ("sequential", "newton"):  # two kernels each, one a direction
    layer = rnndsl.load("examples/para_gru.rnn").ParaGRU(D=3, H=37, device="cuda", backend="triton", schedule=schedule)
    x = torch.randn(3, 70, 3, device="cuda", requires_grad=True)
    reset = torch.zeros(3, 70, dtype=torch.bool, device="cuda")
    reset[:, 50] = True
    layer(x, reset=reset)[0].sum().backward()
torch.cuda.synchronize()
print("ran")
"""


@pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="compute-sanitizer is not on the path")
@pytest.mark.parametrize("tool", [("memcheck", "--report-api-errors", "no"), ("racecheck",)], ids=lambda t: t[0])
def test_the_sanitizer_finds_nothing(tool):
    command = ["compute-sanitizer", "--tool", *tool, "--error-exitcode", "9", sys.executable, "-c", KERNELS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # every tensor an allocation of its own
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0 and "ran" in done.stdout, done.stdout[-4000:] + done.stderr[-4000:]
