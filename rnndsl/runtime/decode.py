"""One step of a whole cell in one call of a kernel: what is common to the backends that have such a kernel."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from rnndsl.runtime.backend import Stepped, Tensors
from rnndsl.runtime.complex_parts import parts
from rnndsl.runtime.kernels import Step
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.memory import rows

Launch = Callable[[list[Tensor]], None]  # runs a kernel on what it reads, then what it writes, which lie as those did that it was made for


def decode(
    layer: Layer,
    known: Step | None,
    inputs: tuple[Tensor, ...],
    values: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
    dtype: torch.dtype,
    shapes: Sequence[tuple[int, ...]],
    prepared: Callable[[Tensors, Tensors, Tensors, Tensors], Launch],
) -> Stepped | None:
    """A step without gradients; None where there is no such kernel (`known`), or a tensor is one of a class that may do otherwise with it.

    inputs, values (params and consts) and state have been checked and are all of `dtype`. shapes: of the outputs. prepared: what runs the kernel,
    for what it reads, which are streams (inputs and the step number), statics and carried values, and what it writes, which are new carried values and
    outputs; all real.
    """
    if known is None or any(type(t) is not Tensor and type(t) is not nn.Parameter for t in (*inputs, *values, *state)):
        return None
    fresh = [k for k, nearer in enumerate(known.nearer) if nearer < 0]
    places = tuple(fresh.index(k) if k in fresh else -1 for k in range(len(known.nearer)))
    batch, device = inputs[0].shape[0], inputs[0].device
    wanted = tuple((batch, *size) for size in (*(state[k].shape[1:] for k in fresh), *shapes))
    names = list(layer._tensors)
    step = _Step(tuple(map(names.index, known.statics)), known.nearer, places, wanted, dtype, device)

    read = step.reads(inputs, values, state)
    forms, leads = (known.streams, tuple(known.statics.values()), known.carries), (1, 0, 1)
    streams, statics, carries = ([rows(t, lead) for t in (parts(group, form) if 2 in form else group)] for group, form, lead in zip(read, forms, leads, strict=True))
    of_results = (*(known.carries[k] for k in fresh), *known.outputs)
    made = [[torch.empty(*size, dtype=dtype, device=device) for _ in range(form)] for size, form in zip(wanted, of_results, strict=True)]
    written = [t for group in made for t in group]
    launch = prepared(streams, statics, carries, written)
    launch([*streams, *statics, *carries, *written])
    outputs, after = step.found([group[0] if len(group) == 1 else torch.complex(*group) for group in made], state)

    if any(2 in form for form in (*forms, of_results)) or not all(map(operator.is_, chain(streams, statics, carries), chain(*read))):
        return Stepped(outputs, after, None)
    return Stepped(outputs, after, lambda *tensors: step.run(launch, *tensors))


@dataclass(frozen=True)
class _Step:
    """What becomes of the tensors of a step. statics: of each that the kernel reads, its place among params and consts; nearer: as `Step` has it; made:
    of each carried value, its place among the results, -1 where it is an old one; shapes: of the results."""

    statics: tuple[int, ...]
    nearer: tuple[int, ...]
    made: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    device: torch.device

    def reads(self, inputs: Tensors, values: Tensors, state: Tensors) -> tuple[Tensors, Tensors, Tensors]:
        """Streams, statics and carried values."""
        count = len(self.nearer)
        streams = (*inputs, state[-1].to(self.dtype)) if len(state) > count else inputs
        return streams, [values[i] for i in self.statics], state[:count]

    def found(self, results: list[Tensor], state: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs and new state."""
        after = [results[k] if k >= 0 else state[n].clone(memory_format=torch.contiguous_format) for k, n in zip(self.made, self.nearer, strict=True)]
        if len(state) > len(after):  # the step number
            after.append(state[-1] + 1)
        return results[max(self.made, default=-1) + 1 :], after

    def run(self, launch: Launch, inputs: Tensors, values: Tensors, state: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        made = [torch.empty(*shape, dtype=self.dtype, device=self.device) for shape in self.shapes]
        streams, statics, carries = self.reads(inputs, values, state)
        launch([*streams, *statics, *carries, *made])
        return self.found(made, state)
