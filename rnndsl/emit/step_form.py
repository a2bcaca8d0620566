"""How one step of a whole cell is called, on whatever backend."""

from dataclasses import asdict, dataclass
from typing import Any

from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array
from rnndsl.plan.ir import Plan


@dataclass(frozen=True)
class StepForm:
    """How many real arrays (two for a complex value) each input is (and the step number, where the cell has one), each param or const, carried
    value and output; nearer: of each carried value the one that it was a step ago, -1 where it is made anew."""

    streams: tuple[int, ...]
    statics: dict[str, int]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]
    outputs: tuple[int, ...]

    def said(self, name: str) -> dict[str, Any]:
        """What a module says of a kernel of this name."""
        return {"name": name} | asdict(self)


def form(arrays: tuple[Array, ...]) -> tuple[int, ...]:
    """How many real arrays each value is."""
    return tuple(1 + (a.part == "re") for a in arrays if a.part != "im")


def step_form(plan: Plan, step: Step) -> StepForm:
    """Of the step of a cell."""
    given = [a.name for a in step.statics if a.part != "im"]
    carried = plan.carried
    return StepForm(
        streams=form(step.streams),
        statics=dict(zip(given, form(step.statics), strict=True)),
        carries=form(tuple(array for array, _ in step.carries)),
        nearer=tuple(carried.index((name, role, lag - 1)) if lag > 1 else -1 for name, role, lag in carried),
        outputs=form(tuple(a for a, _ in step.outputs)),
    )
