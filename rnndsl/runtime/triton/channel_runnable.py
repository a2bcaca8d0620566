"""A recurrence whose channels do not meet, by kernels of channels, step by step or parallel over time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnndsl.devices import Device
from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import HALF
from rnndsl.runtime.triton import launch, tuned
from rnndsl.runtime.triton.channels import Channels
from rnndsl.runtime.triton.of_kernels import OfKernels
from rnndsl.tiles import CUTS, NEWTON, PARALLEL_CUTS, SEQUENTIAL, Tiles, choose

PREDICTED = "predicted by a model, not measured; rnndsl tune measures"


@dataclass
class Launched(OfKernels):
    """A recurrence whose channels do not meet; see `recurrence.Runnable`. model: what is known of a device; last: how its last forward
    pass ran, and what its programs reported."""

    kernels: Channels
    boxes: tuple[tuple[float, float], ...]
    dtype: torch.dtype
    schedule: str
    wish: dict[str, int]
    label: str
    reference: Any
    model: Callable[[torch.device], Device]
    last: tuple[Tiles, Tensor | None] | None = field(default=None, repr=False)
    chosen: dict[tuple, Tiles] = field(default_factory=dict, repr=False)  # by channels, steps, device, dtype of streams and direction

    @property
    def follows(self) -> tuple[int, ...]:
        return self.kernels.follows

    def streams_of(self, call: Call) -> torch.dtype:
        """The dtype of a call's streams: half where any of them is."""
        return next((s.dtype for s in call.streams if s.dtype in HALF), self.dtype)

    def named(self, streams: torch.dtype) -> str:
        """What calls with such streams are called in a table of measurements."""
        return f"{self.label}, {str(streams).removeprefix('torch.')} streams"

    @property
    def cut(self) -> dict[str, int]:
        """What kernels of channels are cut by, of what is asked for."""
        return {n: v for n, v in self.wish.items() if n in CUTS}

    @property
    def unheeded(self) -> Iterator[str]:
        """Of what was asked for in vain, why; no stages and no graphs of them is what there is."""
        for n, value in self.wish.items():
            if n not in CUTS and value:
                yield f"has no {n}, since its channels do not meet inside a step"
            elif n in PARALLEL_CUTS and (self.schedule == SEQUENTIAL or self.kernels.parallel is None):
                yield f"has no {n}, since it goes step by step"
            elif n == "ahead" and (self.schedule == NEWTON or PARALLEL_CUTS & self.wish.keys()) and self.kernels.parallel is not None:
                yield "has no ahead, since it is parallel over time"

    def tiles(self, batch: int, steps: int, device: torch.device, streams: torch.dtype, backward: bool = False) -> tuple[Tiles, str]:
        """How a call with such streams is cut, and why."""
        channels = batch * self.kernels.count
        if self.schedule == "auto" and not self.cut:
            known = tuned.find(self.model(device).name, self.named(streams), channels, steps, backward)
            if known is not None and (known.schedule == SEQUENTIAL or self.kernels.parallel is not None):
                return known, "measured by rnndsl tune"
        known = self.chosen.get((channels, steps, device, streams, backward))
        if known is None:
            known = choose(self.kernels.costs, channels, steps, self.model(device), self.schedule, self.cut, backward, streams.itemsize)
            self.chosen[channels, steps, device, streams, backward] = known
        return known, self._why()

    def _why(self) -> str:
        if self.schedule == "auto" and not self.cut:
            return PREDICTED
        return "asked for by layer.tiles" if self.cut else f"schedule={self.schedule!r}"

    def forward(self, call: Call) -> list[Tensor]:
        tiles, _ = self.tiles(call.first[0].shape[0], call.steps, call.first[0].device, self.streams_of(call))
        found, report = launch.forward(self.kernels, tiles, self.boxes, call)
        self.last = (tiles, report)
        return found

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        tiles, _ = self.tiles(call.first[0].shape[0], call.steps, call.first[0].device, self.streams_of(call), backward=True)
        return launch.backward(self.kernels, tiles, call, sequences, grads)
