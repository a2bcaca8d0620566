"""One step of a whole cell in one call of a kernel: what is common to the backends that have such a kernel."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rnndsl.runtime.complex_parts import parts
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.memory import rows


def decode(
    layer: Layer,
    known: Step | None,
    inputs: tuple[Tensor, ...],
    values: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
    dtype: torch.dtype,
    shapes: Callable[[], Sequence[tuple[int, ...]]],
    run: Callable[[list[Tensor], list[Tensor], list[Tensor], list[Tensor]], None],
) -> tuple[list[Tensor], list[Tensor]] | None:
    """Outputs and new state of a step, without gradients; None where there is no such kernel (`known`), or a tensor is one of a class that may do
    otherwise with it.

    inputs, values (params and consts) and state have been checked and are all of `dtype`. shapes: of the outputs. run: runs the kernel, which
    reads streams (inputs and the step number), statics and carried values, and writes the last list (new carried values, outputs); all real.
    """
    if known is None or any(type(t) is not Tensor and type(t) is not nn.Parameter for t in (*inputs, *values, *state)):
        return None
    count = len(known.carries)
    clock = len(state) > count
    named = dict(zip(layer._tensors, values, strict=True))
    groups = (
        ((*inputs, state[-1].to(dtype)) if clock else inputs, known.streams, 1),
        ([named[name] for name in known.statics], tuple(known.statics.values()), 0),
        (state[:count], known.carries, 1),
    )
    given = [[rows(t, lead) for t in (parts(group, forms) if 2 in forms else group)] for group, forms, lead in groups]
    fresh = [k for k, nearer in enumerate(known.nearer) if nearer < 0]
    sizes = (*(state[k].shape[1:] for k in fresh), *shapes())
    each = (*(known.carries[k] for k in fresh), *known.outputs)
    batch, device = inputs[0].shape[0], inputs[0].device
    made = [[torch.empty((batch, *size), dtype=dtype, device=device) for _ in range(form)] for size, form in zip(sizes, each, strict=True)]
    streams, statics, carries = given
    run(streams, statics, carries, [t for group in made for t in group])
    results = [group[0] if len(group) == 1 else torch.complex(*group) for group in made]
    new = dict(zip(fresh, results, strict=False))
    carried = [new[k] if nearer < 0 else state[nearer].clone(memory_format=torch.contiguous_format) for k, nearer in enumerate(known.nearer)]
    return results[len(fresh) :], [*carried, *((state[-1] + 1,) if clock else ())]
