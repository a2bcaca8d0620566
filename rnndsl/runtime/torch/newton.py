"""Newton's method over all steps of a chunk at once, with the part D of the Jacobian that stays in a channel.

Forwards: given states s, F = f(s[t-1], u[t]) of all t at once, then s + δ with δ[t] = D[t] δ[t-1] + F[t] - s[t]; the residual F - s is that of the
sequence itself, so D decides how many rounds it takes and nothing else. Backwards λ[t] = J[t+1]ᵀ λ[t+1] + g[t] is solved in the same way. What does
not converge is run step by step from where it has. What computes a round, in PyTorch's operations or in C++, is a `Rounds`.

Danieli et al., arXiv 2510.21450, section 3, has Newton's method with the whole Jacobian; the splitting is a quasi-Newton method.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.ops import _at_resets, lagged
from rnndsl.runtime.triton.precision import IEEE, of_products

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}  # of the residual, in units of 1 + the largest value, and of gaps between ranks
_ROUNDED = 2.0**-11  # the same where products round their factors as TF32 does: as far as one of them may move where a state moves by next to nothing
_STALLS = 0.75  # a residual that is more than this part of the last one no longer shrinks
_VALUES = 1 << 22  # of an array of a chunk
_WILD = 1.0  # residual above which a guess is none
_PART = 4  # a fourth of the steps that is done leaves the window
_LOOK = 4  # rounds after which progress is looked at
_STEPS_A_ROUND = 24  # how many steps, run one by one, a round may take the time of


class Chunk(Protocol):
    """Rounds of one chunk forwards; states and new values are [B, C, ...] each."""

    is_guarded: bool  # whether what it corrects is finite where new values are

    def start(self) -> list[Tensor]:
        """What to begin with: of all steps what they make of the first's past."""
        ...

    def look(self, states: Sequence[Tensor], rounds: int) -> tuple[Sequence[Tensor], Tensor]:
        """New values of the states of the step before, and the residual of each step, [C]; NaN where there is one. rounds: the number of the round."""
        ...

    def corrected(self, states: Sequence[Tensor], new: Sequence[Tensor], is_finite: bool) -> list[Tensor]:
        """states + δ; where δ may not be finite, new values in place of what is not."""
        ...

    def cut(self, part: Call) -> None:
        """The first steps are done, and those of a call are left."""
        ...


