"""Which Triton kernel runs a call, and how it is cut: what a simple model of the device predicts. The backend asks it, and so does explain.

The model counts cycles. A sequential kernel takes the time of a step's chain of operations, T times; a parallel one that of its
rounds, for every chunk. Either is bounded by the rate at which the device's warps issue instructions, and by memory. The constants are
those of the kernel prototypes and of machine code for sm_90: a static model, not measurements.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

SEQUENTIAL, PARALLEL = "sequential", "parallel"
EXACT, NEWTON = "exact scan", "newton"  # what runs side by side
WARP = 32
_SPECIAL_LATENCY, _LATENCY, _MEMORY_LATENCY = 35.0, 4.0, 600.0  # cycles of a special function, of another operation, of a load
_SPECIAL_ISSUE, _ISSUE = 20.0, 1.0  # issue slots that they take, counted in machine code for sm_90: range, polynomial and division around it
_LEVEL = 45.0  # cycles of a level of a scan within a warp
_BARRIER = 120.0  # and what crossing warps adds, twice a scan
_SMALL = 64  # operations of a step of which four fit in the registers of a lane
_ROUNDS = 3.3  # of Newton's method in a chunk of 128 steps, at common weights


@dataclass(frozen=True)
class Work:
    """What the model knows of a recurrence: whether it has kernels that run side by side, and whether these are exact; how many real numbers a
    channel carries; how many streams it reads; and the operations, and special functions among them, of each function."""

    is_parallel: bool
    is_exact: bool
    slots: int
    streams: int
    functions: dict[str, tuple[int, int]]

    def schedule(self, tiles: "Tiles") -> str:
        """What kernels that are cut so do: go through time step by step, an exact scan, or Newton's method."""
        return SEQUENTIAL if tiles.schedule == SEQUENTIAL else EXACT if self.is_exact else NEWTON


@dataclass(frozen=True)
class Device:
    """What the model knows of a device."""

    name: str = "NVIDIA H100"
    processors: int = 132
    issue: float = 4.0  # instructions a cycle and processor
    warps: int = 48  # of a processor at once, at the registers that kernels take
    bandwidth: float = 1750.0  # bytes a cycle
    clock: float = 1.7e9  # Hz


@dataclass(frozen=True)
class Tiles:
    """How a kernel is cut: channels a program; steps on their way (sequential); lanes and steps a lane (parallel); warps."""

    schedule: str
    channels: int
    ahead: int = 4
    lanes: int = 1
    lane_steps: int = 1
    warps: int = 1

    @property
    def cut(self) -> str:
        """In words, apart from the schedule."""
        own = f"{_plural(self.channels, 'channel')} a program"
        if self.schedule == SEQUENTIAL:
            return f"{own}, {_plural(self.ahead, 'step')} ahead, {_plural(self.warps, 'warp')}"
        return f"{own}, {_plural(self.lanes, 'lane')} of {_plural(self.lane_steps, 'step')}, {_plural(self.warps, 'warp')}"

    def __str__(self) -> str:
        return f"{self.schedule}, {self.cut}"


