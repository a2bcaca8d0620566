"""Plan -> System: each component of a cell with its lane form, Jacobian, family and structure."""

from dataclasses import dataclass
from functools import cached_property

from sympy import Expr as Formula

from rnndsl.calculus import family
from rnndsl.calculus.bounds import Bounds, bounds_of
from rnndsl.calculus.growth import growth
from rnndsl.calculus.intervals import Interval
from rnndsl.calculus.jacobian import Jacobian, differentiate
from rnndsl.calculus.lanes import Lanes, lower
from rnndsl.calculus.scan_form import ScanForm, scan_form
from rnndsl.calculus.structure import DIAGONAL, Structure, structure_of
from rnndsl.checks.cell import Let, Update
from rnndsl.diagnostics import Source
from rnndsl.plan.ir import Map, Plan, Scan


@dataclass(frozen=True)
class Component:
    """States that are solved together, and what is known of their equations.

    A component that reads no own past has no scan; its Jacobian is zero.
    """

    states: tuple[str, ...]
    family: str
    structure: Structure
    scan: Scan | None
    lanes: Lanes | None
    bounds: dict[str, Bounds]
    plan: Plan | None = None

    @cached_property
    def jacobian(self) -> Jacobian | None:
        """The true derivative, for the solver."""
        return differentiate(self.lanes) if self.lanes else None

    @cached_property
    def backward(self) -> Jacobian | None:
        """The derivative of the backward pass, with surrogates."""
        return differentiate(self.lanes, backward=True) if self.lanes else None

    @cached_property
    def scan_form(self) -> ScanForm | None:
        """The coefficients of the exact scan, where the family has one and channels do not mix."""
        return scan_form(self.lanes, self.family, self.jacobian) if self.lanes and self.jacobian else None

    @cached_property
    def growth(self) -> dict[tuple[str, str], Interval]:
        """For a new state and a slot's symbol, where |∂state[t]/∂slot| lies; empty where channels mix."""
        if self.lanes is None or self.scan is None or self.plan is None or self.jacobian is None:
            return {}
        return growth(self.scan, self.plan, self.lanes, self.jacobian, self.bounds)

    @property
    def time_invariant(self) -> bool:
        """Whether an affine component multiplies its state by the same values at every step."""
        if self.family != family.AFFINE or self.jacobian is None or self.lanes is None:
            return False
        streams = {leaf.symbol for leaf in self.lanes.leaves if leaf.role == "stream"}
        entries: list[Formula] = [
            e
            for p in (*self.jacobian.updates, *self.jacobian.operands)
            for symbol, e in p.by.items()
            if symbol in {s.symbol for s in self.lanes.slots} | {m.symbol for m in self.lanes.mixes}
        ]
        definitions = {**self.lanes.definitions, **dict(self.jacobian.locals)}

        def moves(e: Formula) -> bool:
            return any(s in streams or (s in definitions and moves(definitions[s])) for s in e.free_symbols)

        return not any(moves(e) for e in entries) and not any(moves(o) for m in self.lanes.mixes for o in m.others)


@dataclass(frozen=True)
class System:
    """A cell's plan and what the calculus found of each component, in solve order."""

    plan: Plan
    components: tuple[Component, ...]


def analyse(plan: Plan, source: Source, sizes: dict[str, int] | None = None) -> System:
    """The system of a cell. sizes: the dimensions that are known, for the repeats that they bound."""
    components = []
    types = {v.name: v.type for v in plan.cell.of_role("state")}
    stages = [plan.constants, *(s.body for s in plan.stages if isinstance(s, Map))]
    definitions = {let.name: let.value for body in stages for let in body if isinstance(let, Let)}
    for stage in plan.stages:
        if isinstance(stage, Map):
            for operation in stage.body:
                if isinstance(operation, Update):
                    reason = f"diagonal because `{operation.state}` reads no own past"
                    found = Structure(DIAGONAL, 1, reason, operation.span)
                    components.append(Component((operation.state,), family.AFFINE, found, None, None, {}))
            continue
        lanes = lower(stage, plan.static, types, sizes or {}, definitions)
        kind = family.of_component(lanes.families)
        components.append(
            Component(stage.states, kind, structure_of(lanes, source), stage, lanes, bounds_of(stage, plan), plan)
        )
    return System(plan, tuple(components))
