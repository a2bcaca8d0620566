"""Which Triton kernel runs a call, and how it is cut: what a simple model of the device predicts. The backend asks it, and so does explain.

The model counts cycles. A sequential kernel takes the time of a step T times: what a warp computes, and what of waiting for memory does not
pass meanwhile. A parallel one takes that of its rounds, for every chunk. Either is bounded by the rate at which the device's warps issue
instructions, and by memory. What it counts with is a table of the device, in `rnndsl/devices`, which says where each number comes from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from rnndsl.devices import Cost, Device

SEQUENTIAL, PARALLEL = "sequential", "parallel"
EXACT, NEWTON, CHUNKED = "exact scan", "newton", "chunked"  # what runs side by side
WARP = 32
PARALLEL_CUTS = frozenset(("lanes", "lane_steps"))
CUTS = frozenset(("channels", "ahead", "warps")) | PARALLEL_CUTS  # what `layer.tiles` has of a kernel of channels
WHOLE_CUTS = frozenset(("rows", "warps", "together", "stages", "graph"))  # and of kernels of whole steps
_SMALL = 64  # operations of a step of which four fit in the registers of a lane


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

    def first(self, backward: bool) -> tuple[int, int]:
        """Operations and special functions of a step of a round, in which derivatives are computed too."""
        if backward:
            return self.functions.get("slopes", self.functions["pullback"])
        return self.functions.get("linear", self.functions.get("coefficients", self.functions["step"]))

    def last(self, backward: bool) -> tuple[int, int]:
        """Of a step of the recurrence itself."""
        return self.functions["pullback" if backward else "step"]


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


def candidates(work: Work, channels: int, steps: int, wide: bool = False, itemsize: int = 4, warp: int = WARP) -> Iterator[Tiles]:
    """The tiles worth a look for so many channels, those of all rows together, and steps; the usual ones first. wide: also such as take long
    to compile, or more registers than some devices have. itemsize: bytes of an entry of a stream; warp: threads of one."""
    for width in dict.fromkeys((warp, 64, 128)):
        if width == warp or channels >= width * 64:
            for ahead in (4, 8, 2):
                yield Tiles(SEQUENTIAL, width, ahead=ahead, warps=width // warp)
    if itemsize == 2 and channels >= 64 * 64:  # two channels a thread, whose entries are four bytes together
        for ahead in (4, 8, 2):
            yield Tiles(SEQUENTIAL, 2 * warp, ahead=ahead)
    if not work.is_parallel:
        return
    small = work.slots <= 3 and max(operations for operations, _ in work.functions.values()) <= _SMALL
    most = (4 if small else 2) * (2 if wide else 1)  # steps a lane: their values stand in registers
    least = 32 // itemsize  # channels of one sector of memory
    for width in dict.fromkeys((least, 2 * least, 8, 4, 2, 1)):
        for warps in (4, 1, 2, 8, 16):
            lanes = warps * warp // width
            if lanes < 2 or (width < least and channels >= 4096):
                continue
            for lane_steps in (most, most // 2, 1):
                if lanes * lane_steps <= max(64, 2 * steps):
                    yield Tiles(PARALLEL, width, lanes=lanes, lane_steps=lane_steps, warps=warps)


def cycles(work: Work, tiles: Tiles, channels: int, steps: int, device: Device, backward: bool = False, itemsize: int = 4) -> float:
    """What the model predicts for a call. itemsize: bytes of an entry of a stream; states have at least four."""
    return max(_bounds(work, tiles, channels, steps, device, backward, itemsize))


def _bounds(work: Work, tiles: Tiles, channels: int, steps: int, device: Device, backward: bool, itemsize: int) -> tuple[float, float, float]:
    """Cycles that a call takes at least: for its programs one after the other, for its instructions, for its bytes."""
    programs = ceil(channels / tiles.channels)
    moved = work.streams * itemsize + work.slots * max(4, itemsize)  # bytes of a step: streams read, states written
    memory = float(channels * steps) * (2 * moved + max(4, itemsize) if backward else moved) / device.bytes_a_cycle
    one, slots = _sequential(work, tiles, steps, device, backward) if tiles.schedule == SEQUENTIAL else _parallel(work, tiles, steps, device, backward)
    waves = ceil(programs / (device.processors * resident(work, tiles, device, backward)))
    issue = float(programs * tiles.warps) * slots / (device.processors * device.issue)
    return waves * one, issue, memory


def resident(work: Work, tiles: Tiles, device: Device, backward: bool = False) -> int:
    """Programs that a processor has at once, as registers, shared memory and its own limits have it; one at least."""
    by_registers = device.registers / (needed_registers(work, tiles, device, backward) * device.warp * tiles.warps)
    by_shared = device.shared / max(1, needed_shared(work, tiles))
    return max(1, int(min(device.warps / tiles.warps, device.programs, by_registers, by_shared)))


def fits(work: Work, tiles: Tiles, device: Device, backward: bool = False) -> bool:
    """Whether a kernel runs without registers that lie in memory, as far as the model knows."""
    registers = needed_registers(work, tiles, device, backward)
    whole = registers * device.warp * tiles.warps <= device.registers and needed_shared(work, tiles) <= device.shared
    return whole and registers <= device.thread_registers


def needed_registers(work: Work, tiles: Tiles, device: Device, backward: bool = False) -> float:
    """Of a thread: some for all kernels, some for what a step computes, some for each value on its way."""
    is_sequential = tiles.schedule == SEQUENTIAL
    each = tiles.ahead if is_sequential else tiles.lane_steps
    cost = _cost(_table(device, "registers", tiles, backward), work.last(backward), each * columns_of(work.streams, work.slots, backward))
    return 8 * ceil(cost * (_together(tiles, device) if is_sequential else 1) / 8)


def needed_shared(work: Work, tiles: Tiles) -> int:
    """Bytes of shared memory: what scans hand from warp to warp."""
    return 0 if tiles.warps == 1 else 4 * tiles.warps * tiles.channels * combined(work.slots)


def _sequential(work: Work, tiles: Tiles, steps: int, device: Device, backward: bool) -> tuple[float, float]:
    """Cycles of a program that has a processor to itself, and instructions that each of its warps issues."""
    run = ceil(steps / tiles.ahead) * tiles.ahead  # those behind the last are run too, and kept nowhere
    return device.memory_latency + run * step_cycles(work, tiles, device, backward), run * _slots(work, tiles, device, backward)


def step_cycles(work: Work, tiles: Tiles, device: Device, backward: bool = False) -> float:
    """Cycles of a step of a sequential kernel, of a program that has a processor to itself."""
    computing = _cost(_table(device, "cycles", tiles, backward), work.last(backward), columns_of(work.streams, work.slots, backward))
    computing = max(computing, _slots(work, tiles, device, backward))
    waiting = device.memory_latency / tiles.ahead
    step = max(computing, waiting) + device.overlap * min(computing, waiting)
    return step * (device.sequential_back_pace if backward else device.sequential_pace)


def _slots(work: Work, tiles: Tiles, device: Device, backward: bool) -> float:
    """Instructions of a step of a sequential kernel."""
    columns = columns_of(work.streams, work.slots, backward)
    return _together(tiles, device) * _cost(_table(device, "instructions", tiles, backward), work.last(backward), columns)


def _parallel(work: Work, tiles: Tiles, steps: int, device: Device, backward: bool) -> tuple[float, float]:
    """The same."""
    chunk = tiles.lanes * tiles.lane_steps
    chunks = ceil(steps / chunk)
    rounds = 1.0 if backward or work.is_exact else device.rounds * max(1.0, (chunk / 128) ** 0.35) * (8 / tiles.lane_steps) ** 0.25

    operations, special = work.first(backward)
    of_lane = (tiles.lane_steps * operations, tiles.lane_steps * special)
    columns = columns_of(work.streams, work.slots, backward)

    def taken(what: str) -> tuple[float, float]:
        """By a round, and by the steps behind the last one."""
        last = _cost(_table(device, what, replace(tiles, schedule=SEQUENTIAL), backward), work.last(backward), columns)
        return _cost(_table(device, what, tiles, backward), of_lane, 0), tiles.lane_steps * last

    scan = (tiles.lanes - 1).bit_length() * combined(work.slots) * device.level + device.crossing * (tiles.warps > 1)
    a_round, last = taken("cycles")
    a_chunk = rounds * (a_round + scan) + last + device.chunk + device.memory_latency
    a_round, last = taken("instructions")
    return chunks * a_chunk * (device.parallel_back_pace if backward else device.parallel_pace), chunks * (rounds * a_round + last)


def columns_of(streams: int, slots: int, backward: bool) -> int:
    """Values that a step reads or writes; backwards it reads states too and writes gradients."""
    return (streams + slots) * (2 if backward else 1)


def combined(slots: int) -> int:
    """Values that a scan combines: a matrix and what is added."""
    return slots * (slots + 1)


def _together(tiles: Tiles, device: Device) -> int:
    """Channels of a thread."""
    return ceil(tiles.channels / (device.warp * tiles.warps))


def _table(device: Device, what: str, tiles: Tiles, backward: bool) -> Cost:
    """Cycles, instructions or registers of a kernel's step."""
    kind = ("backward" if backward else "forward") if tiles.schedule == SEQUENTIAL else "lane_back" if backward else "lane"
    return getattr(device, f"{kind}_{what}")


