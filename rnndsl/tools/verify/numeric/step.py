"""One step of a plan at a point, with each component in lane form."""

from typing import Any

from sympy import Expr as Formula
from torch import Tensor

from rnndsl.calculus.analysis import Component, System
from rnndsl.checks.cell import Apply, Expr
from rnndsl.plan.ir import Map, Plan, Scan
from rnndsl.tools.verify.numeric.lanes import Point
from rnndsl.tools.verify.numeric.scope import Scope


class Step(Scope):
    """One step of a cell: every name of its plan, and `points`, each component's lanes there."""

    def __init__(self, system: System, layer: Any, inputs: list[Tensor], state: tuple[Tensor, ...]):
        """inputs, state: one step of one sequence, without a batch."""
        self.plan: Plan = system.plan
        self.components = [c for c in system.components if c.scan is not None]
        super().__init__(self.plan.cell, layer, {n: getattr(layer, n).detach() for n in layer._tensors})
        for v, x in zip(self.plan.cell.of_role("input"), inputs, strict=True):
            self.put(("input", v.name, 0), x, v.type)
        for carry, value in zip(self.plan.carries, state, strict=True):
            self.put((carry.role, carry.source, carry.lag), value, carry.type)
        self.points: list[tuple[Component, Point]] = []
        for operation in self.plan.constants:
            self.operation(operation)
        for stage in self.plan.stages:
            if isinstance(stage, Map):
                for o in stage.body:
                    self.operation(o)
            else:
                self.scan(stage)

    def scan(self, scan: Scan) -> None:
        """Runs a component by its lanes."""
        component = next(c for c in self.components if c.scan is scan)
        lanes = component.lanes
        assert lanes is not None
        values = {s.symbol: self.env["state", s.state, s.lag] for s in lanes.slots}
        for leaf in lanes.leaves:
            if leaf.expr is not None:
                values[leaf.symbol] = self.leaf(leaf.expr, leaf.operands)
        point = Point(lanes, self.sizes, values)
        for state, value in point.updates.items():
            self.env["state", state, 0] = value
        self.points.append((component, point))

    def leaf(self, expr: Expr, operands: tuple[Formula, ...]) -> Tensor:
        """What a component reads and does not change."""
        if isinstance(expr, Apply):  # a slice whose number is known
            (k,) = operands
            return self.sliced(expr.args[0], int(k))
        return self.value(expr)
