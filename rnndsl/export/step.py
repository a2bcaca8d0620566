"""Plan -> Step: one step of a whole cell, in the order and the parts that its plan has: what that computes once a call is given."""

from rnndsl.checks.cell import Ref, Repeat, Returned, walk
from rnndsl.diagnostics import Span
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.graph import Builder
from rnndsl.kernel.limits import TooLarge, Unsupported
from rnndsl.kernel.lowering import Lowering
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Operation, Plan, Scan, expressions_of, inner_names, names_of
from rnndsl.plan.recurrence import Recurrence

VALUES = 20_000  # nodes of a step: there is no compiler behind it that would take minutes


class NoForm(Exception):
    """What no step can be made of, and the place in the program of what was being lowered."""

    def __init__(self, reason: str, span: Span):
        super().__init__(reason)
        self.span = span


def planned_step(plan: Plan, unroll: bool) -> Step:
    """The step of a plan without noise. Its statics are params, consts and constants of the plan, its carries the fields of the state but for the step
    number, which is its last stream. unroll: repeats, which must lie between numbers. Raises NoForm."""
    operations = tuple(o for stage in plan.stages for o in stage.body)
    scan = Scan(tuple(v.name for v in plan.cell.of_role("state")), operations, plan.given)
    recurrence = Recurrence(scan, (), (), plan.given, _statics(plan, operations))
    lowering = Lowering(plan, recurrence, unroll, Arithmetic(Builder(most=VALUES)))
    try:
        return lowering.step(plan.carried, [Returned(*o) for o in plan.outputs])
    except Unsupported as e:
        reason = str(e) if isinstance(e, TooLarge) else f"a single step has no `{e}`"
        raise NoForm(reason, lowering.builder.span) from None


def _statics(plan: Plan, operations: tuple[Operation, ...]) -> tuple[Ref, ...]:
    """The params, consts and constants that operations and outputs read."""
    bound = {n for o in operations for n in (inner_names(o) if isinstance(o, Repeat) else names_of(o))}
    values = [e for o in operations for e in expressions_of(o)] + [value for _, value, _ in plan.outputs]
    refs = [n for value in values for n in walk(value) if isinstance(n, Ref)]
    return tuple(dict.fromkeys(n for n in refs if n.role in ("param", "const") or (n.role == "local" and n.name not in bound)))
