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
STAGES = "stages"  # the same in kernels, of each stage of a step one, and products

_MULTIPLIERS = 128  # multiplications and additions of float32 that a processor does a cycle
RESIDENT = 1 << 16  # bytes of matrices that stay in the registers of a program
_SCAN = 6  # kernels of PyTorch's that a level of a scan over time takes
_MOVED = 4  # times that a round moves the bytes of all steps, for each thing that it computes of them
_STATEMENTS = 40  # of a round
_SETTLED = 12  # kernels of PyTorch's that say how far a round has come
_CHUNK, _CHUNK_KERNELS, _LINK_KERNELS = 64, 200, 3  # steps of a chunk; kernels for all chunks together, and for each of them in turn


@dataclass(frozen=True)
class RowKernels:
    """Kernels over rows, as `kernel.row_work` counts them. step: launches of a step by stages, 0 where there are none; matrices: entries of those
    that it multiplies by; round: launches of a round of Newton's method, 0 where PyTorch's operations compute it; moved: bytes that a round reads and writes
    of a row."""

    step: int
    matrices: float
    round: int
    moved: float


@dataclass(frozen=True)
class Load:
    """What a call of a recurrence asks for. flops, special, and bytes of streams and of states: of a step of one sequence, as `calculus.cost`
    counts them; programs: how many share the steps of a sequence in a kernel of whole steps; kernels: those over rows, where there are some."""

    batch: int
    steps: int
    flops: float
    special: float
    streams: float
    states: float
    programs: int = 1
    kernels: RowKernels | None = None

    @property
    def rows(self) -> int:
        """Steps of all sequences."""
        return self.batch * self.steps


def step_by_step(load: Load, device: Device) -> float:
    """Seconds of a kernel whose programs compute whole steps of a sequence. Matrices that registers do not hold are read in every step."""
    flops, special = load.flops / load.programs, load.special / load.programs
    matrices = 4 * flops / 2
    cycles = device.step_latency + flops / (2 * _MULTIPLIERS) + special / device.special_rate
    if matrices > RESIDENT:
        cycles += matrices / device.near_rate
    return device.launch + ceil(load.batch * load.programs / device.processors) * load.steps * cycles / device.clock


def step_kernels(load: Load, whole: bool) -> tuple[str, ...]:
    """Which kernels may go step by step: those of whole steps, where a program can hold one; and stages, unless registers hold all that a step multiplies
    by."""
    kernels = load.kernels
    stages = kernels is not None and kernels.step > 0 and (not whole or 4 * kernels.matrices / load.programs > RESIDENT)
    return (*([SEQUENTIAL] if whole else []), *([STAGES] if stages else []))


def by_stages(load: Load, device: Device) -> float:
    """Seconds of a step's stages one after the other, in CUDA graphs. All processors read the matrices in every step."""
    assert load.kernels is not None
    matrices = 4 * load.kernels.matrices / (device.near_rate * device.processors * device.clock)
    return device.launch + load.steps * (load.kernels.step * device.graph_launch + load.batch * load.flops / device.flops + matrices)


def rounds(load: Load, device: Device, count: float | None = None) -> float:
    """Seconds of Newton's method, in kernels over rows or in PyTorch's operations. count: how many rounds it takes, if that is known."""
    if load.kernels is not None and load.kernels.round:
        kernels, moved = load.kernels.round + _SETTLED, load.kernels.moved
    else:
        kernels = _STATEMENTS + _SCAN * ceil(log2(max(2, load.steps)))
        moved = _MOVED * _STATEMENTS * (load.streams + load.states)
    seconds = kernels * device.launch + load.rows * (load.flops / device.flops + moved / (device.bandwidth * device.reach))
    return (device.dense_rounds if count is None else count) * seconds


def chunks(load: Load, device: Device) -> float:
    """Seconds of the chunked form in PyTorch's operations, in which states of single steps do not appear."""
    kernels = _CHUNK_KERNELS + _LINK_KERNELS * ceil(load.steps / _CHUNK)
    moved = _MOVED * _CHUNK_KERNELS / _CHUNK * load.streams * load.rows / (device.bandwidth * device.reach)
    return kernels * device.launch + load.rows * load.flops / device.flops + moved


def loop(load: Load, device: Device) -> float:
    """Seconds of a loop over steps in PyTorch's operations."""
    return load.steps * (_STATEMENTS * device.launch + load.batch * load.flops / device.flops)


def quickest(load: Load, device: Device, schedules: Sequence[str], seen: float | None = None) -> str:
    """Which of some schedules the model takes: `sequential`, a kernel of whole steps; `stages` or `loop`, in its place; `newton`; `chunked`. seen: how many
    rounds Newton's method took before."""
    models: dict[str, Callable[[Load, Device], float]] = {
        SEQUENTIAL: step_by_step, STAGES: by_stages, LOOP: loop, NEWTON: partial(rounds, count=seen), CHUNKED: chunks,
    }  # fmt: skip
    return min(schedules, key=lambda s: models[s](load, device))
