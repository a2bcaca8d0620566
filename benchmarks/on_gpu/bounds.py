"""What the device can do: bytes moved a second by copies of several sizes, elementwise functions a second, cycles a second."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl

from on_gpu.device import Gpu
from on_gpu.record import Row
from on_gpu.scale import Scale
from on_gpu.timing import samples
from rnndsl.runtime.triton import functions, launch
from rnndsl.tools.bench.bound import copy_call
from rnndsl.tools.tune.timer import Timer

SPECIAL = "sigmoid"  # the function whose rate bounds a cell by its special functions
FUNCTIONS = (SPECIAL, "tanh", "softplus", "expm1")
_BLOCK, _CHAINS = 256, 4  # values of a program; chains that do not wait for each other
_SPIN = 50_000_000  # cycles


@triton.jit
def exponential(x):
    return tl.exp(-x)


@triton.jit
def chain(out, rounds, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    """A function of what it gave before, `rounds` times, of four values that do not wait for each other."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = n.to(tl.float32) * 1e-6
    b, c, d = a + 0.25, a + 0.5, a + 0.75
    for _ in range(0, rounds):
        a, b, c, d = FUNCTION(a), FUNCTION(b), FUNCTION(c), FUNCTION(d)
    tl.store(out + n, a + b + c + d)


def copies(scale: Scale, device: torch.device, timer: Timer) -> Iterator[Row]:
    """Bytes a second that `torch.Tensor.copy_` moves, half of them read."""
    for moved in scale.copies:
        call = copy_call(moved, device)
        call()
        timing = samples(call, timer, scale.samples)
        yield {"what": "copy", "bytes": moved, "seconds": timing.seconds, "median": timing.median, "per_second": moved / timing.median}


def chains(scale: Scale, device: torch.device) -> dict[str, Callable[[], None]]:
    """Kernels of nothing but the exponential, or a function that kernels have."""
    programs, rounds = scale.chain
    out = torch.empty(programs * _BLOCK, device=device)

    def run(function: Any) -> None:
        launch.launch(chain, programs, [out, rounds], out, FUNCTION=function, BLOCK=_BLOCK, num_warps=4)

    return {name: partial(run, exponential if name == "exp" else getattr(functions, name)) for name in ("exp", *FUNCTIONS)}


def rates(scale: Scale, device: torch.device, timer: Timer) -> Iterator[Row]:
    """Elementwise functions a second."""
    programs, rounds = scale.chain
    for name, call in chains(scale, device).items():
        call()
        timing = samples(call, timer, scale.samples)
        count = programs * _BLOCK * _CHAINS * rounds
        yield {"what": name, "count": count, "seconds": timing.seconds, "median": timing.median, "per_second": count / timing.median}


def clock(machine: Gpu) -> Iterator[Row]:
    """Cycles a second of the multiprocessors, by a kernel that waits for some of them."""
    timing = samples(lambda: machine.spin(_SPIN), machine.timer, 5)
    yield {"what": "clock", "count": _SPIN, "seconds": timing.seconds, "median": timing.median, "per_second": _SPIN / timing.median}


def rate(rows: list[Row], what: str) -> float | None:
    """The largest rate that was measured of something."""
    return max((r["per_second"] for r in rows if r["what"] == what), default=None)
