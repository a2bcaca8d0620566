"""What a generated module calls its recurrences."""

from rnndsl.checks.attributes import LAYER_ATTRIBUTES
from rnndsl.emit.naming import Names
from rnndsl.plan.ir import Plan

_METHODS = ("_step_", "_enter_", "_exit_")  # of a recurrence: its label follows

Labels = dict[tuple[str, ...], str]


def labels_of(plan: Plan) -> Labels:
    """The label of each recurrence, by its states: no two are the same, and no method is called as something else that the layer has."""
    held = {*LAYER_ATTRIBUTES, *(v.name for v in plan.cell.variables), *plan.cell.sizes, *(h.name for h in plan.cell.hypers)}
    names = Names(frozenset(n.removeprefix(m) for m in _METHODS for n in held if n.startswith(m)))
    return {scan.states: names(scan.states, "_".join(scan.states)) for scan in plan.scans}
