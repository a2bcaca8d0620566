"""The backend of PyTorch's operations: recurrences by Newton's method, over all steps at once, or by chunks, on any device."""

import linecache
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from rnndsl import costs
from rnndsl.costs import LOOP, Load, RowKernels
from rnndsl.devices import Device, of_architecture
from rnndsl.runtime import ops, recurrence
from rnndsl.runtime.backend import Backend, Plan, Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.choice import say_schedule
from rnndsl.runtime.gpu import device_of
from rnndsl.runtime.kernels import reasons_text
from rnndsl.runtime.key import Key, Made, made_of
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.plain import reference_of
from rnndsl.runtime.reference import REFERENCE
from rnndsl.runtime.torch import library
from rnndsl.runtime.torch.chunks import ChunkSolver
from rnndsl.runtime.torch.kernels import Chunks, Round, Rounds
from rnndsl.runtime.torch.newton import Carries
from rnndsl.runtime.torch.rounds import ExactScan, TorchRounds
from rnndsl.runtime.torch.scan import SEMIRINGS
from rnndsl.runtime.torch.solver import Solver, keep_report
from rnndsl.runtime.traced import constant_in_graphs
from rnndsl.scalars import Scalars
from rnndsl.tiles import CHUNKED, NEWTON, SEQUENTIAL


