"""Calls of kernels over rows, and the products between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.devices import Device
from rnndsl.runtime.memory import rows
from rnndsl.runtime.triton.launch import launch
from rnndsl.runtime.triton.rows import RowPart, RowRounds, RowStage
from rnndsl.runtime.triton.tile_launch import Asked, TileCut, asked, usual_cut

_ENTRIES, A_WARP = 256, 256  # of a value that a program over rows has, and of them one warp
_MOST_ROWS = 64  # of a program

Take = Callable[[int, RowStage], list[Tensor]]  # of the number of a stage, memory for what it makes
Arrays = dict[str, list[Tensor]]  # those of all rows, [B, C, ...] each, by their kinds


@dataclass(frozen=True)
class RowLaunch:
    """What the stages of a recurrence are run with. wish: of `layer.tiles`, what is asked for; model: what is known of a device."""

    said: RowRounds
    sizes: dict[str, int]
    hypers: dict[str, float]
    dtype: torch.dtype
    wish: dict[str, int]
    model: Callable[[torch.device], Device]

    def statics(self, first: Sequence[Tensor], statics: Sequence[Tensor]) -> list[Tensor]:
        """Those of a call, and behind them what no row changes."""
        like = first[0].new_empty((1, 1, *first[0].shape[1:]))
        return [rows(s, 0) for s in (*statics, *self.said.once(like, self.sizes, self.hypers, tuple(statics)))]

    def run(self, stages: Sequence[RowStage], streams: Sequence[Tensor], statics: Sequence[Tensor], old: Sequence[Tensor], take: Take) -> Arrays:
        """What the stages read and make of all rows; `made` is what the last one made, and behind the streams stand all products."""
        arrays: Arrays = {"stream": list(streams), "old": [rows(o, 2) for o in old], "made": []}
        for k, stage in enumerate(stages):
            arrays["made"] = take(k, stage)
            if stage.kernel is not None:
                self._launch(stage, arrays, statics)
            for product in stage.products:
                found = product(arrays[product.of][product.number], statics[product.matrix])
                arrays["stream"].append(rows(found, 2))
        return arrays

    def gradients(
        self, of: RowRounds | RowPart, streams: Sequence[Tensor], statics: Sequence[Tensor], old: Sequence[Tensor], take: Take, into: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Those of the streams of a call, of what `linear` made and λ behind them, None where there is none; those of statics are added to `into`, where
        there is something."""
        arrays = self.run(of.gradients, streams, statics, old, take)
        for static, n in of.of_statics:
            if (total := into[static]) is not None:
                total += arrays["made"][n].sum((0, 1))
        for product in of.products:
            if (total := into[product.static]) is not None:
                total += product(arrays, old[0])
        return [arrays["made"][n] if n >= 0 else None for n in of.of_streams]

    def _launch(self, stage: RowStage, arrays: Arrays, statics: Sequence[Tensor]) -> None:
        made = arrays["made"]
        like, (batch, steps) = made[0], made[0].shape[:2]
        cut = cut_of(stage, self.wish, asked(batch * steps, like.device, self.model, self.dtype))
        programs = -(-batch * steps // cut.rows)
        given = strided([*(arrays["stream"][i] for i in stage.streams), *(arrays["old"][i] for i in stage.old)])
        given += [*(statics[i] for i in stage.statics), *strided(made)]
        given += [like.new_empty(programs * cut.rows * stage.scratch)] if stage.scratch else []
        launch(stage.kernel, programs, [*given, batch * steps, steps], like, ROWS=cut.rows, PRECISION=cut.precision, num_warps=cut.warps)


def cut_of(stage: RowStage, wish: dict[str, int], call: Asked) -> TileCut:
    """How a kernel over rows is cut: so many rows that a program is busy, and at least those of a product of matrices."""
    rows = wish.get("rows", 0) or max(1, min(_MOST_ROWS, _ENTRIES // stage.widest))
    if stage.matrices > 1:
        return usual_cut(stage, wish, call)
    return TileCut(rows, wish.get("warps") or max(1, min(16, rows * stage.widest // A_WARP)))


def strided(arrays: Sequence[Tensor]) -> list[Any]:
    return [v for t in arrays for v in (t, t.stride(0), t.stride(1))]
