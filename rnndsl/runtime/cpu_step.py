"""One step of a whole cell by its C++ function, for decoding."""

import torch
from torch import Tensor

from rnndsl.runtime import call
from rnndsl.runtime.decode import decode
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.loaded import TYPES, step_of

_PER_VALUE = 64  # multiplications that take as long as a value of a recurrence


def step(layer: Layer, inputs: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]] | None:
    """See `decode`."""

    def run(dtype: torch.dtype, given: list[Tensor], made: list[Tensor]) -> None:
        arrays = [v for t in given for v in (t.data_ptr(), t.stride(0) if t.dim() else 0, 0)]
        arrays += [v for t in made for v in (t.data_ptr(), t.stride(0), 0)]
        batch = inputs[0].shape[0]
        work = batch * sum(t.numel() for t in given) // _PER_VALUE
        call.call(step_of(layer, dtype).function, step_of(layer, dtype).hypers, batch, 1, work, arrays, None)

    return decode(layer, inputs, state, tuple(TYPES), lambda dtype: step_of(layer, dtype).shapes, run)
