"""Which schedules can run a component, and what each keeps for the backward pass."""

from dataclasses import dataclass

from rnndsl.calculus.analysis import Component
from rnndsl.checks.cell import Type, Update
from rnndsl.plan.recurrence import Recurrence
from rnndsl.tiles import EXACT, NEWTON, SEQUENTIAL

ALL_STEPS = "all steps at once"
MAX_SLOTS = 4  # real numbers of a channel whose matrices fit in registers


@dataclass(frozen=True)
class Saved:
    """A tensor that the backward pass reads: one value a step."""

    name: str
    role: str  # stream, state
    type: Type


def legal_schedules(component: Component) -> tuple[str, ...]:
    """What can run a component, as far as its equations say."""
    if component.scan is None:
        return (ALL_STEPS,)
    if not component.structure.within_a_channel or component.structure.slots > MAX_SLOTS or component.too_large:
        return (SEQUENTIAL,)
    return (EXACT, SEQUENTIAL) if component.is_exact else (SEQUENTIAL, NEWTON)


def saved_tensors(component: Component, recurrence: Recurrence | None = None) -> tuple[Saved, ...]:
    """Streams, those of a kernel where there is one, and states; gates and Jacobians are computed again from them."""
    if component.scan is None:
        return ()
    types = {o.state: o.value.type for o in component.scan.body if isinstance(o, Update)}
    refs = recurrence.read if recurrence else component.scan.streams
    streams = {(r.name, r.lag): Saved(f"{r.name}[t-{r.lag}]" if r.lag else r.name, "stream", r.type) for r in refs}
    return (*streams.values(), *(Saved(s, "state", types[s]) for s in component.states))
