"""Tuning from its settings to a result: a layer, the calls of its kernels, and for each of them a race of the ways to cut it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from rnndsl.checks.cell import Cell
from rnndsl.runtime.gpu import device_of, interpreted
from rnndsl.runtime.kernels import reasons_text
from rnndsl.runtime.triton import tuned
from rnndsl.runtime.triton.backend import lacking
from rnndsl.tiles import SEQUENTIAL, Tiles, candidates, choose, cycles
from rnndsl.tools import Unfit
from rnndsl.tools.bench.machine import machine
from rnndsl.tools.bench.subject import Subject, default_sizes, make_layer
from rnndsl.tools.tune.calls import KernelCall, calls_of
from rnndsl.tools.tune.race import Run, race
from rnndsl.tools.tune.settings import Settings
from rnndsl.tools.tune.timer import Timer

Tick = Callable[[str, str, int, int], None]


@dataclass
class Tuned:
    """One call of kernels: for each way to cut it what the model predicts, in seconds, and what was measured. chosen: the model's choice."""

    label: str
    is_backward: bool
    channels: int
    steps: int
    chosen: Tiles
    predicted: dict[Tiles, float]
    runs: dict[Tiles, Run]

    @property
    def measured(self) -> list[Tiles]:
        """The fastest first; the winner is the first of them."""
        timed = [t for t, run in self.runs.items() if run.timing.seconds]
        return sorted(timed, key=lambda t: (self.runs[t].is_dropped, self.runs[t].timing.median))

    @property
    def failures(self) -> dict[Tiles, str]:
        return {t: run.failure for t, run in self.runs.items() if run.failure is not None}

    def median(self, tiles: Tiles) -> float:
        """Seconds of a call."""
        return self.runs[tiles].timing.median


@dataclass
class Result:
    """All that was found. untuned: recurrences without Triton kernels of channels, and why; stored: the file of the winners, where they were stored."""

    program: str
    cell: str
    dtype: str
    device: str
    machine: dict[str, Any]
    batch: int
    steps: int
    sizes: dict[str, int]
    untuned: dict[str, str]
    tuned: list[Tuned] = field(default_factory=list)
    stored: Any = None
    interrupted: bool = False

    @property
    def winners(self) -> dict[str, Tiles]:
        """What is stored: the fastest tiles of each call, under the name of its entry."""
        return {tuned.entry(t.label, t.channels, t.steps, t.is_backward): t.measured[0] for t in self.tuned if t.measured}


def gpu() -> torch.device:
    """The GPU at hand. Raises Unfit where there is none, or kernels do not run on it."""
    if not torch.cuda.is_available():
        raise Unfit("tune times kernels on a GPU, and PyTorch finds none here")
    if why := lacking():
        raise Unfit(f"tune times Triton kernels: {why}")
    if interpreted():
        raise Unfit("TRITON_INTERPRET is set: kernels run in Triton's interpreter, whose times say nothing; unset it")
    return torch.device("cuda", torch.cuda.current_device())


def run(program: str, cell: Cell, layer_class: Any, settings: Settings, device: torch.device, timer: Timer, tick: Tick) -> Result:
    """Tunes the kernels of a cell; an interruption from the keyboard ends it with the races that are over.

    Raises Unfit for sizes that do not fit the cell, and for a cell without Triton kernels.
    """
    kernels = layer_class._kernels["triton"]
    if not kernels.kernels:
        raise Unfit(f"{cell.name} has no Triton kernels: {reasons_text(kernels.refused)}")
    if not kernels.kernels.keys() - set(kernels.tiled):
        raise Unfit(f"{cell.name} has kernels of whole steps alone, which are not cut by measurements")
    sizes = default_sizes(cell, settings.sizes)
    with device:
        layer = make_layer(cell, layer_class, sizes, "float64" if settings.dtype == "float64" else "float32")
    layer.backend = "auto" if kernels.refused else "triton"
    result = Result(
        program, cell.name, settings.dtype, device_of(device).name, machine(), settings.batch, settings.steps, sizes,
        dict(kernels.refused) | dict.fromkeys(kernels.tiled, "its kernels compute whole steps, and are not cut by measurements"),
    )
    try:
        tick("inputs", "", 0, 0)
        for call in calls_of(layer, Subject(cell, layer, settings.batch, settings.steps).inputs, settings.dtype == "bfloat16", settings.is_backward):
            result.tuned.append(tuned_call(call, device, timer, tick))
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def tuned_call(call: KernelCall, device: torch.device, timer: Timer, tick: Tick, most: int | None = None) -> Tuned:
    """The race of one call of kernels; most: how many candidates, beside the model's choice."""
    kernels, shape, model = call.launched.kernels, (call.channels, call.steps), device_of(device)
    chosen = choose(kernels.costs, *shape, model, backward=call.is_backward, itemsize=call.itemsize)
    cuts = dict.fromkeys([*islice(candidates(kernels.costs, *shape, True, call.itemsize), most), chosen])
    predicted = {t: cycles(kernels.costs, t, *shape, model, call.is_backward, call.itemsize) / model.clock for t in cuts}
    task = f"{call.label}, {'backward' if call.is_backward else 'forward'}"
    runs = race({t: partial(call.run, t) for t in cuts}, call.wrong, timer, lambda who, done, total: tick(task, who, done, total))
    return Tuned(call.label, call.is_backward, *shape, chosen, predicted, runs)


def common(found: Sequence[Tuned]) -> tuple[Tiles, float] | None:
    """The tiles that are best everywhere: those that take the least time in all calls together, and how many times that of the winners
    they take. None where no tiles ran in all of them."""
    ran = [t for t in found if t.measured]
    everywhere = [t for t in ran[0].measured if all(t in other.measured for other in ran)] if ran else []
    if not everywhere:
        return None
    total = {t: sum(f.median(t) for f in ran) for t in everywhere}
    best = min(everywhere, key=lambda t: total[t])
    return best, total[best] / sum(f.median(f.measured[0]) for f in ran)


def line(tiles: Tiles) -> str:
    """Python that fixes tiles on a layer."""
    is_sequential = tiles.schedule == SEQUENTIAL
    names = ("channels", "ahead", "warps") if is_sequential else ("channels", "lanes", "lane_steps", "warps")
    cut = {n: getattr(tiles, n) for n in names}
    return f'layer.schedule = "{"sequential" if is_sequential else "newton"}"; layer.tiles = {cut}'.replace("'", '"')
