"""What the kernels of a recurrence compute of one channel: its step, the matrices of the schedules that run side by side, and the pullback."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.budget import WORK
from rnndsl.calculus.budget import TooLarge as FormulaTooLarge
from rnndsl.calculus.family import AFFINE
from rnndsl.calculus.schedule import legal_schedules
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.channels import Channel, ChannelRewriter, Gradients, pullback, slopes
from rnndsl.kernel.graph import Builder
from rnndsl.kernel.limits import TooLarge, Unsupported
from rnndsl.kernel.linear import Exact, Matrix, exact_form, jacobian_matrix
from rnndsl.kernel.lowering import lowered
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence
from rnndsl.tiles import EXACT, NEWTON

SPECIAL = frozenset((*(name for name, row in OPERATIONS.items() if row.cost[1]), "/"))  # as long as a special function


@dataclass(frozen=True)
class ChannelKernel:
    """One channel of a recurrence, as nodes of `channel`'s graph.

    `recurrence` comes with what follows it where a channel makes that too. `exact` are the coefficients of an exact scan, `newton` is the true
    Jacobian; with either there is `back`, the Jacobian of the backward pass, and `follow_slopes`, the derivatives of what follows in the old
    slots. `pullback` is the step backwards.
    """

    recurrence: Recurrence
    step: Step
    channel: Channel
    pullback: Gradients
    exact: Exact | None = None
    newton: Matrix | None = None
    back: Matrix | None = None
    follow_slopes: Matrix = ()

    @property
    def work(self) -> dict[str, tuple[int, int]]:
        """How many operations each function computes, and how many special functions among them."""
        channel, slots, accesses = self.channel, self.pullback.slots, self.pullback.accesses
        found = {"step": [*channel.updates, *(n for _, n in channel.follows)]}
        if self.exact is not None:
            found["coefficients"] = self.exact.coefficients
        if self.newton is not None:
            found["linear"] = [*channel.updates, *_entries(self.newton)]
        if self.back is not None:
            found["slopes"] = [*_entries(self.back), *_entries(self.follow_slopes)]
        found["pullback"] = _some((*slots, *accesses))
        return {name: _count(channel.builder, nodes) for name, nodes in found.items()}


def channel_kernel(plan: Plan, recurrence: Recurrence, component: Component) -> ChannelKernel:
    """The kernel of one channel. Raises Unsupported, with the reason, where channels meet or a step has what no channel can compute."""
    if component.oversize:
        raise TooLarge("the operations of its equations", WORK)
    if not component.structure.within_a_channel:
        raise Unsupported(component.structure.reason)
    if recurrence.exit is not None:
        try:
            return _kernel(plan, recurrence, component)
        except Unsupported:  # what follows it is then no part of it
            recurrence = replace(recurrence, exit=None)
    return _kernel(plan, recurrence, component)


def _kernel(plan: Plan, recurrence: Recurrence, component: Component) -> ChannelKernel:
    lowering, step = lowered(plan, recurrence, unroll=True)
    legal = legal_schedules(component)
    exact: Exact | None = None
    newton: Matrix | None = None
    back: Matrix | None = None
    if EXACT in legal or NEWTON in legal:
        try:
            exact = exact_form(component, lowering, step) if EXACT in legal else None
            newton = jacobian_matrix(component.jacobian, lowering, step) if NEWTON in legal else None
            same = newton is not None and component.backward is component.jacobian
            back = newton if same else jacobian_matrix(component.backward, lowering, step)
        except FormulaTooLarge:
            raise TooLarge("the operations of its derivatives", WORK) from None
    rewriter = ChannelRewriter(step)
    channel = rewriter.channel()

    def of_channel(matrix: Matrix, zero: float = 0.0) -> Matrix:
        return tuple(tuple(rewriter.entry(n, zero) for n in row) for row in matrix)

    if exact is not None:
        zero = 0.0 if exact.family == AFFINE else -math.inf
        exact = Exact(exact.family, of_channel(exact.a, zero), *of_channel((exact.b,), zero))
    newton = None if newton is None else of_channel(newton)
    back = None if back is None else of_channel(back)
    follows = slopes(channel, [n for _, n in channel.follows]) if back is not None else ()
    return ChannelKernel(recurrence, step, channel, pullback(channel), exact, newton, back, follows)


def _some(nodes: Sequence[int | None]) -> list[int]:
    return [n for n in nodes if n is not None]


def _entries(matrix: Matrix) -> list[int]:
    return [n for row in matrix for n in _some(row)]


def _count(b: Builder, results: Sequence[int]) -> tuple[int, int]:
    """Elementary operations and special functions of some nodes."""
    found, stack = set[int](), list(results)
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(b[n].args)
    work = [b[n].op for n in found if b[n].is_elementwise and b[n].op != "copy"]
    return len(work), sum(op in SPECIAL for op in work)
