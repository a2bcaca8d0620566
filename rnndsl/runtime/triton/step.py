"""One step of a whole cell by its Triton kernel: one launch, which a CUDA graph can capture."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.decode import decode
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.triton.files import REAL, module_of, text_of
from rnndsl.runtime.triton.launch import launch

_BLOCK, _INNER, _WARPS = 16, 64, 4  # channels of a program, entries of a product at a time


def step(
    layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]] | None:
    """See `decode`. Raises what Triton raises."""
    known: Step | None = layer._kernels["triton"].step
    if known is None or dtype not in REAL:
        return None
    shape = state[0].shape[1:]

    def run(streams: list[Tensor], statics: list[Tensor], carried: list[Tensor], made: list[Tensor]) -> None:
        arguments: list[Any] = [v for t in streams for v in (t, t.stride(0))]
        arguments += [*statics, *(t.contiguous() for t in carried), *made]
        batch = inputs[0].shape[0]
        channels = batch * shape.numel()
        if channels:
            kernel: Any = getattr(_module(layer, dtype), known.name)
            launch(kernel, -(-channels // _BLOCK), [*arguments, batch], made[0], BLOCK=_BLOCK, INNER=_INNER, num_warps=_WARPS)

    return decode(layer, known, inputs, values, state, dtype, lambda: [shape] * len(known.outputs), run)


def _module(layer: Layer, dtype: torch.dtype) -> ModuleType:
    return module_of(text_of(layer._kernels["triton"], layer._sizes, layer._hypers, dtype), type(layer).__name__)
