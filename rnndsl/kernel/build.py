"""System -> CellKernels: what the kernels of a cell compute, as graphs. Emitters print them; nothing in them is text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rnndsl.calculus.analysis import Component, System
from rnndsl.kernel.channel_kernel import ChannelKernel, channel_kernel
from rnndsl.kernel.chunked import ChunkForm, chunk_form
from rnndsl.kernel.decode import Decode, decode_of
from rnndsl.kernel.graph import Node
from rnndsl.kernel.limits import TooLarge, Unsupported
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.lowering import lower, lower_cell, lowered
from rnndsl.kernel.newton import NewtonStep, newton_step
from rnndsl.kernel.program import Program, backward, forward
from rnndsl.kernel.separate import Split, separate, state_numbers
from rnndsl.kernel.step import Step
from rnndsl.kernel.verify import verify
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence, recurrences


@dataclass(frozen=True)
class Refusal:
    """Why there is no kernel."""

    reason: str


@dataclass(frozen=True)
class Sweep:
    """A step of rows of a batch, one after the other: what it computes forwards and backwards, and how units of work divide the states."""

    step: Step
    split: Split
    forward: Program
    backward: Program


@dataclass(frozen=True)
class RecurrenceKernels:
    """The kernels of one recurrence: of rows, of channels where these do not meet, of all steps at once, and of chunks of matrix states."""

    recurrence: Recurrence
    component: Component
    sweep: Sweep | Refusal
    channel: ChannelKernel | Refusal
    newton: NewtonStep | Refusal
    chunked: ChunkForm | Refusal
    followed: Sweep | None = None  # the sweep with what follows the recurrence as outputs, where units divide heads as they do without it

    @property
    def swept(self) -> Recurrence:
        """What the sweep computes that is run: without what follows the recurrence, where no sweep has it."""
        return self.recurrence if self.followed is not None else replace(self.recurrence, exit=None)


@dataclass(frozen=True)
class OneStep:
    """One step of a whole cell, from inputs to outputs, and how units of work divide its states; `decode` is a channel of it, where there is one."""

    step: Step
    split: Split
    forward: Program
    decode: Decode | None


@dataclass(frozen=True)
class CellKernels:
    """The kernels of a cell, in solve order, and of one step of it: None where single steps run as sequences of one."""

    plan: Plan
    recurrences: tuple[RecurrenceKernels, ...]
    step: OneStep | None


def make_kernels(system: System) -> CellKernels:
    """The kernels of a cell, or why there are none; their graphs are held against the rules of legal ones."""
    plan = system.plan
    components = {c.states: c for c in system.components}
    made = tuple(_recurrence(plan, r, components[r.scan.states]) for r in recurrences(plan))
    kernels = CellKernels(plan, made, _one_step(plan))
    for what, nodes in graphs(kernels):
        verify(nodes, f"{what} in cell {plan.cell.name}")
    return kernels


def graphs(kernels: CellKernels) -> Iterator[tuple[str, Sequence[Node]]]:
    """Every graph of a cell, and what it is called."""
    for r in kernels.recurrences:
        states = ", ".join(r.recurrence.scan.states)
        if isinstance(r.sweep, Sweep):
            yield f"the step of {states}", r.sweep.forward.nodes
            yield f"the step backwards of {states}", r.sweep.backward.nodes
        if r.followed is not None:
            yield f"the step of {states} and what follows", r.followed.backward.nodes
        if isinstance(r.channel, ChannelKernel):
            yield f"a channel of {states}", r.channel.channel.builder.nodes
        if isinstance(r.newton, NewtonStep):
            yield f"all steps of {states}", r.newton.step.builder.nodes
        if isinstance(r.chunked, ChunkForm):
            yield f"chunks of {states}", r.chunked.step.builder.nodes
    if kernels.step is not None:
        yield "one step", kernels.step.forward.nodes
        if kernels.step.decode is not None:
            yield "a channel of one step", kernels.step.decode.channel.builder.nodes


def _recurrence(plan: Plan, recurrence: Recurrence, component: Component) -> RecurrenceKernels:
    sweep: Sweep | Refusal
    channel: ChannelKernel | Refusal
    try:
        sweep = _sweep(plan, recurrence)
    except TooLarge as e:
        sweep = Refusal(str(e))
    except Unsupported as e:
        sweep = Refusal(f"`{e}` has no kernel")
    try:
        channel = channel_kernel(plan, recurrence, component)
    except Unsupported as e:
        channel = Refusal(str(e))
    newton: NewtonStep | Refusal
    try:
        newton = newton_step(plan, recurrence, component)
    except Unsupported as e:
        newton = Refusal(str(e))
    chunked: ChunkForm | Refusal
    try:
        chunked = chunk_form(plan, recurrence, component)
    except Unsupported as e:
        chunked = Refusal(str(e))
    return RecurrenceKernels(recurrence, component, sweep, channel, newton, chunked, _followed(plan, recurrence, sweep))


def _sweep(plan: Plan, recurrence: Recurrence) -> Sweep:
    return _swept(plan, lower(plan, recurrence))


def _swept(plan: Plan, step: Step) -> Sweep:
    forwards, backwards = forward(step), backward(step)
    return Sweep(step, _split(plan, step, forwards, backwards), forwards, backwards)


def _followed(plan: Plan, recurrence: Recurrence, alone: Sweep | Refusal) -> Sweep | None:
    if recurrence.exit is None or isinstance(alone, Refusal):
        return None
    try:
        sweep = _swept(plan, lowered(plan, recurrence, unroll=False)[1])
    except Unsupported:
        return None
    return sweep if sweep.split.heads == alone.split.heads else None


def _split(plan: Plan, step: Step, forwards: Program, backwards: Program | None = None) -> Split:
    """How units of work divide the states of a step."""
    used = reachable(forwards.nodes, [s.node for s in forwards.sinks])
    shapes = [(len(array.shape), len(plan.variable(array.name).type.heads)) for array, _ in step.carries]
    return separate(forwards, used, shapes, state_numbers(step), backwards)


def _one_step(plan: Plan) -> OneStep | None:
    try:
        step = lower_cell(plan)
        forwards = forward(step)
    except Unsupported:
        return None
    decode: Decode | None
    try:
        decode = decode_of(step)
    except Unsupported:
        decode = None
    return OneStep(step, _split(plan, step, forwards), forwards, decode)
