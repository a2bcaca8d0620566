"""What is timed: our backends, the loop, the loop with a compiled step. torch.nn and pararnn-torch are in files of their own."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.backend import BACKENDS, Results
from rnndsl.runtime.call import Call as Given
from rnndsl.runtime.reference import REFERENCE
from rnndsl.tiles import SEQUENTIAL
from rnndsl.tools.bench.subject import Recurrence, Subject, weights_like

SAME = 1e-4  # how far numbers of the same cell may lie apart

Tensors = tuple[Tensor, ...]
Call = Callable[[], Tensors]


class Absent(Exception):
    """A candidate that cannot do a task, and why."""


@dataclass(frozen=True)
class Task:
    """recurrence: from the streams to the states; layer: a whole call; step: one step of `batch` sequences, as in decoding.

    direction: forward, without gradients; or both: forward, then the gradients of params and inputs.
    """

    scope: str
    direction: str
    batch: int

    @property
    def both(self) -> bool:
        return self.direction == "both"


class Candidate:
    """Something that can do tasks."""

    name: str
    note: str = ""
    ours = False

    def call(self, task: Task) -> Call:
        """The call to time. Raises Absent."""
        if (make := getattr(self, task.scope, None)) is None:
            raise Absent(f"it has no {task.scope} by itself")
        return make(task)


def forward(run: Callable[[], Any]) -> Call:
    """A call without gradients."""

    def call() -> Tensors:
        with torch.no_grad():
            return tensors(run())

    return call


def forward_and_backward(run: Callable[[], Any], wanted: Tensors, weights: Tensors | None = None) -> Call:
    """A call and the gradients of a weighted sum of what it returns; the sum itself is not computed. weights: drawn if None."""
    if weights is None:
        with torch.no_grad():
            weights = weights_like(tensors(run()))

    def call() -> Tensors:
        pairs = [(o, w) for o, w in zip(tensors(run()), weights, strict=True) if o.requires_grad]
        outputs, incoming = zip(*pairs, strict=True)
        return torch.autograd.grad(outputs, wanted, incoming, allow_unused=True)

    return call


def tensors(result: Any) -> Tensors:
    """A tensor, or a tuple of them, as a tuple."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def gap(got: Tensors, expected: Tensors) -> float:
    """The largest difference between what two candidates returned, in units of 1 + the largest finite value. Equal infinities and NaN in
    both agree; NaN in one alone is infinitely far."""
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        if a is not None and b is not None and b.numel():
            apart = torch.where((a == b) | ((a != a) & (b != b)), 0.0, (a - b).abs()).nan_to_num(nan=float("inf"), posinf=float("inf"))
            size = b.abs()
            worst = max(worst, float(apart.max()) / (1 + float(size.where(size.isfinite(), 0.0).max())))
    return worst


def require_same(subject: Subject, run: Callable[[], Any]) -> None:
    """Raises Absent where another library's layer gives other numbers than the loop."""
    with torch.no_grad():
        (expected,) = tensors(subject.layer(*subject.inputs)[0])
        found = gap(tensors(run()), (expected,))
    if not found <= max(SAME, 8 * torch.finfo(expected.dtype).eps):
        raise Absent(f"not the same cell: its numbers differ from the loop's by {found:.0e}")


def leaves(given: Tensors) -> Tensors:
    """The same values and layout, with gradients of their own where they are no counts."""
    return tuple(t.detach().requires_grad_(t.is_floating_point() or t.is_complex()) for t in given)


class Backend(Candidate):
    """Our layer on one of its backends."""

    def __init__(self, name: str, subject: Subject, layer: Any, ours: bool = True, note: str = ""):
        self.name, self.subject, self.model, self.ours, self.note = name, subject, layer, ours, note

    def scan(self, r: Recurrence, streams: Tensors, statics: Tensors) -> Tensors:
        """The states of all steps."""
        given = r.call._replace(streams=streams, statics=statics)
        return type(self.model)._scan(self.model, r.name, given, r.kind)[0]

    def recurrence(self, task: Task) -> Call:
        given = [(r, leaves(tuple(r.call.streams)), leaves(tuple(r.call.statics))) for r in self.subject.recurrences]
        if not given:
            raise Absent("the cell has no recurrence")

        def run() -> Tensors:
            return tuple(s for r, streams, statics in given for s in self.scan(r, streams, statics))

        wanted = tuple(t for _, streams, statics in given for t in (*streams, *statics) if t.requires_grad)
        return forward_and_backward(run, wanted) if task.both else forward(run)

    def layer(self, task: Task) -> Call:
        inputs = leaves(self.subject.inputs)
        if not task.both:
            return forward(lambda: self.model(*inputs)[0])
        return forward_and_backward(lambda: self.model(*inputs)[0], (*inputs, *self.model.parameters()))

    def step(self, task: Task) -> Call:
        inputs, state = self.subject.step_inputs(task.batch), self.model.initial_state(task.batch)
        state = type(state)(*(s.detach().clone() for s in state))
        return forward(lambda: self.model.step(*inputs, state)[0])


