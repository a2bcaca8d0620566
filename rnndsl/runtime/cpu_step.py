"""One step of a whole cell in one call of a kernel, for decoding."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import call
from rnndsl.runtime.complex_parts import parts
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.loaded import TYPES, step_of

_PER_VALUE = 64  # multiplications that take as long as a value of a recurrence


def step(layer: Layer, inputs: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]] | None:
    """One step of the whole cell in one call, without gradients: outputs and new state; None where a layer has no such function, or
    its tensors are not all of one dtype.

    inputs and state have been checked.
    """
    known: Step | None = layer._kernels.step
    if known is None or torch.is_grad_enabled():
        return None
    dtype = inputs[0].dtype.to_real()
    if dtype not in TYPES:
        return None
    count = len(known.carries)
    clock = len(state) > count
    held = layer._parameters
    statics: list[Any] = [held[name] if name in held else getattr(layer, name) for name in known.statics]
    streams = (*inputs, state[-1].to(dtype)) if clock else inputs
    given: Sequence[Tensor] = (*streams, *statics, *state[:count])
    forms = known.forms
    if forms is not None:
        given = parts(given, forms)
    if any(t.dtype != dtype for t in given):
        return None
    kept = [t if t.is_contiguous() else t.contiguous() for t in given]  # alive until the call is done
    arrays = [v for t in kept for v in (t.data_ptr(), t.stride(0) if t.dim() else 0, 0)]
    loaded, batch = step_of(layer, dtype), inputs[0].shape[0]
    fresh = [k for k, nearer in enumerate(known.nearer) if nearer < 0]
    shapes = (*(state[k].shape[1:] for k in fresh), *loaded.shapes)
    each = (*(known.carries[k] for k in fresh), *known.outputs)
    made = [[torch.empty((batch, *shape), dtype=dtype, device="cpu") for _ in range(form)] for shape, form in zip(shapes, each, strict=True)]
    arrays += [v for group in made for t in group for v in (t.data_ptr(), t.stride(0), 0)]
    call.call(loaded.function, loaded.hypers, batch, 1, batch * sum(t.numel() for t in statics) // _PER_VALUE, arrays, None)
    values = [group[0] if len(group) == 1 else torch.complex(*group) for group in made]
    new = dict(zip(fresh, values, strict=False))
    carried = [new[k] if nearer < 0 else state[nearer] for k, nearer in enumerate(known.nearer)]
    return values[len(fresh) :], [*carried, *((state[-1] + 1,) if clock else ())]
