"""One step of a whole cell by its C++ function, for decoding."""

import torch
from torch import Tensor

from rnndsl.runtime.backend import Stepped, Tensors
from rnndsl.runtime.cpu.invoke import Prepared, strided
from rnndsl.runtime.cpu.loaded import TYPES, step_of
from rnndsl.runtime.decode import decode
from rnndsl.runtime.layer import Layer

_PER_VALUE = 64  # multiplications that take as long as a value of a recurrence


def step(
    layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
) -> Stepped | None:
    """See `decode`."""
    if dtype not in TYPES or type(layer)._kernels["cpu"].step is None:
        return None
    loaded = step_of(layer, dtype)

    def prepared(streams: Tensors, statics: Tensors, carried: Tensors, made: Tensors) -> Prepared:
        arrays = [v for tensors, lead in ((streams, 1), (statics, 0), (carried, 1), (made, 1)) for v in strided(tensors, lead, dtype)]
        batch = inputs[0].shape[0]
        work = batch * sum(t.numel() for t in (*streams, *statics, *carried)) // _PER_VALUE
        return Prepared(loaded.function, loaded.hypers, batch, work, arrays)

    return decode(layer, type(layer)._kernels["cpu"].step, inputs, values, state, dtype, loaded.shapes, prepared)