class ChunkBack(Protocol):
    """Rounds of one chunk backwards; λ are [B, C, ...], one a carried value."""

    def wanted(self, given: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """What λ should be, given the gradients of new values and λ, and the residual of each step, [C]."""
        ...

    def corrected(self, adjoint: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
        """λ + δ."""
        ...

    def gradients(self, adjoint: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Those of streams, statics and old values, [B, C, ...], from λ of the new ones."""
        ...


class Rounds(Protocol):
    """The rounds of a recurrence, in whatever computes them. halves: further dtypes of the streams that they read."""

    halves: ClassVar[tuple[torch.dtype, ...]]

    def given(self, call: Call) -> Call:
        """A call whose streams and statics are what chunks are given: what no round changes is made."""
        ...

    def chunk(self, part: Call) -> Chunk: ...

    def back(self, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]) -> ChunkBack:
        """old: what each step sees; sequences: the states of all steps. Of a call as it is, not as `given` makes it."""
        ...


@dataclass
class Solved:
    """How a sequence was solved: chunks, rounds of each, the largest residual that was taken, and the step from which it was run step by step."""

    chunks: int = 0
    rounds: int = 0
    most_rounds: int = 0
    residual: float = 0.0
    alone_from: int | None = None


def paid(rounds: int, steps: int) -> bool:
    """Whether it took less than step by step to solve some steps."""
    return rounds * _STEPS_A_ROUND <= steps


@dataclass(frozen=True)
class Carries:
    """The carried values of a recurrence: `nearer` is of each the number of the one that it was a step ago, -1 of the states of the step before,
    which come first."""

    nearer: tuple[int, ...]

    @property
    def kept(self) -> int:
        return self.nearer.count(-1)

    @property
    def lags(self) -> tuple[int, ...]:
        """The lag of each."""
        found: list[int] = []
        for near in self.nearer:
            found.append(1 if near < 0 else found[near] + 1)
        return tuple(found)

    def origin(self, i: int) -> int:
        """The number of the state that a carried value is an earlier one of."""
        while (near := self.nearer[i]) >= 0:
            i = near
        return i

    def old(self, sequences: Sequence[Tensor], first: Sequence[Tensor], initial: Sequence[Tensor], reset: Tensor | None) -> list[Tensor]:
        """What each step sees, [B, C, ...] each, of the states of all steps."""
        found: list[Tensor] = []
        for i, near in enumerate(self.nearer):
            found.append(lagged(sequences[i] if near < 0 else found[near], first[i], initial[i], reset))
        return found

    def after(self, sequences: Sequence[Tensor], part: Call) -> list[Tensor]:
        """What is carried on behind the states of the first steps of a call."""
        ends = [s[:, -1] for s in sequences]
        if self.kept == len(self.nearer):
            return ends
        reset = None if part.reset is None else part.reset[:, : sequences[0].shape[1]]
        old = self.old(sequences, part.first, part.initial, reset)
        return [*ends, *(old[near][:, -1] for near in self.nearer[self.kept :])]


def chunk_of(first: Sequence[Tensor], steps: int) -> int:
    """The steps that are solved at once."""
    return max(1, min(steps, _VALUES // max(1, sum(f.numel() for f in first))))


def forward(
    rounds_of: Rounds, carries: Carries, call: Call, patience: int, alone: Callable[[Call], list[Tensor]]
) -> tuple[list[Tensor], Solved]:
    """The results of `recurrence.Runnable.forward`. patience: the rounds that a chunk may take even if it is short; alone: what runs a call step by
    step."""
    solved, begin = Solved(), list(call.first)
    chunk, t = chunk_of(begin, call.steps), 0
    pieces: list[list[Tensor]] = []
    given = rounds_of.given(call)
    while t < call.steps and solved.alone_from is None:
        part = cut(given, t, min(call.steps, t + chunk))._replace(first=begin)
        done, begin = _chunk(rounds_of, carries, part, patience, solved, pieces)
        t += done
        if done < part.steps:
            solved.alone_from = t
    if solved.alone_from is not None:
        found = alone(cut(call, t, call.steps)._replace(first=begin))
        pieces.append(found[: carries.kept])
        begin = found[carries.kept :]
    sequences = [torch.cat(s, 1) for s in zip(*pieces, strict=True)]
    return [*sequences, *(b.clone(memory_format=torch.contiguous_format) for b in begin)], solved


def cut(call: Call, low: int, high: int) -> Call:
    """Steps of a call; its first values stay."""
    reset = None if call.reset is None else call.reset[:, low:high]
    guess = [g[:, low:high] for g in call.guess if g is not None]
    return call._replace(streams=[s[:, low:high] for s in call.streams], reset=reset, steps=high - low, guess=guess)


def _chunk(rounds_of: Rounds, carries: Carries, part: Call, patience: int, solved: Solved, pieces: list[list[Tensor]]) -> tuple[int, list[Tensor]]:
    """Solves a chunk as far as it converges, its states behind those of `pieces`. Returns the steps that are done, and what they carry on."""
    total, rounded = part.steps, products_are_rounded(part.first[0])
    limit = max(patience, total // _STEPS_A_ROUND)
    chunk = rounds_of.chunk(part)
    plain = chunk.start()
    states = [p if g is None else torch.where(g.isfinite(), g, p) for g, p in zip(part.guess, plain, strict=True)] if part.guess else plain
    solved.chunks += 1
    done = rounds = 0
    seen: list[tuple[float, int]] = []
    before: Sequence[Tensor] = ()  # new values of the last round, where it was taken that its correction was finite
    while True:
        rounds += 1
        new, residual = chunk.look(states, rounds)
        tolerance = _tolerance(part.first[0].dtype, seen if rounded else ())
        largest, settled = _settled(residual, tolerance)
        seen.append((largest, done + settled))
        if part.guess and rounds == 1 and not largest <= _WILD:
            tame = (residual <= _WILD).unsqueeze(0)
            states = [torch.where(_at_resets(tame, s), s, p) for s, p in zip(states, plain, strict=True)]
            continue
        if before and not math.isfinite(largest):
            states, before = [torch.where(s.isfinite(), s, b) for s, b in zip(states, before, strict=True)], ()
            continue
        gives_up = rounds >= patience // 2 and rounds % _LOOK == 0 and rounds + _still(seen, tolerance, total) > limit
        is_done = settled == part.steps or gives_up
        is_finite = math.isfinite(largest)
        moved = [] if is_done else chunk.corrected(states, new, is_finite)
        if settled and (is_done or _PART * settled >= part.steps):
            found = [s[:, :settled] for s in states]
            pieces.append(found)
            solved.residual = max(solved.residual, float(residual[:settled].max()))
            done += settled
            part = cut(part, settled, part.steps)._replace(first=carries.after(found, part))
            chunk.cut(part)
        else:
            settled = 0
        if is_done:
            break
        states = [m[:, settled:] for m in moved]
        before = [n[:, settled:] for n in new] if is_finite and not chunk.is_guarded else ()
    solved.rounds += rounds
    solved.most_rounds = max(solved.most_rounds, rounds)
    return done, list(part.first)


def products_are_rounded(like: Tensor) -> bool:
    """Whether PyTorch rounds the factors of products of such tensors, as it was told."""
    return like.is_cuda and like.dtype == torch.float32 and of_products(like.device) != IEEE


def _tolerance(dtype: torch.dtype, seen: Sequence[tuple[float, int]]) -> float:
    """What the residual of a step may be. seen: those before, where products round their factors: then none can be as small as otherwise, and they stop
    shrinking."""
    stalls = len(seen) > 1 and seen[-1][0] > _STALLS * seen[-2][0]
    return _ROUNDED if stalls else TOLERANCE[dtype]


def _settled(residual: Tensor, tolerance: float) -> tuple[float, int]:
    """The largest residual, and how many steps from the first on have none above the tolerance. Waits for the device."""
    above = ~(residual <= tolerance)
    first = torch.where(above.any(), above.to(torch.int32).argmax(), above.numel())
    largest, settled = torch.stack([residual.amax().double(), first.double()]).tolist()
    return largest, int(settled)


def _still(seen: list[tuple[float, int]], tolerance: float, steps: int) -> float:
    """How many further rounds it takes, as the last ones went: by the residual, or by the steps that are done."""
    (before, _), (largest, done) = seen[-_LOOK], seen[-1]
    by_steps = (steps - done) * len(seen) / done if done else float("inf")
    shrinks = 0 < largest < before < float("inf")
    if not shrinks:
        return by_steps
    return min(by_steps, (_LOOK - 1) * math.log(tolerance / largest) / math.log(largest / before))


# Backwards


@contextmanager
def recorded() -> Iterator[None]:
    """What is computed in it can be differentiated, though an op below autograd computes it."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor", "ADInplaceOrView"):
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    with torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded), torch.enable_grad():
        yield


Gradients = list[Tensor]


@dataclass
class Pulled:
    """The gradients of a call: of its streams, in pieces from the last to the first, and of its statics and initial values."""

    streams: list[Gradients]
    statics: Gradients
    initial: Gradients


def backward(
    rounds_of: Rounds, carries: Carries, call: Call, sequences: Sequence[Tensor], grads: Sequence[Tensor | None], patience: int,
    alone: Callable[[Call, list[Tensor], list[Tensor | None]], list[Tensor]],
) -> tuple[list[Tensor], bool]:  # fmt: skip
    """The gradients of streams, statics, first and initial values, as `recurrence.Runnable.backward` gives them. alone: the same, step by step, of a
    call, its sequences and the gradients of its results. And whether most steps were run so."""
    kept = carries.kept
    old = carries.old(sequences, call.first, call.initial, call.reset)
    behind = [f.new_zeros(f.shape) if g is None else g for f, g in zip(call.first, grads[kept:], strict=True)]
    pulled = Pulled([], [torch.zeros_like(s) for s in call.statics], [torch.zeros_like(i) for i in call.initial])
    chunk, high = chunk_of(call.first, call.steps), call.steps
    while high > 0:
        low = max(0, high - chunk)
        given = [None if g is None else g[:, low:high] for g in grads[:kept]]
        own, states = ([s[:, low:high] for s in group] for group in (old, sequences))
        found = _chunk_back(rounds_of, carries, cut(call, low, high), own, states, given, behind, patience, pulled)
        if found is None:
            break
        behind, high = found, low
    if high:
        rest = alone(cut(call, 0, high), [s[:, :high] for s in sequences], [*(None if g is None else g[:, :high] for g in grads[:kept]), *behind])
        streams, statics, first, initial = groups_of(rest, call)
        pulled.streams.append(streams)
        pulled.statics = [a + b for a, b in zip(pulled.statics, statics, strict=True)]
        pulled.initial = [a + b for a, b in zip(pulled.initial, initial, strict=True)]
        behind = first
    whole = [torch.cat(s[::-1], 1) for s in zip(*pulled.streams, strict=True)]
    return [*whole, *pulled.statics, *behind, *pulled.initial], 2 * high > call.steps


def gradient_units(sizes: Tensor) -> Tensor:
    """What errors of gradients are measured in, of each step: their size there, [B, C], and what rounds away beside the largest one of the sequence."""
    return sizes + torch.finfo(sizes.dtype).eps * sizes.amax(1, keepdim=True) + torch.finfo(sizes.dtype).tiny


def groups_of(values: list[Tensor], call: Call) -> list[Gradients]:
    """The gradients of streams, statics, first and initial values."""
    left = iter(values)
    return [[next(left) for _ in group] for group in (call.streams, call.statics, call.first, call.initial)]


def _chunk_back(
    rounds_of: Rounds, carries: Carries, part: Call, old: list[Tensor], sequences: list[Tensor], grads: list[Tensor | None], behind: list[Tensor],
    patience: int, pulled: Pulled,
) -> list[Tensor] | None:  # fmt: skip
    """Solves a chunk and adds its gradients to `pulled`. Returns those of what its first step sees, None where it does not converge."""
    rounded = products_are_rounded(part.first[0])
    kept = carries.kept
    back = rounds_of.back(part, old, sequences)
    given = [torch.zeros_like(o) if g is None else g for o, g in zip(old, [*grads, *[None] * (len(old) - kept)], strict=True)]
    given = [torch.cat([g[:, :-1], g[:, -1:] + b.unsqueeze(1)], 1) for g, b in zip(given, behind, strict=True)]
    limit = max(patience, part.steps // _STEPS_A_ROUND)
    adjoint, rounds, seen = given, 0, list[tuple[float, int]]()
    while True:
        rounds += 1
        wanted, residual = back.wanted(given, adjoint)
        tolerance = _tolerance(part.first[0].dtype, seen if rounded else ())
        largest, settled = _settled(residual.flip(0), tolerance)
        if settled == part.steps:
            break
        seen.append((largest, settled))
        if rounds >= patience // 2 and rounds % _LOOK == 0 and rounds + _still(seen, tolerance, part.steps) > limit:
            return None
        adjoint = back.corrected(adjoint, wanted)
    streams, statics, seen_by = back.gradients(adjoint)
    pulled.streams.append(streams)
    for total, g in zip(pulled.statics, statics, strict=True):
        total += g
    if part.reset is not None:
        for total, w in zip(pulled.initial, seen_by, strict=True):
            total += torch.where(_at_resets(part.reset, w), w, 0.0).sum((0, 1))
        seen_by = [torch.where(_at_resets(part.reset, w), 0.0, w) for w in seen_by]
    return [w[:, 0] for w in seen_by]
