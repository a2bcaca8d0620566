"""A recurrence in plain PyTorch, as a function of the real arrays that its kernels take."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import joined, parts
from rnndsl.runtime.ops import scan
from rnndsl.runtime.recurrence import kept_forms


def reference_of(
    cls: Any, name: str, forms: tuple[tuple[int, ...], ...], lags: tuple[int, ...], sizes: dict, hypers: dict, dtype: torch.dtype
) -> Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """The recurrence called `name` of a generated class; see `recurrence.Runnable` for forms, lags and arguments."""
    step, enter = getattr(cls, f"_step_{name}"), getattr(cls, f"_enter_{name}")
    header = SimpleNamespace(_sizes=sizes, _hypers=hypers)
    of_streams, of_statics, of_carries = forms
    states = kept_forms(of_carries, lags)

    def reference(
        streams: Sequence[Tensor], statics: Sequence[Tensor], first: Sequence[Tensor], initial: Sequence[Tensor], reset: Any, steps: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        kind = {"dtype": dtype, "device": first[0].device}
        fixed = joined(statics, of_statics)
        entered = enter(header, kind, *joined(streams, of_streams), *fixed)
        carried, start = joined(first, of_carries), joined(initial, of_carries)
        sequences, finals = scan(lambda *v: step(header, kind, *v, *fixed), entered, carried, start, reset, keep=len(states), steps=steps)
        return parts(sequences, states), parts(finals, of_carries)

    return reference