def _cost(each: Cost, counted: tuple[int, int], columns: float) -> float:
    """Of operations, special functions among them, and values read or written."""
    operations, special = counted
    return each[0] + each[1] * (operations - special) + each[2] * special + each[3] * columns


def choose(
    work: Work, channels: int, steps: int, device: Device, schedule: str = "auto", wish: dict[str, int] | None = None, backward: bool = False,
    itemsize: int = 4,
) -> Tiles:
    """The tiles that the model predicts to be fastest, within a schedule and with the entries of `wish`, whatever it thinks of them. Without
    wishes they fit into registers and shared memory, if any do."""
    found = list(candidates(work, max(1, channels), max(1, steps), itemsize=itemsize, warp=int(device.warp)))
    wanted = {SEQUENTIAL: SEQUENTIAL, NEWTON: PARALLEL}.get(schedule)
    if wanted is None and wish:
        wanted = PARALLEL if PARALLEL_CUTS & wish.keys() else SEQUENTIAL if "ahead" in wish else None
    fitting = [t for t in found if t.schedule == wanted] or found
    fitting = [t for t in fitting if fits(work, t, device, backward)] or fitting
    if wish:
        fitting = list(dict.fromkeys(replace(t, **wish) for t in fitting))  # type: ignore[arg-type]

    def rank(tiles: Tiles) -> tuple[float, bool, float]:
        """Of what memory bounds alike, that which computes least comes first, then that whose programs take the least time, which has to hide."""
        bounds = _bounds(work, tiles, max(1, channels), max(1, steps), device, backward, itemsize)
        return max(bounds), tiles.schedule == PARALLEL, bounds[0]

    return min(fitting, key=rank)
