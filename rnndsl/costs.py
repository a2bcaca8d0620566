"""How long a recurrence whose channels meet takes on a device, by schedule: a model, of which ratios count, and which of them is the quickest.

Recurrences whose channels do not meet have a model of their own, tiles.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log2

from rnndsl.devices import Device
from rnndsl.tiles import CHUNKED, NEWTON, SEQUENTIAL

LOOP = "loop"  # over steps, in PyTorch's operations

_MULTIPLIERS = 128  # multiplications and additions of float32 that a processor does a cycle
_RESIDENT = 1 << 16  # bytes of matrices that stay in the registers of a program
_SCAN = 6  # kernels of PyTorch's that a level of a scan over time takes
_MOVED = 4  # times that a round moves the bytes of all steps, for each thing that it computes of them
_STATEMENTS = 40  # of a round
_CHUNK, _CHUNK_KERNELS, _LINK_KERNELS = 64, 200, 3  # steps of a chunk; kernels for all chunks together, and for each of them in turn


@dataclass(frozen=True)
class Load:
    """What a call of a recurrence asks for. flops, special, and bytes of streams and of states: of a step of one sequence, as `calculus.cost`
    counts them; programs: how many share the steps of a sequence in a kernel of whole steps."""

    batch: int
    steps: int
    flops: float
    special: float
    streams: float
    states: float
    programs: int = 1

    @property
    def rows(self) -> int:
        """Steps of all sequences."""
        return self.batch * self.steps


def step_by_step(load: Load, device: Device) -> float:
    """Seconds of a kernel whose programs compute whole steps of a sequence. Matrices that registers do not hold are read in every step."""
    flops, special = load.flops / load.programs, load.special / load.programs
    matrices = 4 * flops / 2
    cycles = device.step_latency + flops / (2 * _MULTIPLIERS) + special / device.special_rate
    if matrices > _RESIDENT:
        cycles += matrices / device.near_rate
    return device.launch + ceil(load.batch * load.programs / device.processors) * load.steps * cycles / device.clock


def rounds(load: Load, device: Device, count: float | None = None) -> float:
    """Seconds of Newton's method in PyTorch's operations. count: how many rounds it takes, if that is known."""
    kernels = _STATEMENTS + _SCAN * ceil(log2(max(2, load.steps)))
    moved = _MOVED * _STATEMENTS * (load.streams + load.states) * load.rows / (device.bandwidth * device.reach)
    return (device.dense_rounds if count is None else count) * (kernels * device.launch + load.rows * load.flops / device.flops + moved)


def chunks(load: Load, device: Device) -> float:
    """Seconds of the chunked form in PyTorch's operations, in which states of single steps do not appear."""
    kernels = _CHUNK_KERNELS + _LINK_KERNELS * ceil(load.steps / _CHUNK)
    moved = _MOVED * _CHUNK_KERNELS / _CHUNK * load.streams * load.rows / (device.bandwidth * device.reach)
    return kernels * device.launch + load.rows * load.flops / device.flops + moved


def loop(load: Load, device: Device) -> float:
    """Seconds of a loop over steps in PyTorch's operations."""
    return load.steps * (_STATEMENTS * device.launch + load.batch * load.flops / device.flops)


def quickest(load: Load, device: Device, schedules: Sequence[str], seen: float | None = None) -> str:
    """Which of some schedules the model takes: `sequential`, a kernel of whole steps; `loop`, in its place; `newton`; `chunked`. seen: how many rounds
    Newton's method took before."""
    models: dict[str, Callable[[Load, Device], float]] = {SEQUENTIAL: step_by_step, LOOP: loop, NEWTON: partial(rounds, count=seen), CHUNKED: chunks}
    return min(schedules, key=lambda s: models[s](load, device))
