"""One step of a whole cell by its C++ function, for decoding."""

import torch
from torch import Tensor

from rnndsl.runtime.cpu.invoke import invoke, strided
from rnndsl.runtime.cpu.loaded import TYPES, step_of
from rnndsl.runtime.decode import decode
from rnndsl.runtime.layer import Layer

_PER_VALUE = 64  # multiplications that take as long as a value of a recurrence


def step(
    layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]] | None:
    """See `decode`."""

    def run(streams: list[Tensor], statics: list[Tensor], carried: list[Tensor], made: list[Tensor]) -> None:
        arrays = [v for tensors, lead in ((streams, 1), (statics, 0), (carried, 1), (made, 1)) for v in strided(tensors, lead, dtype)]
        batch = inputs[0].shape[0]
        work = batch * sum(t.numel() for t in (*streams, *statics, *carried)) // _PER_VALUE
        invoke(step_of(layer, dtype).function, step_of(layer, dtype).hypers, batch, 1, work, arrays, None)

    return decode(layer, layer._kernels["cpu"].step, inputs, values, state, dtype, lambda: step_of(layer, dtype).shapes, run) if dtype in TYPES else None
