"""One step of a whole cell by its Triton kernel: one launch, which a CUDA graph can capture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from rnndsl.devices import Device
from rnndsl.runtime.backend import Stepped, Tensors
from rnndsl.runtime.decode import Launch, decode
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.key import Key, Made, made_of
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.triton import tile_launch
from rnndsl.runtime.triton.files import REAL, module_of, text_of
from rnndsl.runtime.triton.launch import launch
from rnndsl.runtime.triton.tiled import TiledStep


@dataclass(frozen=True)
class StepCut:
    """How a kernel of a step is cut whose channels are apart: those of a program, the entries of a product at a time, and warps."""

    channels: int = 16
    inner: int = 64
    warps: int = 4


CUT = StepCut()


def step(
    layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype, model: Callable[[torch.device], Device]
) -> Stepped | None:
    """See `decode`. None also where a step is too large for a program. model: what is known of a device. Raises what Triton raises."""
    known: Step | None = type(layer)._kernels["triton"].step
    if known is None or dtype not in REAL:
        return None
    kernel = _kernel(made_of(layer), dtype)
    if isinstance(kernel, TiledStep) and not tile_launch.steps_at_once(kernel):
        return None

    tiles, batch, channels = layer.tiles or {}, inputs[0].shape[0], inputs[0].shape[0] * state[0].shape[1:].numel()

    def prepared(streams: Tensors, statics: Tensors, carried: Tensors, made: Tensors) -> Launch:
        ends = list(accumulate(map(len, (streams, statics, carried))))

        def run(tensors: list[Tensor]) -> None:
            streams, rest, made = tensors[: ends[0]], tensors[ends[0] : ends[1]], tensors[ends[2] :]
            carried = [t.contiguous() for t in tensors[ends[1] : ends[2]]]
            arguments = [*(v for t in streams for v in (t, t.stride(0))), *rest, *carried, *made]
            if isinstance(kernel, TiledStep):
                cut = tile_launch.usual_cut(kernel, tiles, tile_launch.asked(batch, made[0].device, model, dtype))
                tile_launch.step(kernel, cut, arguments, batch, made[0])
            elif channels:
                launch(kernel, -(-channels // CUT.channels), [*arguments, batch], made[0], BLOCK=CUT.channels, INNER=CUT.inner, num_warps=CUT.warps)

        return run

    shapes = kernel.shapes if isinstance(kernel, TiledStep) else [state[0].shape[1:]] * len(known.outputs)
    return decode(layer, known, inputs, values, state, dtype, shapes, prepared)


@lru_cache(maxsize=256)
def _kernel(made: Made, dtype: torch.dtype) -> Any:
    """A kernel of tiles, or of channels, all of whose outputs have the shape of the states."""
    key = Key.of(Key.text_of("triton", made, "step", dtype))
    return getattr(module_of(text_of(key.kernels, key.sizes, key.hypers, key.dtype), key.cls.__name__), key.kernels.step.name)