def loop(subject: Subject) -> Backend:
    """The reference backend is the fair PyTorch loop: input products hoisted, streams unbound before it, states stacked after it."""
    return Backend("loop", subject, subject.layer, ours=False, note="the reference backend")


def our_backends(subject: Subject, names: tuple[str, ...]) -> tuple[list[Backend], dict[str, str]]:
    """A candidate for each schedule of each of our backends; and why those that cannot run the cell cannot. What would run a loop is left to it."""
    found: list[Backend] = []
    absent: dict[str, str] = {}
    for backend in names:
        layer = copy.deepcopy(subject.layer)
        try:
            layer.backend = backend
        except (ValueError, RuntimeError) as e:
            absent[backend] = str(e).removeprefix("backend: ")
            continue
        device = subject.inputs[0].device
        why = BACKENDS[backend].misplaced(device) or BACKENDS[backend].emulated(device)
        if why is not None:
            absent[backend] = why
            continue
        layer.schedule = SEQUENTIAL
        if any(plan.backend != REFERENCE.name for plan in layer.plan_for(*subject.inputs)):
            found.append(Backend(backend, subject, layer))
        for schedule in BACKENDS[backend].schedules:
            parallel = copy.deepcopy(layer)
            parallel.schedule = schedule
            with warnings.catch_warnings(action="ignore"):  # a schedule that the cell lacks
                plans = parallel.plan_for(*subject.inputs)
            if schedule != SEQUENTIAL and any(plan.schedule == schedule for plan in plans):
                found.append(Backend(f"{backend} {schedule}", subject, parallel))
    return found, absent


class Compiled(Backend):
    """The loop with one step compiled by torch.compile; a loop of many steps would compile for hours."""

    def __init__(self, subject: Subject):
        super().__init__("compile", subject, copy.deepcopy(subject.layer), ours=False, note="torch.compile of one step")
        self._steps: dict[str, Any] = {}
        self.model._scan = self._scan

    def call(self, task: Task) -> Call:
        torch.compiler.reset()  # else the variants of all tasks count against one limit
        self._steps.clear()
        return super().call(task)

    def scan(self, r: Recurrence, streams: Tensors, statics: Tensors) -> Tensors:
        return self._scan(r.name, r.call._replace(streams=streams, statics=statics), r.kind)[0]

    def _scan(self, name: str, call: Given, kind: dict) -> Results:
        if name not in self._steps:
            layer = self.subject.layer

            def one(carry: Tensors, now: Tensors, statics: Tensors) -> tuple[Tensors, Tensors]:
                given = Given(tuple(n.unsqueeze(1) for n in now), statics, carry, call.initial, None, 1)
                states, carry, _ = type(layer)._scan(layer, name, given, kind)
                return tuple(s.squeeze(1) for s in states), carry

            self._steps[name] = torch.compile(one, fullgraph=True, dynamic=False)
        step = self._steps[name]
        carry = tuple(c.contiguous() for c in call.first)
        kept: list[Tensors] = []
        for now in zip(*(s.unbind(1) for s in call.streams), strict=True):
            states, carry = step(carry, now, call.statics)
            kept.append(states)
        sequences = tuple(torch.stack(s, 1) for s in zip(*kept, strict=True))
        return sequences, carry, self.subject.layer._follow(name, call, sequences, kind)

    def step(self, task: Task) -> Call:
        layer = self.subject.layer
        step = torch.compile(layer.step, fullgraph=True, dynamic=False)
        inputs, state = self.subject.step_inputs(task.batch), layer.initial_state(task.batch)
        state = type(state)(*(s.detach().clone() for s in state))
        return forward(lambda: step(*inputs, state)[0])
