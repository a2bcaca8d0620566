"""One step of a whole cell in one call of a kernel: what is common to the backends that have such a kernel."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import parts
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.layer import Layer


def decode(
    layer: Layer,
    inputs: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
    dtypes: Sequence[torch.dtype],
    shapes_of: Callable[[torch.dtype], Sequence[tuple[int, ...]]],
    call: Callable[[torch.dtype, list[Tensor], list[Tensor]], None],
) -> tuple[list[Tensor], list[Tensor]] | None:
    """Outputs and new state of a step, without gradients; None where a layer has no such kernel, or its tensors are not all of one of `dtypes`.

    inputs and state have been checked. shapes_of: the shapes of the outputs; call: runs the kernel, which reads the first list of real
    tensors (inputs and the step number, params, carried values) and writes the second (new carried values, outputs).
    """
    known: Step | None = layer._kernels.step
    if known is None or torch.is_grad_enabled():
        return None
    dtype = inputs[0].dtype.to_real()
    if dtype not in dtypes:
        return None
    count = len(known.carries)
    clock = len(state) > count
    held = layer._parameters
    statics: list[Any] = [held[name] if name in held else getattr(layer, name) for name in known.statics]
    streams = (*inputs, state[-1].to(dtype)) if clock else inputs
    given: Sequence[Tensor] = (*streams, *statics, *state[:count])
    if known.forms is not None:
        given = parts(given, known.forms)
    if any(t.dtype != dtype for t in given):
        return None
    fresh = [k for k, nearer in enumerate(known.nearer) if nearer < 0]
    shapes = (*(state[k].shape[1:] for k in fresh), *shapes_of(dtype))
    each = (*(known.carries[k] for k in fresh), *known.outputs)
    batch, device = inputs[0].shape[0], inputs[0].device
    made = [[torch.empty((batch, *shape), dtype=dtype, device=device) for _ in range(form)] for shape, form in zip(shapes, each, strict=True)]
    call(dtype, [t if t.is_contiguous() else t.contiguous() for t in given], [t for group in made for t in group])
    values = [group[0] if len(group) == 1 else torch.complex(*group) for group in made]
    new = dict(zip(fresh, values, strict=False))
    carried = [new[k] if nearer < 0 else state[nearer] for k, nearer in enumerate(known.nearer)]
    return values[len(fresh) :], [*carried, *((state[-1] + 1,) if clock else ())]
