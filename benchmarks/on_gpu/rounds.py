"""What the solver and the step cost: rounds of Newton's method, in its shooting form and plain; cycles of a step of the sequential kernels."""

from collections.abc import Iterator
from functools import partial

import torch

from on_gpu.cells import Case
from on_gpu.record import Row
from on_gpu.scale import Scale
from on_gpu.timing import samples
from rnndsl.tiles import SEQUENTIAL, WARP, Tiles
from rnndsl.tools.bench.candidates import gap
from rnndsl.tools.bench.subject import Subject
from rnndsl.tools.tune.calls import calls_of
from rnndsl.tools.tune.timer import Timer

_CHANNELS = 2  # of a program, the same for all, since a chunk takes the rounds of its slowest channel
_LANE_STEPS = 8  # of the shooting form; the plain one has 1


def newton(case: Case, scale: Scale, device: torch.device) -> Iterator[Row]:
    """Rounds a chunk for recurrent weights of several spreads."""
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
            wanted = layer(*subject.inputs)[0]
            for chunk in scale.chunks:
                for form, lane_steps in {"shooting": min(_LANE_STEPS, chunk // 2), "plain": 1}.items():
                    lanes = chunk // lane_steps
                    layer.schedule = "newton"
                    layer.tiles = {"channels": _CHANNELS, "lanes": lanes, "lane_steps": lane_steps, "warps": max(1, lanes * _CHANNELS // WARP)}
                    far = gap((layer(*subject.inputs)[0],), (wanted,))
                    (report,) = layer.solve_report()
                    yield {
                        "cell": case.name, "B": batch, "T": steps, "H": hidden, "spread": spread, "chunk": chunk, "form": form, "lanes": lanes,
                        "chunks": report.chunks, "rounds": report.rounds, "most_rounds": report.most_rounds, "alone": report.alone,
                        "residual": report.residual, "gap": far,
                    }  # fmt: skip


def cycles(case: Case, scale: Scale, device: torch.device, timer: Timer, clock: float | None) -> Iterator[Row]:
    """Seconds of one more step of one warp's channels, and the cycles that they are: too little work to wait for anything but itself."""
    short, long = (calls_of(s.layer, s.inputs, False, True) for s in (_small(case, t, device) for t in scale.step))
    for ahead in scale.ahead:
        tiles = Tiles(SEQUENTIAL, WARP, ahead=ahead)
        for a, b in zip(short, long, strict=True):
            for call in (a, b):
                call.run(tiles)
            few, many = (samples(partial(call.run, tiles), timer, scale.samples).median for call in (a, b))
            step = (many - few) / (scale.step[1] - scale.step[0])
            yield {
                "cell": case.name, "direction": "backward" if a.is_backward else "forward", "ahead": ahead, "channels": a.channels,
                "T": list(scale.step), "medians": [few, many], "seconds_a_step": step, "cycles_a_step": step * clock if clock else None,
            }  # fmt: skip


def _small(case: Case, steps: int, device: torch.device) -> Subject:
    return case.subject(1, steps, {"D": 1, "H": WARP}, device)
