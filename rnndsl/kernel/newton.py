"""A step for all times at once, and the part of its Jacobian that stays in a channel: what a round of Newton's method computes where channels
meet inside a step."""

from dataclasses import dataclass, replace

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.budget import WORK
from rnndsl.calculus.budget import TooLarge as FormulaTooLarge
from rnndsl.kernel.limits import TooLarge
from rnndsl.kernel.linear import Matrix, own_matrix
from rnndsl.kernel.lowering import lowered
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence


@dataclass(frozen=True)
class NewtonStep:
    """`own` is ∂ new / ∂ old of carried values of one channel, an array an entry; None is zero."""

    step: Step
    own: Matrix


def newton_step(plan: Plan, recurrence: Recurrence, component: Component) -> NewtonStep:
    """A round of a recurrence. Raises Unsupported, with the reason."""
    if component.oversize or component.jacobian is None:
        raise TooLarge("the operations of its equations", WORK)
    if component.too_large:
        raise TooLarge("the operations of its derivatives", WORK)
    lowering, step = lowered(plan, replace(recurrence, exit=None), unroll=True)
    try:
        return NewtonStep(step, own_matrix(component.jacobian, lowering, step))
    except FormulaTooLarge:
        raise TooLarge("the operations of its derivatives", WORK) from None
