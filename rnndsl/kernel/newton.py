"""A step for all times at once, and the part of its Jacobian that stays in a channel: what a round of Newton's method computes where channels
meet inside a step."""

from dataclasses import dataclass

from rnndsl.kernel.linear import Matrix
from rnndsl.kernel.lowering import lower
from rnndsl.kernel.own_channel import own_channel
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence


@dataclass(frozen=True)
class NewtonStep:
    """`own` is ∂ new / ∂ old of carried values of one channel, an array an entry; None is zero."""

    step: Step
    own: Matrix

    @property
    def nearer(self) -> tuple[int, ...]:
        """Of each carried array the number of the one that it was a step ago, -1 of states of the step before."""
        place = {(array.name, array.part, lag): i for i, (array, lag) in enumerate(self.step.carries)}
        return tuple(place[array.name, array.part, lag - 1] if lag > 1 else -1 for array, lag in self.step.carries)


def newton_step(plan: Plan, recurrence: Recurrence) -> NewtonStep:
    """A round of a recurrence. Raises Unsupported, with the reason."""
    step = lower(plan, recurrence)
    return NewtonStep(step, own_channel(step))
