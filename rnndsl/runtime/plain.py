"""A recurrence in plain PyTorch, as a function of the real arrays that its kernels take."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.complex_parts import joined, parts
from rnndsl.runtime.dtypes import widened
from rnndsl.runtime.lags import kept_forms
from rnndsl.runtime.ops import scan


def reference_of(
    cls: Any,
    name: str,
    forms: tuple[tuple[int, ...], ...],
    lags: tuple[int, ...],
    sizes: dict,
    hypers: dict,
    dtype: torch.dtype,
    counts: tuple[int, int] | None = None,
    follows: tuple[int, ...] = (),
) -> Callable[[Call], tuple[tuple[Tensor, ...], ...]]:
    """The recurrence called `name` of a generated class; see `recurrence.Runnable` for forms, lags and arguments. counts: how many of the
    streams and statics, first among them, are the recurrence's own; the others are for what follows it, `follows`."""
    step, enter = getattr(cls, f"_step_{name}"), getattr(cls, f"_enter_{name}")
    header = SimpleNamespace(_sizes=sizes, _hypers=hypers)
    setattr(header, f"_enter_{name}", partial(enter, header))
    of_streams, of_statics, of_carries = forms
    states = kept_forms(of_carries, lags)

    def reference(call: Call) -> tuple[tuple[Tensor, ...], ...]:
        kind = {"dtype": dtype, "device": call.first[0].device}
        given, fixed = joined([widened(s, dtype) for s in call.streams], of_streams), joined(call.statics, of_statics)
        own, further = counts or (len(given), len(fixed)), (given, fixed)
        given, fixed = given[: own[0]], fixed[: own[1]]
        entered = enter(header, kind, *given, *fixed)
        carried, start = joined(call.first, of_carries), joined(call.initial, of_carries)
        sequences, finals = scan(lambda *v: step(header, kind, *v, *fixed), entered, carried, start, call.reset, len(states), call.steps)
        found = parts(sequences, states), parts(finals, of_carries)
        if not follows:
            return found
        begins = (*carried[: len(states)], *start[: len(states)])
        more = (*further[0][own[0] :], *further[1][own[1] :])
        made = getattr(cls, f"_exit_{name}")(header, kind, call.reset, *sequences, *begins, *given, *fixed, *more)
        return *found, parts(made, follows)

    return reference
