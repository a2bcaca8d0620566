"""What the solver and the step cost: rounds of Newton's method, in its shooting form and plain; cycles of a step of the sequential kernels."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from on_gpu.cells import Case
from on_gpu.record import Row
from on_gpu.scale import Scale
from on_gpu.timing import samples
from rnndsl.tiles import SEQUENTIAL, WARP, Tiles
from rnndsl.tools.bench.candidates import gap
from rnndsl.tools.bench.subject import Subject
from rnndsl.tools.tune.calls import KernelCall, calls_of
from rnndsl.tools.tune.timer import Timer

_CHANNELS = 2  # of a program, the same for all, since a chunk takes the rounds of its slowest channel
_LANE_STEPS = 8  # of the shooting form; the plain one has 1


def layers(case: Case, scale: Scale, device: torch.device) -> Iterator[tuple[Any, tuple[Tensor, ...], Row]]:
    """A layer, step by step and then in each form of Newton's method, for recurrent weights of several spreads; its inputs; and what it is."""
    batch, steps, hidden = scale.newton
    for spread in scale.weights:
        subject = case.subject(batch, steps, {"D": 16, "H": hidden}, device)
        layer = subject.layer
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, p in layer.named_parameters():
                if p.dim() == 1 and not name.startswith("b_"):
                    p.copy_(spread * torch.randn(p.shape, generator=generator))
            layer.schedule, layer.tiles = "sequential", None
            yield layer, subject.inputs, {}
            for chunk in scale.chunks:
                for form, lane_steps in {"shooting": min(_LANE_STEPS, chunk // 2), "plain": 1}.items():
                    lanes = chunk // lane_steps
                    layer.schedule = "newton"
                    layer.tiles = {"channels": _CHANNELS, "lanes": lanes, "lane_steps": lane_steps, "warps": max(1, lanes * _CHANNELS // WARP)}
                    about = {"cell": case.name, "B": batch, "T": steps, "H": hidden, "spread": spread, "chunk": chunk, "form": form, "lanes": lanes}
                    yield layer, subject.inputs, about


def newton(case: Case, scale: Scale, device: torch.device) -> Iterator[Row]:
    """Rounds a chunk, and gaps to the steps one by one."""
    for layer, inputs, about in layers(case, scale, device):
        with torch.no_grad():
            found = layer(*inputs)[0]
        if not about:
            wanted = found
            continue
        (report,) = layer.solve_report()
        yield {
            **about, "chunks": report.chunks, "rounds": report.rounds, "most_rounds": report.most_rounds, "alone": report.alone,
            "residual": report.residual, "gap": gap((found,), (wanted,)),
        }  # fmt: skip


def pairs(case: Case, scale: Scale, device: torch.device) -> Iterator[tuple[Tiles, KernelCall, KernelCall]]:
    """Tiles of one warp; and kernels with few steps and with many, forwards and backwards."""
    short, long = (calls_of(s.layer, s.inputs, False, True) for s in (_small(case, t, device) for t in scale.step))
    for ahead in scale.ahead:
        for few, many in zip(short, long, strict=True):
            yield Tiles(SEQUENTIAL, WARP, ahead=ahead), few, many


def cycles(case: Case, scale: Scale, device: torch.device, timer: Timer, clock: float | None) -> Iterator[Row]:
    """Seconds of one more step of one warp's channels, and the cycles that they are: too little work to wait for anything but itself."""
    for tiles, a, b in pairs(case, scale, device):
        for call in (a, b):
            call.run(tiles)
        few, many = (samples(partial(call.run, tiles), timer, scale.samples).median for call in (a, b))
        step = (many - few) / (scale.step[1] - scale.step[0])
        yield {
            "cell": case.name, "direction": "backward" if a.is_backward else "forward", "ahead": tiles.ahead, "channels": a.channels,
            "T": list(scale.step), "medians": [few, many], "seconds_a_step": step, "cycles_a_step": step * clock if clock else None,
        }  # fmt: skip


def _small(case: Case, steps: int, device: torch.device) -> Subject:
    return case.subject(1, steps, {"D": 1, "H": WARP}, device)
