"""The backend of PyTorch's operations: recurrences by Newton's method, over all steps at once, on any device."""

import linecache
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rnndsl.runtime import ops, recurrence
from rnndsl.runtime.backend import BACKENDS, Backend, Plan, Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.key import Key
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.plain import reference_of
from rnndsl.runtime.rules import Site
from rnndsl.runtime.torch import library, newton
from rnndsl.runtime.torch.kernels import Round, Rounds
from rnndsl.runtime.triton.report import SolveReport
from rnndsl.scalars import Scalars

_MOST_SKIPPED = 256  # calls that are run step by step after one that did not converge


class Torch(Backend):
    """Rounds of Newton's method, each over all steps at once, in PyTorch's operations."""

    name = "torch"
    schedules = ("sequential", "newton")

    def carried(self, kernels: dict[str, dict] | None = None, **said: Any) -> Rounds:
        return Rounds(kernels={n: Round(**k) for n, k in (kernels or {}).items()}, **said)

    def refusal(self, cls: Any) -> str | None:
        rounds: Rounds | None = cls._kernels.get(self.name)
        if rounds is None:
            return "its module has no rounds of Newton's method"
        return "; ".join(f"{label}: {reason}" for label, reason in rounds.refused.items()) or None

    def run(self, layer: Layer, name: str, call: Call, kind: dict[str, Any]) -> Results:
        key = _key(layer, name, kind["dtype"])
        found = recurrence.run(key, call)
        if not torch.compiler.is_compiling():
            kernels = recurrence.known(key)
            assert isinstance(kernels, Solver)
            layer._reports[name] = kernels.last
        return found

    def plan_for(self, layer: Layer, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        return Plan(name, self.name, "newton", "rounds over all steps at once, in PyTorch's operations")

    def report(self, layer: Layer) -> tuple[SolveReport, ...]:
        return tuple(r for r in layer._reports.values() if isinstance(r, SolveReport))

    def made(self, key: Key) -> "Solver":
        kernel = key.kernels.kernels[key.name]
        forms = (kernel.streams, kernel.statics, kernel.carries)
        reference = reference_of(key.cls, key.name, forms, kernel.lags, key.sizes, key.hypers, key.dtype)
        function = _functions(key.kernels.source, key.cls.__name__)[kernel.name]
        return Solver(key.name, function, kernel, key.sizes, key.hypers, key.dtype, reference)


@torch.compiler.assume_constant_result
def _key(layer: Layer, name: str, dtype: torch.dtype) -> str:
    key = Key.text_of("torch", layer, name, dtype, layer._schedule)
    recurrence.known(key)
    return key


@cache
def _functions(source: str, name: str) -> dict[str, Any]:
    """The functions of a module's text, which a traceback shows."""
    file = f"<rounds of {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    found: dict[str, Any] = {"torch": torch, "F": functional, "ops": ops, "Scalars": Scalars, **{n: f for n, f in vars(library).items() if callable(f)}}
    exec(compile(source, file, "exec"), found)  # noqa: S102, text of the module that has the class
    return found


@dataclass
class Solver:
    """A recurrence by Newton's method; see `recurrence.Runnable`. `last` is how its last forward pass went; after one that did not converge, as many
    calls are run step by step as `skips`, twice as many each time."""

    name: str
    function: Any
    kernel: Round
    sizes: dict[str, int]
    hypers: dict[str, float]
    dtype: torch.dtype
    reference: Any
    follows: tuple[int, ...] = ()
    last: SolveReport | None = field(default=None, repr=False)

    @property
    def forms(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.kernel.streams, self.kernel.statics, self.kernel.carries

    @property
    def lags(self) -> tuple[int, ...]:
        return self.kernel.lags

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.dtype else t.to(self.dtype)

    def round(self, derivatives: bool, old: Any, streams: Any, statics: Any) -> tuple[Any, Any]:
        return self.function(old[0], derivatives, self.sizes, self.hypers, (*old, *streams, *statics))

    def forward(self, call: Call) -> list[Tensor]:
        found, solved = newton.forward(self.round, newton.Carries(self.kernel.nearer), call, self.alone)
        rounds = solved.rounds / max(1, solved.chunks)
        self.last = SolveReport(self.name, "newton", solved.chunks, rounds, solved.most_rounds, solved.residual, int(solved.alone_from is not None))
        return found

    def alone(self, call: Call) -> list[Tensor]:
        """A call step by step."""
        return [t for group in self.reference(call) for t in group]

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        found, _ = newton.backward(self.round, newton.Carries(self.kernel.nearer), call, sequences, grads, self.alone_back)
        return found

    def alone_back(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None]) -> list[Tensor]:
        """The gradients of a call step by step."""
        inputs = [*call.streams, *call.statics, *call.first, *call.initial]
        site = Site("", self, (len(call.streams), len(call.statics), len(call.first), len(call.initial)), call.steps)
        with newton.recorded():
            return [g.detach() for g in site.plain_gradients(inputs, call.reset, grads, [True] * len(inputs))]


BACKEND = Torch()
