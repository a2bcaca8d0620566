"""A recurrence by Newton's method, whatever computes its rounds, and what becomes of calls that it does not solve."""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import recurrence
from rnndsl.runtime.backend import BACKENDS, Backend
from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import cast_to
from rnndsl.runtime.key import Key
from rnndsl.runtime.solved import SolveReport
from rnndsl.runtime.torch import newton, stepwise
from rnndsl.tiles import NEWTON, SEQUENTIAL

_PATIENCE, _HASTE = 64, 8  # rounds that a short chunk may take: where Newton's method is asked for, and where it is to be fast
_STEPWISE = {"cpu": "cpu", "cuda": "triton"}  # by type of device, the backend with kernels of single steps
_MOST_SKIPPED = 1024  # calls that are run step by step after one that did not converge


def keep_report(backend: Backend, layer: Any, name: str, key: str) -> None:
    """Keeps how the kernels of a key solved a recurrence of a layer just now, for `layer.solve_report()`. Nothing in a graph, where tensors are fake, and
    of kernels that run step by step."""
    if torch.compiler.is_compiling():
        return
    last = getattr(recurrence.known(key), "last", None)
    if last is not None:
        backend.solved(layer, name, partial(replace, last))


@dataclass
class Memory:
    """Of calls that did not pay: after one of them, as many are run step by step as `skips` says, twice as many each time. So those that are tried
    in vain are soon one in a thousand."""

    failures: int = 0
    skips: int = 0

    def tries(self) -> bool:
        """Whether the next call is tried."""
        if not self.skips:
            return True
        self.skips -= 1
        return False

    def remember(self, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        self.skips = min(2**self.failures, _MOST_SKIPPED) if failed else 0


@dataclass
class Solver:
    """A recurrence by Newton's method; see `recurrence.Runnable`. `last` is how its last forward pass went; memories: how calls without a guess, with
    one, and backwards went; memory: that of the last call."""

    key: Key
    rounds: newton.Rounds
    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    carries: newton.Carries
    reference: Any
    follows: tuple[int, ...] = ()
    last: SolveReport | None = field(default=None, repr=False)
    memories: tuple[Memory, Memory, Memory] = field(default_factory=lambda: (Memory(), Memory(), Memory()))
    memory: Memory = field(default_factory=Memory)

    @property
    def lags(self) -> tuple[int, ...]:
        return self.carries.lags

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if is_stream and t.dtype in self.rounds.halves else cast_to(t, self.key.dtype)

    def forward(self, call: Call) -> list[Tensor]:
        self.memory = self.memories[bool(call.guess)]
        if stepwise.is_needed(call) or not self.memory.tries():
            self.last = SolveReport(self.key.name, SEQUENTIAL)
            return self.stepwise.forward(call)
        found, solved = newton.forward(self.rounds, self.carries, call, self.patience, self.stepwise.forward)
        self.last = SolveReport(
            self.key.name, NEWTON, solved.chunks, solved.rounds / max(1, solved.chunks), solved.most_rounds, solved.residual,
            alone=int(solved.alone_from is not None), prefix=solved.alone_from,
        )  # fmt: skip
        self.memory.remember(solved.alone_from is not None and not newton.paid(solved.rounds, solved.alone_from))
        return found

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        *_, memory = self.memories
        if self.memory.failures or stepwise.is_needed(call) or not memory.tries():  # the adjoint converges where the states do, as a rule
            return self.stepwise.backward(call, sequences, grads, [True] * len(wanted))
        found, failed = newton.backward(self.rounds, self.carries, call, sequences, grads, self.patience, self.stepwise.backward)
        memory.remember(failed)
        return [*(cast_to(g, s.dtype) for g, s in zip(found, call.streams, strict=False)), *found[len(call.streams) :]]

    @property
    def patience(self) -> int:
        return _PATIENCE if self.key.wish.split(",")[0] == NEWTON else _HASTE

    @cached_property
    def stepwise(self) -> "Stepwise":
        """The same recurrence step by step."""
        return Stepwise(self)


@dataclass(frozen=True)
class Stepwise:
    """A recurrence step by step: in kernels where a device has some, else in plain PyTorch."""

    solver: Solver

    def kernels(self, device: torch.device) -> Any:
        """The kernels of a device, a `recurrence.Runnable`; None where it has none of this recurrence alone."""
        other = BACKENDS.get(_STEPWISE.get(device.type, ""))
        if other is None or other.refusal(self.solver.key.cls) is not None or other.misplaced(device) is not None:
            return None
        kernels = recurrence.known(self.solver.key.on(other.name))
        return None if kernels.follows else kernels

    def forward(self, call: Call) -> list[Tensor]:
        kernels = self.kernels(call.first[0].device)
        if kernels is not None:
            return kernels.forward(_read_by(kernels, call))
        return [t for group in self.solver.reference(self._widened(call)) for t in group]

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool] | None = None) -> list[Tensor]:
        kernels = self.kernels(call.first[0].device)
        if kernels is not None:
            return kernels.backward(_read_by(kernels, call), sequences, grads, [True] * sum(map(len, (call.streams, call.statics, call.first, call.initial))))
        return stepwise.gradients(self.solver, self._widened(call), grads)

    def _widened(self, call: Call) -> Call:
        return call._replace(streams=[cast_to(s, self.solver.key.dtype) for s in call.streams])


def _read_by(kernels: Any, call: Call) -> Call:
    """A call whose streams some kernels read."""
    return call._replace(streams=[kernels.cast(s, True) for s in call.streams])
