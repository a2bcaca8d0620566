"""A step for all times at once, and the part of its Jacobian that stays in a channel: what a round of Newton's method computes where channels
meet inside a step."""

from dataclasses import dataclass, replace

from rnndsl.calculus.analysis import Component
from rnndsl.kernel.linear import Exact, Matrix, exact_form
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.lowering import lowered
from rnndsl.kernel.own_channel import own_channel
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence


@dataclass(frozen=True)
class NewtonStep:
    """`own` is ∂ new / ∂ old of carried values of one channel, an array an entry; None is zero. `exact`: the coefficients of an exact scan,
    by which all steps are known at once, where there is one: rounds would follow a maximum slowly from step to step."""

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
    own = own_channel(step)
    exact = exact_form(component, lowering, step)
    if exact is None:
        return NewtonStep(step, own)
    parts = reachable(step.builder.nodes, [n for row in (*exact.a, exact.b) for n in row if n is not None])
    return NewtonStep(step, own, None if any(step.builder.nodes[n].op == "loop" for n in parts) else exact)
