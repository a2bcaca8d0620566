"""A recurrence of affine matrix states, solved by chunks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.complex_parts import parts
from rnndsl.runtime.key import Key
from rnndsl.runtime.solved import SolveReport
from rnndsl.runtime.torch import chunked, stepwise
from rnndsl.runtime.torch.kernels import Chunks
from rnndsl.runtime.torch.newton import recorded
from rnndsl.tiles import CHUNKED, SEQUENTIAL


@dataclass
class ChunkSolver:
    """A recurrence by chunks; see `recurrence.Runnable`. functions: what gives its coefficients, and what follows. Where a product of decays is too
    large, or a result is not finite, the call is run step by step. `last` is how its last forward pass went."""

    key: Key
    kernel: Chunks
    functions: tuple[Any, Any]
    stepwise: Any  # the recurrence in plain PyTorch, with all that follows
    last: SolveReport | None = field(default=None, repr=False)

    @property
    def forms(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.kernel.streams, self.kernel.statics, self.kernel.carries

    @property
    def lags(self) -> tuple[int, ...]:
        return (1,) * len(self.kernel.carries)

    @property
    def follows(self) -> tuple[int, ...]:
        return self.kernel.follows

    @property
    def whole(self) -> bool:
        """Whether the states of all steps are given, rather than of none."""
        return self.kernel.whole or self.key.wish != CHUNKED

    def empty(self, first: Sequence[Tensor], steps: Any) -> list[Tensor]:
        """What `forward` returns, without values."""
        states = [f.new_empty((f.shape[0], steps if self.whole else 0, *f.shape[1:])) for f in first]
        some, heads, columns = first[0], self.kernel.heads, 2 - self.kernel.axis
        read = (some.shape[0], steps, *some.shape[1 : 1 + heads], some.shape[heads + columns])
        return [*states, *(f.new_empty(f.shape) for f in first), *(some.new_empty(read) for _ in self.follows)]

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.key.dtype else t.to(self.key.dtype)

    def reference(self, call: Call) -> tuple[tuple[Tensor, ...], ...]:
        """The same step by step."""
        sequences, *rest = self.stepwise(call)
        return tuple(s[:, : call.steps if self.whole else 0] for s in sequences), *rest

    def forward(self, call: Call) -> list[Tensor]:
        if not stepwise.is_needed(call):
            results, found = self.solved(call)
            results = [r.clone(memory_format=torch.contiguous_format) for r in results]
            if _is_right(results, found.decay):
                self.last = SolveReport(self.key.name, CHUNKED, found.chunks)
                return results
        self.last = SolveReport(self.key.name, SEQUENTIAL)
        return [*chain.from_iterable(self.reference(call))]

    def recorded(self, call: Call) -> Results | None:
        """The results of a call as PyTorch's operations that autograd records, so that the backward pass need not compute the chunks again; None where
        the call is to be run otherwise."""
        of_streams, of_statics, of_carries = self.forms
        streams, statics, first, initial = (
            [self.cast(p, False) for p in parts(values, forms)]
            for values, forms in ((call.streams, of_streams), (call.statics, of_statics), (call.first, of_carries), (call.initial, of_carries))
        )
        own = Call(streams, statics, first, initial, call.reset, call.steps)
        if not _is_recorded([*streams, *statics, *first, *initial]) or stepwise.is_needed(own):
            return None
        results, found = self.solved(own)
        n, results = len(first), [r.clone(memory_format=torch.contiguous_format) for r in results]
        if not _is_right(results, found.decay):
            return None
        self.last = SolveReport(self.key.name, CHUNKED, found.chunks)
        return tuple(results[:n]), tuple(results[n : 2 * n]), tuple(results[2 * n :])

    def solved(self, call: Call) -> tuple[list[Tensor], chunked.Found]:
        """What `forward` returns, and what of it chunks have given."""
        first, second = self.functions
        arrays = (*call.streams, *call.statics)
        form = chunked.Form(self.kernel.heads, self.kernel.axis, self.kernel.rows, self.kernel.bounded, self.whole)
        like = call.first[0]
        coefficients = first(like, self.key.sizes, self.key.hypers, arrays)
        found = (chunked.solve_changes if self.kernel.changes else chunked.solve)(form, coefficients, call)
        follows: Sequence[Tensor] = ()
        if second is not None:
            values = second(like, self.key.sizes, self.key.hypers, (*call.streams, *found.reads, *call.statics))
            follows = [v.expand(*like.shape[:1], call.steps, *v.shape[2:]) for v in values]
        return [*found.states, *found.last, *follows], found

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        inputs = [*call.streams, *call.statics, *call.first, *call.initial]
        if not stepwise.is_needed(call):
            found = self._backward(call, inputs, grads)
            if found is not None:
                return found
        return stepwise.gradients(self, call, grads)

    def _backward(self, call: Call, inputs: list[Tensor], grads: list[Tensor | None]) -> list[Tensor] | None:
        with recorded():
            own = [t.detach().requires_grad_() for t in inputs]
            left = iter(own)
            streams, statics, first, initial = ([next(left) for _ in group] for group in (call.streams, call.statics, call.first, call.initial))
            results, chunks = self.solved(Call(streams, statics, first, initial, call.reset, call.steps))
            if not _is_right(results, chunks.decay):
                return None
            pairs = [(r, g) for r, g in zip(results, grads, strict=True) if g is not None and r.requires_grad]
            if not pairs:
                return [torch.zeros_like(t) for t in inputs]
            found = torch.autograd.grad([r for r, _ in pairs], own, [g for _, g in pairs], materialize_grads=True, allow_unused=True)
        return [g.contiguous() for g in found] if _is_right(found) else None


def _is_right(values: Sequence[Tensor], decay: Tensor | None = None) -> bool:
    """Whether all values are finite, and so are their sums, and products of decays are not too large. Waits for the device."""
    with torch.no_grad():
        right = [v.sum().isfinite() for v in values]
        if decay is not None:
            right.append(decay <= chunked.LARGEST)
        return bool(torch.stack(right).all()) if right else True


def _is_recorded(inputs: Sequence[Tensor]) -> bool:
    """Whether autograd records operations, and nothing else has a part in them: no transformation, mode or tracer."""
    if not torch.is_grad_enabled() or not any(t.requires_grad for t in inputs) or torch.compiler.is_compiling():
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or torch._C._get_tracing_state() is not None:
        return False
    return not torch._C._len_torch_dispatch_stack() and all(type(t) in (Tensor, torch.nn.Parameter) and t.device.type != "meta" for t in inputs)
