"""Which schedules the kernels of a recurrence have, and which one the model of a device takes for a shape: the one that a GPU runs."""

from dataclasses import dataclass
from math import prod

from rnndsl.calculus.cost import asked_of_scan
from rnndsl.calculus.schedule import MAX_SLOTS
from rnndsl.costs import LOOP, RESIDENT, STAGES, Load, RowKernels, quickest, step_kernels
from rnndsl.devices import USUAL, Device, of_architecture
from rnndsl.kernel.build import RecurrenceKernels, Refusal
from rnndsl.kernel.channel_kernel import ChannelKernel
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.row_work import RowWork, row_work_of
from rnndsl.tiles import CHUNKED, EXACT, NEWTON, SEQUENTIAL, Work, choose


@dataclass(frozen=True)
class Prediction:
    """The schedule for one shape, and why in words; no schedule where a size is missing."""

    schedule: str | None
    why: str
    channels: int | None = None  # of all rows together
    needs: tuple[str, ...] = ()  # sizes that are not given


def schedules_of(kernels: RecurrenceKernels) -> tuple[str, ...]:
    """What can run a recurrence on a GPU; an exact scan comes first."""
    channel = kernels.channel
    chunks = () if isinstance(kernels.chunked, Refusal) else (CHUNKED,)
    if isinstance(channel, Refusal):
        return (SEQUENTIAL, *chunks) if isinstance(kernels.newton, Refusal) else (SEQUENTIAL, NEWTON, *chunks)
    if channel.exact is not None:
        return (EXACT, SEQUENTIAL, *chunks)
    return (SEQUENTIAL, NEWTON) if channel.newton is not None else (SEQUENTIAL,)


def work_of(channel: ChannelKernel) -> Work:
    """What the model of devices knows of a kernel."""
    streams = sum(channel.pullback.accesses[i] is not None for i in channel.channel.numbered("stream"))
    return Work(channel.back is not None, channel.exact is not None, len(channel.channel.slots), streams, channel.work)


def predict(kernels: RecurrenceKernels, batch: int, steps: int, sizes: dict[str, int], device: Device | None = None) -> Prediction:
    """The schedule that the model takes, of the usual device where none is given."""
    device = device or of_architecture(USUAL)
    channel = kernels.channel
    if isinstance(channel, Refusal):
        return _of_whole_steps(kernels, channel.reason, batch, steps, sizes, device)
    missing = tuple(sorted({n for d in channel.channel.grid for n in d.names} - sizes.keys()))
    if missing:
        return Prediction(None, f"depends on {', '.join(missing)}", needs=missing)
    channels = batch * prod(int(d.evaluate(sizes)) for d in channel.channel.grid)
    work = work_of(channel)
    tiles = choose(work, channels, steps, device)
    kind = work.schedule(tiles)
    count = f"{channels:,} channels in all"
    if not work.is_parallel:
        return Prediction(kind, f"{count}; {len(channel.channel.slots)} numbers a channel, registers hold {MAX_SLOTS}", channels)
    return Prediction(kind, f"{count}; {tiles.cut}", channels)


_OPERATIONS = "PyTorch's operations"
_WORDS = {
    SEQUENTIAL: "a kernel of whole steps", STAGES: "a step by stages, products of matrices and a kernel each", LOOP: f"step by step in {_OPERATIONS}",
    CHUNKED: f"chunks of steps in {_OPERATIONS}",
}  # fmt: skip


def _of_whole_steps(kernels: RecurrenceKernels, reason: str, batch: int, steps: int, sizes: dict[str, int], device: Device) -> Prediction:
    """The same of a recurrence whose channels meet, for a reason."""
    counts = asked_of_scan(kernels.recurrence.scan)
    whole = not isinstance(kernels.sweep, Refusal)
    programs = [] if isinstance(kernels.sweep, Refusal) else [kernels.sweep.step.carries[0][0].shape[k] for k in kernels.sweep.split.heads]
    rows = _rows(kernels) if whole else None
    more = () if rows is None else (rows.matrices, rows.moved, rows.step)
    shapes = () if rows is None else (d for shape in rows.held for d in shape)
    missing = tuple(sorted({n for d in (*counts, *programs, *more, *shapes) for n in d.names} - sizes.keys()))
    if missing:
        return Prediction(None, f"depends on {', '.join(missing)}", needs=missing)
    over_rows = None
    if rows is not None:
        matrices, moved, launches = (float(d.evaluate(sizes)) for d in more)
        over_rows = RowKernels(int(launches), matrices, rows.round if rows.holds(sizes, RESIDENT / 4) else 0, moved)
    flops, special, streams, states = (float(d.evaluate(sizes)) for d in counts)
    load = Load(batch, steps, flops, special, streams, states, prod(int(d.evaluate(sizes)) for d in programs), over_rows)
    _, *parallel = schedules_of(kernels)
    found = quickest(load, device, [*(step_kernels(load, True) if whole else (LOOP,)), *parallel])
    in_kernels = over_rows is not None and over_rows.round > 0
    words = _WORDS | {NEWTON: f"rounds over all steps in {'kernels' if in_kernels else _OPERATIONS}"}
    return Prediction(SEQUENTIAL if found in (LOOP, STAGES) else found, f"{words[found]}; {reason}")


def _rows(kernels: RecurrenceKernels) -> RowWork | None:
    """What kernels over rows of a recurrence do, where there are some."""
    if isinstance(kernels.newton, Refusal):
        return None
    try:
        return row_work_of(kernels.newton)
    except Unsupported:
        return None