class Torch(Backend):
    """Rounds of Newton's method, each over all steps at once, and chunks of affine matrix states, in PyTorch's operations."""

    name = "torch"
    schedules = ("sequential", "newton", "chunked")

    def carried(self, kernels: dict[str, dict] | None = None, chunks: dict[str, dict] | None = None, **said: Any) -> Rounds:
        rounds = {n: Round(**k) for n, k in (kernels or {}).items()}
        return Rounds(kernels=rounds, chunks={n: Chunks(**k) for n, k in (chunks or {}).items()}, **said)

    def refusal(self, cls: Any) -> str | None:
        rounds: Rounds | None = cls._kernels.get(self.name)
        if rounds is None:
            return "its module has no rounds of Newton's method"
        return reasons_text({label: why for label, why in rounds.refused.items() if label not in rounds.chunks}) or None

    def taken(self, layer: Layer, name: str, device: torch.device, shape: tuple[int, int]) -> bool:
        """Where it has the schedule that is asked for; and where nothing else has a kernel, on a device that runs a step as fast as all of them."""
        rounds: Rounds | None = type(layer)._kernels.get(self.name)
        if rounds is None:
            return False
        has = {NEWTON: name in rounds.kernels, CHUNKED: name in rounds.chunks}
        return has.get(layer._schedule, layer._schedule == "auto" and device.type != "cpu" and any(has.values()))

    def run(self, layer: Layer, name: str, call: Call, kind: dict[str, Any]) -> Results:
        schedule = _schedule(layer, name, kind, (call.first[0].shape[0], call.steps))
        if schedule == SEQUENTIAL:
            return REFERENCE.run(layer, name, call, kind)
        key = _key(made_of(layer), name, kind["dtype"], schedule, call.all_states)
        found = self._recorded(key, call) if schedule == CHUNKED and not torch.compiler.is_compiling() else None
        found = found or recurrence.run(key, call)
        keep_report(self, layer, name, key)
        return found

    def quickest(
        self, layer: Layer, name: str, kind: dict[str, Any], shape: tuple[int, int], others: Sequence[str], programs: int = 1,
        kernels: RowKernels | None = None, solver: Solver | None = None,
    ) -> str:  # fmt: skip
        """Which schedule the model of a device takes of those that there are here and others, of costs.py, of which a sequence has so many programs.
        kernels: those over rows; solver: what would run rounds, if that is another one."""
        rounds: Rounds = type(layer)._kernels[self.name]
        schedules = [s for s, of in ((CHUNKED, rounds.chunks), (NEWTON, rounds.kernels)) if name in of]
        if torch.compiler.is_compiling():  # a graph is for more shapes than one
            return schedules[0]
        flops, special, streams, states = _functions(rounds.source, type(layer).__name__)[rounds.work[name]](layer._sizes)
        load = Load(*shape, flops, special, streams, states, programs, kernels)
        return costs.quickest(load, _model_of(kind["device"]), [*others, *schedules], self._seen(solver, layer, name, kind) if NEWTON in schedules else None)

    def _seen(self, solver: Any, layer: Layer, name: str, kind: dict[str, Any]) -> float | None:
        """How many rounds Newton's method took in the last call that it solved."""
        solver = solver or recurrence.known(_key(made_of(layer), name, kind["dtype"]))
        return solver.last.rounds if isinstance(solver, Solver) and solver.last is not None and solver.last.schedule == NEWTON else None

    def _recorded(self, key: str, call: Call) -> Results | None:
        kernels = recurrence.known(key)
        return kernels.recorded(recurrence.with_further(call, kernels.follows)) if isinstance(kernels, ChunkSolver) else None

    def plan_for(self, layer: Layer, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        schedule = _schedule(layer, name, kind, (batch, steps))
        if schedule == SEQUENTIAL:
            return REFERENCE.plan_for(layer, name, batch, steps, kind)
        why = "chunks of steps" if schedule == CHUNKED else "rounds over all steps at once"
        return Plan(name, self.name, schedule, f"{why}, in PyTorch's operations")

    def made(self, key: Key) -> "Solver | ChunkSolver":
        functions = _functions(key.kernels.source, key.cls.__name__)
        if key.wish.startswith(CHUNKED):
            chunks: Chunks = key.kernels.chunks[key.name]
            forms = (chunks.streams, chunks.statics, chunks.carries)
            stepwise = reference_of(key.cls, key.name, forms, (1,) * len(chunks.carries), key.sizes, key.hypers, key.dtype, chunks.own, chunks.follows)
            return ChunkSolver(key, chunks, (functions[chunks.name], functions.get(chunks.after)), stepwise)
        kernel = key.kernels.kernels[key.name]
        forms, carries = (kernel.streams, kernel.statics, kernel.carries), Carries(kernel.nearer)
        reference = reference_of(key.cls, key.name, forms, carries.lags, key.sizes, key.hypers, key.dtype)
        exact = ExactScan(SEMIRINGS[kernel.semiring], functions[f"{kernel.name}exact"]) if kernel.semiring else None
        rounds = TorchRounds(functions[f"{kernel.name}given"], functions[kernel.name], key.sizes, key.hypers, carries, exact)
        return Solver(key, rounds, forms, carries, reference)


def _schedule(layer: Layer, name: str, kind: dict[str, Any], shape: tuple[int, int]) -> str:
    """What runs a recurrence: the schedule that is asked for, where it has it; else what is predicted to be quickest."""
    rounds: Rounds = type(layer)._kernels["torch"]
    wish = layer._schedule
    if wish == SEQUENTIAL or not (name in rounds.kernels or name in rounds.chunks):
        return SEQUENTIAL
    if wish == NEWTON and name in rounds.kernels:
        return NEWTON
    if wish == CHUNKED and name in rounds.chunks:
        return CHUNKED
    if wish == "auto":
        found = BACKEND.quickest(layer, name, kind, shape, [LOOP])
        return SEQUENTIAL if found == LOOP else found
    found, why = (NEWTON, rounds.unchunked.get(name)) if wish == CHUNKED else (CHUNKED, rounds.refused.get(name))
    say_schedule(type(layer), name, found, str(why))
    return found


def _model_of(device: torch.device) -> Device:
    """What the model knows of a device."""
    return device_of(device) if device.type == "cuda" else of_architecture(device.type)


@constant_in_graphs
def _key(made: Made, name: str, dtype: torch.dtype, schedule: str = NEWTON, all_states: bool = True) -> str:
    _, _, asked, _ = made
    chunks = f"{CHUNKED}{', states' if all_states else ''}"
    wish = chunks if schedule == CHUNKED else NEWTON if asked == NEWTON else "auto"
    key = Key.text_of("torch", made, name, dtype, wish)
    recurrence.known(key)
    return key


@cache
def _functions(source: str, name: str) -> dict[str, Any]:
    """The functions of a module's text, which a traceback shows."""
    file = f"<rounds of {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    found: dict[str, Any] = {"torch": torch, "F": functional, "ops": ops, "Scalars": Scalars, **{n: f for n, f in vars(library).items() if callable(f)}}
    exec(compile(source, file, "exec"), found)
    return found


BACKEND = Torch()
