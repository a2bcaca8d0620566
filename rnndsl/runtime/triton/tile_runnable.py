"""A recurrence by kernels whose programs compute whole steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.devices import Device
from rnndsl.runtime.call import Call
from rnndsl.runtime.triton import tile_launch
from rnndsl.runtime.triton.of_kernels import OfKernels
from rnndsl.runtime.triton.tile_launch import TileCut, asked, usual_cut
from rnndsl.runtime.triton.tiled import Tiled


@dataclass(frozen=True)
class TileLaunched(OfKernels):
    """A recurrence in Triton, a program a few rows of the batch; see `recurrence.Runnable`. wish: of `layer.tiles`, what is asked for; model: what is
    known of a device."""

    kernels: Tiled
    dtype: torch.dtype
    wish: dict[str, int]
    reference: Any
    model: Callable[[torch.device], Device]
    follows: tuple[int, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether a program can hold a step of one row."""
        return tile_launch.fits(self.kernels)

    def cut(self, batch: int, device: torch.device, backward: bool = False) -> TileCut:
        """How a call is cut. Raises ValueError where a step is too large for a program."""
        return usual_cut(self.kernels, self.wish, asked(batch, device, self.model, self.dtype, backward))

    def forward(self, call: Call) -> list[Tensor]:
        return tile_launch.forward(self.kernels, self._cut_of(call), call)

    def backward(self, call: Call, sequences: list[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor]:
        return tile_launch.backward(self.kernels, self._cut_of(call, backward=True), call, sequences, grads, wanted)

    def _cut_of(self, call: Call, backward: bool = False) -> TileCut:
        return self.cut(call.first[0].shape[0], call.first[0].device, backward)
