"""A step for all times at once, and the part of its Jacobian that stays in a channel: what a round of Newton's method computes where channels
meet inside a step."""

from dataclasses import dataclass, replace

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.budget import TooLarge
from rnndsl.calculus.family import LOG, MAX_PLUS
from rnndsl.kernel.linear import Exact, Matrix, exact_form
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.lowering import Lowering, lowered
from rnndsl.kernel.own_channel import own_channel
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence

_CARRIES = 8  # that an exact scan has at most: its products are of so many rows and columns


@dataclass(frozen=True)
class NewtonStep:
    """`own` is ∂ new / ∂ old of carried values of one channel, an array an entry; None is zero. `exact`: the coefficients of an exact scan
    that knows maxima, or log-sums, of all steps at once: rounds would follow these slowly from step to step. An affine scan is a round itself."""

    step: Step
    own: Matrix
    exact: Exact | None = None

    @property
    def nearer(self) -> tuple[int, ...]:
        """Of each carried array the number of the one that it was a step ago, -1 of states of the step before."""
        place = {(array.name, array.part, lag): i for i, (array, lag) in enumerate(self.step.carries)}
        return tuple(place[array.name, array.part, lag - 1] if lag > 1 else -1 for array, lag in self.step.carries)


def newton_step(plan: Plan, recurrence: Recurrence, component: Component) -> NewtonStep:
    """A round of a recurrence. Raises Unsupported, with the reason."""
    lowering, step = lowered(plan, replace(recurrence, exit=None), unroll=False)
    return NewtonStep(step, own_channel(step), _exact(component, lowering, step))


def _exact(component: Component, lowering: Lowering, step: Step) -> Exact | None:
    if component.oversize or component.family not in (MAX_PLUS, LOG) or len(step.carries) > _CARRIES:
        return None
    try:
        found = exact_form(component, lowering, step)
    except TooLarge:
        return None
    nodes = step.builder.nodes
    return None if found is None or any(nodes[n].op == "loop" for n in reachable(nodes, found.coefficients)) else found