def _plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def candidates(work: Work, channels: int, steps: int, wide: bool = False, itemsize: int = 4) -> Iterator[Tiles]:
    """The tiles worth a look for so many channels, those of all rows together, and steps; the usual ones first. wide: also such as take long
    to compile, or more registers than some devices have. itemsize: bytes of an entry of a stream."""
    for width in (32, 64, 128):
        if width == 32 or channels >= width * 64:
            for ahead in (4, 8, 2):
                yield Tiles(SEQUENTIAL, width, ahead=ahead, warps=width // WARP)
    if itemsize == 2 and channels >= 64 * 64:  # two channels a thread, whose entries are four bytes together
        for ahead in (4, 8, 2):
            yield Tiles(SEQUENTIAL, 2 * WARP, ahead=ahead)
    if not work.is_parallel:
        return
    small = work.slots <= 3 and max(operations for operations, _ in work.functions.values()) <= _SMALL
    most = (4 if small else 2) * (2 if wide else 1)  # steps a lane: their values stand in registers
    least = 32 // itemsize  # channels of one sector of memory
    for width in dict.fromkeys((least, 2 * least, 8, 4, 2, 1)):
        for warps in (4, 1, 2, 8, 16):
            lanes = warps * WARP // width
            if lanes < 2 or (width < least and channels >= 4096):
                continue
            for lane_steps in (most, most // 2, 1):
                if lanes * lane_steps <= max(64, 2 * steps):
                    yield Tiles(PARALLEL, width, lanes=lanes, lane_steps=lane_steps, warps=warps)


def cycles(work: Work, tiles: Tiles, channels: int, steps: int, device: Device, backward: bool = False, itemsize: int = 4) -> float:
    """What the model predicts for a call. itemsize: bytes of an entry of a stream; states have at least four."""
    once, again = _steps(work, backward)
    programs = ceil(channels / tiles.channels)
    resident = device.processors * max(1, device.warps // tiles.warps)
    waves = ceil(programs / resident)
    moved = work.streams * itemsize + work.slots * max(4, itemsize)  # bytes of a step: streams read, states written
    memory = float(channels * steps) * (2 * moved + max(4, itemsize) if backward else moved) / device.bandwidth
    if tiles.schedule == SEQUENTIAL:
        chain, slots = _cost(again)
        step = max(chain, _MEMORY_LATENCY / tiles.ahead, slots * tiles.channels / (WARP * tiles.warps))  # a warp issues one at a time
        issue = channels / WARP * steps * slots / (device.processors * device.issue)
        return max(waves * steps * step, issue, memory)
    chunk = tiles.lanes * tiles.lane_steps
    rounds = 1.0 if backward or work.is_exact else _ROUNDS * max(1.0, (chunk / 128) ** 0.35) * (8 / tiles.lane_steps) ** 0.25
    chain, slots = _cost(once)
    levels = (tiles.lanes - 1).bit_length() * _LEVEL + (2 * _BARRIER if tiles.warps > 1 else 0.0)
    last, last_slots = _cost(again)
    a_chunk = rounds * (tiles.lane_steps * chain + 2 * levels) + tiles.lane_steps * last + _MEMORY_LATENCY
    a_step = rounds * slots + last_slots
    issue = channels / WARP * steps * a_step / (device.processors * device.issue)
    return max(waves * ceil(steps / chunk) * a_chunk, issue, memory)


def _steps(work: Work, backward: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Operations of a round, and of the steps at its end."""
    functions = work.functions
    if backward:
        return functions.get("slopes", functions["pullback"]), functions["pullback"]
    return functions.get("linear", functions.get("coefficients", functions["step"])), functions["step"]


def _cost(counted: tuple[int, int]) -> tuple[float, float]:
    """Cycles of a step's chain, about half of what it computes, and issue slots."""
    operations, special = counted
    plain = operations - special
    return _LATENCY * plain + _SPECIAL_LATENCY * special, _ISSUE * plain + _SPECIAL_ISSUE * special


def choose(
    work: Work, channels: int, steps: int, device: Device, schedule: str = "auto", wish: dict[str, int] | None = None, backward: bool = False,
    itemsize: int = 4,
) -> Tiles:
    """The tiles that the model predicts to be fastest, within a schedule and with the entries of `wish`, whatever it thinks of them."""
    found = list(candidates(work, max(1, channels), max(1, steps), itemsize=itemsize))
    wanted = {"sequential": SEQUENTIAL, "newton": PARALLEL}.get(schedule)
    if wish and ("lanes" in wish or "lane_steps" in wish):
        wanted = PARALLEL
    fitting = [t for t in found if t.schedule == wanted] or found
    if wish:
        fitting = list(dict.fromkeys(replace(t, **wish) for t in fitting))  # type: ignore[arg-type]
    return min(fitting, key=lambda t: cycles(work, t, max(1, channels), max(1, steps), device, backward, itemsize))
