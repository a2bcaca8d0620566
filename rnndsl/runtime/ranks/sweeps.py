"""A shard as a function of the state at its beginning, with a graph of its own: it is run from one state and another, and pulled backwards more than once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.ranks.shard import Shard
from rnndsl.runtime.ranks.units import Units

_NOTHING: Any = None  # in place of a tensor


@dataclass
class Solved:
    """How it went: corrections of the states at borders, the largest gap that was left, and the time in sweeps over a shard, of the slowest rank each time."""

    rounds: int = 0
    gap: float = 0.0
    sweeps: float = 1.0
    forgets: bool = False  # whether what any shard leaves is the same whatever state it began with


@dataclass(frozen=True)
class Sweep:
    """Steps that were run from a state. before, after: that and what is left, as `Units` packs them; inputs, outputs: of its graph; map: the Jacobian of what
    is left, if it is known."""

    before: Tensor
    after: Tensor
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    counts: tuple[int, ...]  # of outputs: states of all steps, what is left, what follows, and states at the beginning
    map: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """A recurrence of a call. local: what runs it on one rank; units: how its states are packed."""

    shard: Shard
    units: Units
    local: Callable[[Call], Results]
    call: Call
    solved: Solved

    @property
    def groups(self) -> tuple[Sequence[Tensor], ...]:
        """What gradients flow to, but for the state at the beginning."""
        return self.call.streams, self.call.statics, self.call.initial, *(self.call.further or ((), ()))

    @property
    def of_time(self) -> tuple[bool, ...]:
        """Of each tensor of `groups`, whether it has steps."""
        return tuple(i in (0, 3) for i, g in enumerate(self.groups) for _ in g)

    @property
    def emptied(self) -> "Task":
        """The same without the tensors of `groups`, which activation checkpointing may want to be rid of."""
        streams, statics, initial, *further = ([_NOTHING] * len(g) for g in self.groups)
        call = self.call._replace(streams=streams, statics=statics, initial=initial, first=(), guess=(), further=self.call.further and (further[0], further[1]))
        return replace(self, call=call)

    def sweep(self, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], low: int = 0, high: int | None = None) -> Sweep:
        """Runs steps, all if none are named, from a state. wanted: which tensors gradients may be asked of. There is a graph where gradients are enabled."""
        high = self.call.steps if high is None else high
        has_graph = torch.is_grad_enabled()
        own = before.detach().requires_grad_(has_graph)
        cut = [t[:, low:high] if timed else t for t, timed in zip(tensors, self.of_time, strict=True)]
        inputs = tuple(t.detach().requires_grad_(w and has_graph) for t, w in zip(cut, wanted, strict=True))
        left = iter(inputs)
        streams, statics, initial, *further = (list(islice(left, len(g))) for g in self.groups)
        first = self.units.unpacked(own)
        call = self.call._replace(
            streams=streams, statics=statics, first=first, initial=initial, steps=high - low, further=self.call.further and (further[0], further[1]),
            reset=None if self.call.reset is None else self.call.reset[:, low:high], guess=[None if g is None else g[:, low:high] for g in self.call.guess],
        )  # fmt: skip
        found = self.local(call)
        outputs = (*chain.from_iterable(found), *first)
        return Sweep(own, self.units.packed(found[1]), inputs, outputs, (*map(len, found), len(first)))


def gap_between(left: Tensor, taken: Tensor) -> float:
    """The largest difference between what is left and what was taken for it; infinite where one is not a number."""
    left, taken = left.detach(), taken.detach()
    gap = torch.where(left == taken, 0.0, (left - taken).abs() / (1 + left.abs()))
    return float(gap.nan_to_num(float("inf"), float("inf")).amax()) if gap.numel() else 0.0
