"""Sequences of different lengths in one batch: padded to the longest, or end to end in one row.

The cell runs over the whole batch either way. What differs is where sequences begin and end: an object says it, for one direction of time or the
other, by what it does to what goes into a cell and to what comes out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Whole:
    """Sequences that all fill the time: nothing to be done but to turn it around."""

    is_ragged = False  # whether a sequence may end before the last step
    shards: Any = None  # ranks over which their time is divided; see `nn.ranks.Part`

    def __init__(self, count: int, steps: int):
        self.count, self.steps = count, steps

    def turned(self, x: Tensor) -> Tensor:
        """x [B, T, ...] with the time of each sequence turned around. Twice is nothing."""
        return x.flip(1)

    def filled(self, x: Tensor) -> Tensor:
        """x with something harmless at steps that belong to no sequence."""
        return x

    def masked(self, y: Tensor) -> Tensor:
        """y with zeros at these steps."""
        return y

    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        """Before which steps the state starts anew. reset: bool [B, T], before which the caller wants it to, in the order of time."""
        return reset if reset is None or not backward else self.turned(_borders_turned(reset))

    def ends(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of each sequence its row, and the step behind its last one: [N] each."""
        return torch.arange(self.count, device=device), torch.full((self.count,), self.steps, device=device)

    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        """The state that each sequence ends with, [N, ...] each field. after: the state after every step, [B, T, ...]; before: what the sequences
        began with, [N, ...], which is left of those without a step."""
        raise NotImplementedError

    # What is otherwise over ranks

    def over(self, backward: bool) -> dict[str, Any]:
        """What a cell is given beside its arguments."""
        return {}

    def beside(self, x: Tensor, before: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What came before the first step of x [B, T, D], as many steps as `before` has, and the resets there and here, where there are any. before: what
        came before the first step of all; reset: bool [B, T], before which steps there is nothing."""
        return before, None, reset

    def kept(self, values: Tensor) -> Tensor | None:
        """What stands at the end of each sequence, [N, ...]."""
        return values

    def attached(self, y: Tensor) -> Tensor:
        """Results, which depend on all that crossed borders, so that each rank's backward pass takes part in those of others."""
        return y

    def runner(self, *modules: Any) -> Callable[..., Any]:
        """What calls one of these modules, with params whose gradients are those of all steps."""
        return lambda module, *given: module(*given)

    def total(self, count: Tensor) -> Tensor:
        """A number of steps here, as one of all."""
        return count


class Padded(Whole):
    """Sequences at the beginning of each row, with padding behind. lengths: int64 [B].

    Padded steps see the first step of their sequence instead of what stands there, and start from the initial state each: so whatever the padding
    holds, and however the cell would go on, they compute finite numbers. These are not read, so their gradient is zero.
    """

    is_ragged = True

    def __init__(self, lengths: Tensor, steps: int):
        super().__init__(lengths.shape[0], steps)
        self.lengths = lengths
        self.time = torch.arange(steps, device=lengths.device)
        self.real = self.time < lengths.unsqueeze(1)

    def turned(self, x: Tensor) -> Tensor:
        if not self.steps:
            return x
        index = (self.lengths.unsqueeze(1) - 1 - self.time) % self.steps  # padding stays behind, in an order of its own
        return x.gather(1, _as(index, x).expand_as(x))

    def filled(self, x: Tensor) -> Tensor:
        if not self.steps or not self.count:
            return x
        rows = torch.arange(self.count, device=x.device)
        rows = torch.where(self.lengths > 0, rows, self.lengths.argmax())  # the first step of another one, where there is none
        first = x.detach()[rows, 0]
        first = torch.where(self.lengths.max() > 0, first, torch.zeros_like(first)).unsqueeze(1)
        return torch.where(_as(self.real, x), x, first)

    def masked(self, y: Tensor) -> Tensor:
        return torch.where(_as(self.real, y), y, torch.zeros_like(y))

    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        inside = None if reset is None else super().resets(reset & self.real, backward)
        return ~self.real if inside is None else inside | ~self.real

    def ends(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.arange(self.count, device=device), self.lengths

    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        rows = torch.arange(self.count, device=self.lengths.device)
        return _picked(after, before, rows, self.lengths - 1, self.lengths == 0)


class EndToEnd(Whole):
    """One row of sequences, each behind the one before. borders: int64 [N + 1], where they begin, and where the last one ends."""

    is_ragged = True

    def __init__(self, borders: Tensor, steps: int):
        super().__init__(borders.shape[0] - 1, steps)
        self.borders = borders

    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        begins = torch.zeros(self.steps + 1, dtype=torch.bool, device=self.borders.device).index_fill(0, self.borders[:-1], True)
        begins = begins[: self.steps].unsqueeze(0)
        return super().resets(begins if reset is None else begins | reset, backward)

    def ends(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(self.borders[1:]), self.borders[1:]

    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        at = self.steps - 1 - self.borders[:-1] if backward else self.borders[1:] - 1
        return _picked(after, before, torch.zeros_like(at), at, self.borders.diff() == 0)

    def padded(self) -> Padded:
        """The sequences of a batch that was set apart."""
        lengths = self.borders.diff()
        return Padded(lengths, int(lengths.max()) if self.count else 0)

    def apart(self, x: Tensor) -> Tensor:
        """x [1, T, ...] as a padded batch [N, longest, ...]."""
        lengths = self.borders.diff()
        steps = int(lengths.max()) if self.count else 0
        if not self.steps:
            return x.new_zeros((self.count, steps, *x.shape[2:]))
        index = self.borders[:-1].unsqueeze(1) + torch.arange(steps, device=x.device)
        return x[0][index.clamp(max=self.steps - 1)]

    def joined(self, y: Tensor) -> Tensor:
        """A padded batch [N, longest, ...] as one row [1, T, ...]."""
        rows = torch.repeat_interleave(torch.arange(self.count, device=y.device), self.borders.diff(), output_size=self.steps)
        return y[rows, torch.arange(self.steps, device=y.device) - self.borders[rows]].unsqueeze(0)


def sequences(lengths: Any, cu_seqlens: Any, batch: int, steps: int, device: torch.device) -> Whole:
    """The sequences of a batch [B, T, ...], by `lengths` or `cu_seqlens`, as `padded` and `end_to_end` take them; whole rows if both are None. `lengths` may
    be what this returned, as several layers over one batch share it. Raises what these do, TypeError where both are given."""
    if isinstance(lengths, Whole):
        return lengths
    if lengths is not None and cu_seqlens is not None:
        raise TypeError("lengths, cu_seqlens: one or the other says where sequences end, not both")
    if lengths is not None:
        return padded(lengths, batch, steps, device)
    if cu_seqlens is not None:
        if batch != 1:
            raise ValueError(f"cu_seqlens: expected a batch of one, in which sequences stand end to end, got one of {batch}")
        return end_to_end(cu_seqlens, steps, device)
    return Whole(batch, steps)


def padded(lengths: Any, batch: int, steps: int, device: torch.device) -> Padded:
    """Sequences by their lengths: whole numbers [B] from 0 to T, a tensor on any device, or a list. Raises TypeError or ValueError for others."""
    found = _whole_numbers("lengths", lengths, device)
    if found.shape != (batch,):
        raise ValueError(f"lengths: expected [B={batch}], got {list(found.shape)}")
    _require(((found >= 0) & (found <= steps)).all(), f"lengths: expected whole numbers from 0 to {steps}, the steps that there are", found)
    return Padded(found, steps)


def end_to_end(cu_seqlens: Any, steps: int, device: torch.device) -> EndToEnd:
    """Sequences by where they begin, and where the last one ends: whole numbers [N + 1] from 0 to T, which never fall. Raises TypeError or
    ValueError for others."""
    found = _whole_numbers("cu_seqlens", cu_seqlens, device)
    if found.dim() != 1 or not found.shape[0]:
        raise ValueError(f"cu_seqlens: expected [N + 1], where each of N sequences begins and the last one ends, got {list(found.shape)}")
    good = (found[0] == 0) & (found[-1] == steps) & (found.diff() >= 0).all()
    _require(good, f"cu_seqlens: expected whole numbers from 0 to {steps}, the steps that there are, which never fall; lengths become them by "
             "torch.nn.functional.pad(lengths.cumsum(0), (1, 0))", found)  # fmt: skip
    return EndToEnd(found, steps)


def _whole_numbers(name: str, values: Any, device: torch.device) -> Tensor:
    """Whole numbers, int64 on a device."""
    try:
        given = values if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected whole numbers in a tensor or a list, got {values!r:.80}") from None
    is_whole = not (given.dtype == torch.bool or given.is_floating_point() or given.is_complex())
    if not is_whole and (given.numel() or isinstance(values, Tensor)):  # an empty list says nothing of its numbers
        raise TypeError(f"{name}: expected whole numbers, got {given.dtype}{'; a mask becomes lengths by mask.sum(1)' if given.dtype == torch.bool else ''}")
    return given.to(device, torch.int64)


def _require(holds: Tensor, text: str, found: Tensor) -> None:
    """Raises ValueError where something does not hold. Within torch.compile it is looked at when the program runs, and is a RuntimeError."""
    if torch.compiler.is_compiling():
        torch._assert_async(holds, text)
    elif not found.is_meta and not bool(holds):
        raise ValueError(f"{text}; got {found.tolist()}")


def _borders_turned(reset: Tensor) -> Tensor:
    """Borders before steps as borders before the other steps beside them: what lies before step t + 1 in time lies before step t against it."""
    return torch.cat([reset[:, 1:], torch.zeros_like(reset[:, :1])], 1)


def _picked(after: Sequence[Tensor], before: Sequence[Tensor], rows: Tensor, at: Tensor, is_empty: Tensor) -> list[Tensor]:
    """Of states [B, T, ...] those of row and step, [N, ...]; what was before, where there is no step."""
    found = []
    for s, b in zip(after, before, strict=True):
        b = b.to(s.dtype)
        found.append(torch.where(_as(is_empty, b), b, s[rows, at.clamp(min=0)]) if s.shape[0] and s.shape[1] else b)
    return found


def _as(mask: Tensor, x: Tensor) -> Tensor:
    """A mask or an index with further axes of length one, as many as x has."""
    return mask.reshape(mask.shape + (1,) * (x.dim() - mask.dim()))
