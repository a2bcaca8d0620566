"""A recurrence step by step, by kernels whose programs compute whole steps, each by itself or several together, or by one kernel a stage."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnndsl import costs
from rnndsl.devices import Device
from rnndsl.runtime.call import Call
from rnndsl.runtime.triton import tile_launch
from rnndsl.runtime.triton.cut import in_registers
from rnndsl.runtime.triton.of_kernels import OfKernels
from rnndsl.runtime.triton.stages import Staged
from rnndsl.runtime.triton.tile_launch import TileCut, asked, shared_cut, usual_cut
from rnndsl.runtime.triton.tiled import Tiled
from rnndsl.tiles import WHOLE_CUTS


@dataclass(frozen=True)
class TileLaunched(OfKernels):
    """A recurrence in Triton, step by step: a program computes whole steps of a few rows of the batch, or a step is a row of stages, as a model of the
    device has it. See `recurrence.Runnable`. wish: of `layer.tiles`, what is asked for; model: what is known of a device; others: what makes the
    stages, None where there are none."""

    kernels: Tiled
    dtype: torch.dtype
    wish: dict[str, int]
    reference: Any
    model: Callable[[torch.device], Device]
    others: Callable[[], Staged | None] = field(repr=False)
    follows: tuple[int, ...] = ()

    @cached_property
    def staged(self) -> Staged | None:
        """The stages, of each of which a program can hold a row."""
        found = self.others()
        return found if found is not None and found.fits else None

    @property
    def whole(self) -> bool:
        """Whether a program can hold a step of one row."""
        return tile_launch.fits(self.kernels)

    @property
    def together(self) -> bool:
        """Whether several programs are to compute the steps of the same rows together, which only a wish says."""
        return "together" in self.wish and self.kernels.divided > 0

    @property
    def unheeded(self) -> Iterator[str]:
        """Of what was asked for in vain, why; no stages and no graphs of them is what there may be in any case."""
        for n in self.wish:
            if n not in WHOLE_CUTS:
                yield f"has no {n}, since its channels meet inside a step"
        if "together" in self.wish and not self.together:
            yield "multiplies by no matrix of params, of which programs could have parts"
        asked = [n for n in ("stages", "graph") if self.wish.get(n)]
        if asked and self.together:
            yield f"has no {asked[0]}, since its programs compute together"
        elif asked and self.staged is None:
            yield f"has no {asked[0]}" + (" of stages" if asked[0] == "graph" else "")
        elif asked == ["graph"] and self.wish.get("stages") == 0:
            yield "has no graph, since it has no stages"

    @property
    def fits(self) -> bool:
        """Whether there are kernels for these sizes."""
        return self.whole or self.staged is not None

    def schedules(self, batch: int, steps: int) -> tuple[str, ...]:
        """What may go step by step here, of costs.py: what was asked for, or all of them."""
        if self.together:
            return (costs.SEQUENTIAL,)
        wanted = self.wish.get("stages")
        if self.staged is None or wanted == 0:
            return (costs.SEQUENTIAL,) if self.whole else ()
        if wanted:
            return (costs.STAGES,)
        return costs.step_kernels(self._load(self.staged, batch, steps), self.whole)

    def by_stages(self, batch: int, steps: int, device: torch.device) -> bool:
        """Whether a step is a row of stages."""
        if in_registers(self.kernels.matrices) and self.whole and "stages" not in self.wish:
            return False
        schedules = self.schedules(batch, steps)
        if len(schedules) < 2 or self.staged is None:
            return costs.STAGES in schedules
        return costs.quickest(self._load(self.staged, batch, steps), self.model(device), schedules) == costs.STAGES

    @property
    def rows(self) -> costs.RowKernels | None:
        """What the model knows of kernels over rows."""
        found = self.others()
        return None if found is None else found.stages.said.work.kernels

    def _load(self, staged: Staged, batch: int, steps: int) -> costs.Load:
        return staged.stages.said.work.load(batch, steps, self.kernels.programs)

    def cut(self, batch: int, device: torch.device, backward: bool = False) -> TileCut:
        """How a call is cut. Raises ValueError where a step is too large for a program."""
        cut = shared_cut if self.together else usual_cut
        return cut(self.kernels, self.wish, asked(batch, device, self.model, self.dtype, backward))

    def forward(self, call: Call) -> list[Tensor]:
        if (staged := self._stages_of(call)) is not None:
            return staged.forward(call)
        return tile_launch.forward(self.kernels, self._cut_of(call), call)

    def backward(self, call: Call, sequences: list[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor]:
        if (staged := self._stages_of(call)) is not None:
            return staged.backward(call, sequences, grads, wanted)
        return tile_launch.backward(self.kernels, self._cut_of(call, backward=True), call, sequences, grads, wanted)

    def _stages_of(self, call: Call) -> Staged | None:
        first = call.first[0]
        return self.staged if self.by_stages(first.shape[0], call.steps, first.device) else None

    def _cut_of(self, call: Call, backward: bool = False) -> TileCut:
        return self.cut(call.first[0].shape[0], call.first[0].device, backward)
