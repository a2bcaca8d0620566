"""Rounds of Newton's method in PyTorch's operations, on any device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.ops import _at_resets
from rnndsl.runtime.torch.newton import Carries, gradient_units, recorded
from rnndsl.runtime.torch.scan import Block, Scan, Semiring


@dataclass(frozen=True)
class ExactScan:
    """An exact scan over a semiring. coefficients: its function, of what no round changes."""

    semiring: Semiring
    coefficients: Callable[..., tuple[Block, Sequence[Tensor | None]]]


@dataclass(frozen=True)
class TorchRounds:
    """The functions of a recurrence, as its module has them; see `newton.Rounds`. before: of streams and statics, what no round changes, of every step
    and once; at: of old values and that, new values and D; exact: what rounds begin with, where there is one, so that the first has nothing to
    correct."""

    halves: ClassVar[tuple[torch.dtype, ...]] = ()
    before: Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]]
    at: Callable[..., tuple[Sequence[Tensor], Block]]
    sizes: dict[str, int]
    hypers: dict[str, float]
    carries: Carries
    exact: ExactScan | None = None

    def given(self, call: Call) -> Call:
        like, *_ = _at_all_steps(call)
        streams, statics = self.before(like, self.sizes, self.hypers, (*call.streams, *call.statics))
        return call._replace(streams=streams, statics=statics, guess=() if self.exact else call.guess)

    def __call__(self, derivatives: bool, old: Sequence[Tensor], given: Call) -> tuple[Sequence[Tensor], Block]:
        """New values of old ones, [B, C, ...] each, and D where it is wanted."""
        return self.at(old[0], derivatives, self.sizes, self.hypers, (*old, *given.streams, *given.statics))

    def scanned(self, exact: ExactScan, part: Call) -> list[Tensor]:
        """The states of all steps by the exact scan."""
        semiring, reset = exact.semiring, part.reset
        first = _at_all_steps(part)
        block, added = exact.coefficients(first[0], self.sizes, self.hypers, (*part.streams, *part.statics))
        whole = [f.new_full((), semiring.zero).expand_as(f) if b is None else b for b, f in zip(added, first, strict=True)]
        if reset is not None:
            whole = [torch.where(_at_resets(reset, b), semiring.mapped(row, part.initial, b), b) for row, b in zip(block, whole, strict=True)]
        return Scan(_masked(block, whole, reset, semiring.zero), part.steps, semiring=semiring)(whole, part.first)[: self.carries.kept]

    def chunk(self, part: Call) -> "_Chunk":
        return _Chunk(self, part)

    def back(self, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]) -> "_Back":
        return _Back(self, part, old)


@dataclass
class _Chunk:
    """Rounds of a chunk forwards. D is made anew in rounds 1, 2, 4, 8 and so on, and where steps have left."""

    rounds_of: TorchRounds
    part: Call
    is_guarded: bool = field(default=False, init=False)
    scan: Scan | None = field(default=None, init=False)
    block: Block | None = field(default=None, init=False)  # of the round, where it has made one

    def start(self) -> list[Tensor]:
        part = self.part
        if self.rounds_of.exact is not None:
            return self.rounds_of.scanned(self.rounds_of.exact, part)
        first = _at_all_steps(part)
        new, _ = self.rounds_of(False, first, part)
        return list(new[: self.rounds_of.carries.kept])

    def look(self, states: Sequence[Tensor], rounds: int) -> tuple[Sequence[Tensor], Tensor]:
        part = self.part
        is_fresh = self.scan is None or rounds & (rounds - 1) == 0
        new, block = self.rounds_of(is_fresh, self.rounds_of.carries.old(states, part.first, part.initial, part.reset), part)
        self.block = block if is_fresh else None
        new = new[: self.rounds_of.carries.kept]
        return new, _by_step([(n - s).abs_().div_(n.abs().add_(1)) for n, s in zip(new, states, strict=True)])

    def corrected(self, states: Sequence[Tensor], new: Sequence[Tensor], is_finite: bool) -> list[Tensor]:
        part, kept = self.part, len(states)
        lagged = [f.new_zeros(()).expand(f.shape[0], part.steps, *f.shape[1:]) for f in part.first[kept:]]
        gaps = [n - s for n, s in zip(new, states, strict=True)] + lagged
        if self.block is not None:
            self.scan = Scan(_masked(self.block, gaps, part.reset), part.steps)
        assert self.scan is not None
        moved = self.scan(gaps)[:kept]
        if is_finite:
            return [s + m for s, m in zip(states, moved, strict=True)]
        return [torch.where(m.isfinite(), s + m, n) for s, m, n in zip(states, moved, new, strict=True)]

    def cut(self, part: Call) -> None:
        self.part, self.scan = part, None


class _Back:
    """Rounds of a chunk backwards, with Jᵀ λ as PyTorch differentiates the step of all steps at once."""

    def __init__(self, rounds_of: TorchRounds, part: Call, old: Sequence[Tensor]):
        _, block = rounds_of(True, old, rounds_of.given(part))
        self.block = _masked(block, old, part.reset)
        self.reset, self.steps = part.reset, part.steps
        self.scan: Scan | None = None
        with recorded():
            self.inputs = [[t.detach().requires_grad_() for t in group] for group in (part.streams, part.statics, old)]
            streams, statics, own = self.inputs
            self.new, _ = rounds_of(False, own, rounds_of.given(part._replace(streams=streams, statics=statics)))
            self.pairs = [i for i, n in enumerate(self.new) if n.requires_grad]

    def _pulled(self, adjoint: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
        """What λ of new values makes of some of what they are made of."""
        if not self.pairs:
            return [torch.zeros_like(x) for x in inputs]
        outputs, seeds = [self.new[i] for i in self.pairs], [adjoint[i] for i in self.pairs]
        found = torch.autograd.grad(outputs, inputs, seeds, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]

    def wanted(self, given: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        reset = self.reset
        before = [w if reset is None else torch.where(_at_resets(reset, w), 0.0, w) for w in self._pulled(adjoint, self.inputs[2])]
        wanted = [g + _earlier(w) for g, w in zip(given, before, strict=True)]
        sizes = torch.stack([a.abs().reshape(*a.shape[:2], math.prod(a.shape[2:])).amax(2) for a in adjoint]).amax(0)
        units = gradient_units(sizes)
        return wanted, _by_step([(w - a).abs_().div_(_at_resets(units, a)) for w, a in zip(wanted, adjoint, strict=True)])

    def corrected(self, adjoint: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
        self.scan = self.scan or Scan(_transposed(self.block), self.steps, reverse=True)
        moved = self.scan([w - a for w, a in zip(wanted, adjoint, strict=True)])
        return [a + m for a, m in zip(adjoint, moved, strict=True)]

    def gradients(self, adjoint: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        streams, statics, _ = map(len, self.inputs)
        found = self._pulled(adjoint, [t for group in self.inputs for t in group])
        return found[:streams], found[streams : streams + statics], found[streams + statics :]


def _masked(block: Block, added: Sequence[Tensor], reset: Tensor | None, zero: float = 0.0) -> list[list[Tensor | None]]:
    """D of all steps, [B, C, ...] each, zero where a step sees no earlier one."""

    def entry(e: Tensor | None, row: Tensor) -> Tensor | None:
        if e is None:
            return None
        whole = e.expand_as(row)
        return whole if reset is None else torch.where(_at_resets(reset, whole), zero, whole)

    return [[entry(e, added[i]) for e in row] for i, row in enumerate(block)]


def _at_all_steps(call: Call) -> list[Tensor]:
    """What the first step sees, as if each step saw it, [B, C, ...]."""
    return [f.unsqueeze(1).expand(f.shape[0], call.steps, *f.shape[1:]) for f in call.first]


def _by_step(values: Sequence[Tensor]) -> Tensor:
    """The largest of all rows and channels at each step, [C]; NaN where there is one."""
    each = [v.amax((0, *range(2, v.dim()))) for v in values]
    return each[0] if len(each) == 1 else torch.stack(each).amax(0)


def _earlier(w: Tensor) -> Tensor:
    """What step t + 1 hands back to step t."""
    return torch.cat([w[:, 1:], torch.zeros_like(w[:, :1])], 1)


def _transposed(block: Sequence[Sequence[Tensor | None]]) -> list[list[Tensor | None]]:
    """D of the adjoint: entry (j, i) of step t + 1 is entry (i, j) of step t."""
    k = len(block)
    entries = [[block[j][i] for j in range(k)] for i in range(k)]
    return [[None if e is None else _earlier(e) for e in row] for row in entries]
