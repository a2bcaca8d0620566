"""The values of a layer that its export holds: params, consts, what is made of them alone, and initial states."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rnndsl import runtime
from rnndsl.diagnostics import Source
from rnndsl.emit.constants import Constants
from rnndsl.plan.ir import Plan
from rnndsl.runtime.dtypes import complex_of


@torch.no_grad()
def values_of(layer: Any, plan: Plan, source: Source) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The statics of a cell by name, and the initial value of each field of its state; on the CPU and in double precision, as they are now,
    none a lazy conjugate, whose parts NumPy does not take."""
    kind: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
    held = tuple(t.detach().to(device="cpu", dtype=complex_of(torch.float64) if t.is_complex() else torch.float64) for t in layer._begin(()).values)
    named = dict(zip(layer._tensors, held, strict=True))
    initial = tuple(i.resolve_conj() for i in layer._initial_values(held, kind))
    if plan.constants:
        scope: dict[str, Any] = {"torch": torch, "F": functional, "math": math} | {name: getattr(runtime, name) for name in runtime.__all__}
        exec(compile("\n".join(Constants(plan, source).lines()), "<constants>", "exec"), scope)
        named |= scope["constants"](layer, held, kind)
    return {name: value.resolve_conj() for name, value in named.items()}, initial
