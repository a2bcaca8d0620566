"""The axes of a call: batch and time, time and batch, or one sequence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from rnndsl.runtime.arguments import check_dense, check_reset
from rnndsl.runtime.sizes import axes_text


class Laid(NamedTuple):
    """The inputs of a call and its reset, [B, T, ...] each, and whether there was no axis for the batch."""

    inputs: tuple[Tensor, ...]
    reset: Tensor | None = None
    is_single: bool = False


def laid_out(inputs: Sequence[Any], declared: Sequence[tuple[str, tuple[int, ...], Sequence[int]]], reset: Any, batch_first: bool) -> Laid:
    """Inputs and reset with batch and time in front. declared: of each input its name, its axes in one step, and these as written. Raises TypeError or
    ValueError, in the caller's layout, for what does not fit."""
    lead = ("B", "T") if batch_first else ("T", "B")
    found: list[Tensor] = []
    known: tuple[int, ...] | None = None
    for x, (name, axes, written) in zip(inputs, declared, strict=True):
        check_dense(name, x)
        n = len(known) if known is not None else 1 if x.dim() == 1 + len(axes) else 2
        if x.dim() != n + len(axes) or tuple(x.shape[n:]) != axes or known not in (None, tuple(x.shape[:n])):
            ways = [lead, ("T",)] if known is None else [[str(k) for k in known]]
            wanted = " or ".join(f"[{', '.join([*way, *axes_text(written)])}]" for way in ways)
            raise ValueError(f"{name}: expected {wanted}, got {list(x.shape)}")
        known = tuple(x.shape[:n])
        found.append(_batch_first(x, n == 1, batch_first))
    assert known is not None
    if reset is not None:
        check_reset(reset, known, lead if len(known) == 2 else ("T",), inputs[0].device)
        reset = _batch_first(reset, len(known) == 1, batch_first)
    return Laid(tuple(found), reset, len(known) == 1)


def as_given(y: Tensor, is_single: bool, batch_first: bool) -> Tensor:
    """An output [B, T, ...] in the layout of the inputs."""
    return y.squeeze(0) if is_single else y if batch_first else y.transpose(0, 1)


def _batch_first(x: Tensor, is_single: bool, batch_first: bool) -> Tensor:
    return x.unsqueeze(0) if is_single else x if batch_first else x.transpose(0, 1)
