"""Where to measure: about the points at which the model of the device changes its choice of a schedule, and on a grid."""

from collections.abc import Iterator

import torch

from on_gpu.cells import Case, diagonal
from on_gpu.device import Gpu
from on_gpu.scale import MOST, Scale
from rnndsl.tools.tune.calls import calls_of


def crossings(case: Case, scale: Scale, device: torch.device) -> list[tuple[int, int]]:
    """Channels and steps on either side of each change of the schedule along the channels, which double, for each number of steps."""
    subject = case.subject(1, 2, {"D": 1, "H": scale.hidden}, device)
    launched = calls_of(subject.layer, subject.inputs, False, False)[0].launched
    launched.schedule = "auto"
    found: list[tuple[int, int]] = []
    for steps in scale.steps:
        counts = [scale.hidden << n for n in range(scale.doublings) if (scale.hidden << n) * steps <= MOST]
        chosen = [launched.tiles(c // scale.hidden, steps, device, torch.float32)[0].schedule for c in counts]
        for n in range(1, len(counts)):
            if chosen[n] != chosen[n - 1]:
                found += [(counts[n - 1], steps), (counts[n], steps)]
    return list(dict.fromkeys(found))


def points(scale: Scale, machine: Gpu) -> Iterator[tuple[Case, int, int]]:
    """Cells, channels of all sequences together, and steps: those of the crossings first."""
    near = [(case, *at) for case in diagonal(scale) for at in crossings(case, scale, machine.device)]
    everywhere = [(case, *at) for at in scale.points for case in diagonal(scale)]
    yield from dict.fromkeys([*near, *everywhere])
