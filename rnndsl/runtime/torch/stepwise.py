"""Calls that are run step by step, whatever solves the others."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.rules import Site
from rnndsl.runtime.torch.newton import recorded


def is_needed(call: Call) -> bool:
    """Whether there is nothing to solve; or a CUDA graph is being captured, which cannot wait for a residual."""
    captured = call.first[0].is_cuda and torch.cuda.is_current_stream_capturing()
    return captured or call.steps == 0 or any(f.numel() == 0 for f in call.first)


def gradients(solver: Any, call: Call, grads: Sequence[Tensor | None]) -> list[Tensor]:
    """The gradients of everything that a call reads, from the steps of the reference. solver: a `recurrence.Runnable`."""
    inputs = [*call.streams, *call.statics, *call.first, *call.initial]
    site = Site("", solver, (len(call.streams), len(call.statics), len(call.first), len(call.initial)), call.steps)
    with recorded():
        return [g.detach() for g in site.plain_gradients(inputs, call.reset, grads, [True] * len(inputs))]
