"""The plan of a cell as it is shipped: what weights alone make is made before, and each product has a matrix of its own."""

from dataclasses import dataclass, field, replace

from rnndsl.checks.cell import Apply, Expr, Let, Ref, Repeat, walk
from rnndsl.plan.hoist import fresh, of_params
from rnndsl.plan.ir import Gemm, Map, Operation, Plan, Scan, Stage, inner_names, names_of
from rnndsl.plan.single import own_name

# What makes no new numbers, or more of them than it is given, is computed where it is read
_KEPT = frozenset(("slice", "transpose", "merge", "heads", "reshape", "split", "re", "im", "conj", "diag", "broadcast"))


def shipped(plan: Plan) -> Plan:
    """A plan whose stages compute what changes from step to step. Matrices that one product had been stacked of are apart again."""
    return _Shipping(plan).result()


@dataclass
class _Shipping:
    plan: Plan
    constants: list[Let] = field(default_factory=list)
    made: dict[Expr, Ref] = field(default_factory=dict)
    static: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def result(self) -> Plan:
        plan = self.plan
        stages = [[o for operation in s.body for o in _apart(operation)] for s in plan.stages]
        self.static = set(plan.static)
        self.taken = {v.name for v in plan.cell.variables} | self.static
        self.taken |= {n for body in stages for o in body for n in (inner_names(o) if isinstance(o, Repeat) else names_of(o))}
        made: list[Stage] = []
        for stage, body in zip(plan.stages, stages, strict=True):
            done = tuple(self._operation(o) for o in body)
            made.append(Scan(stage.states, done, stage.streams) if isinstance(stage, Scan) else Map(done))
        stacked = {o.matrix.name for s in plan.stages for o in s.body if isinstance(o, Gemm)}
        constants = [c for c in plan.constants if not stacked & set(names_of(c))]
        return replace(plan, stages=tuple(made), constants=(*constants, *self.constants), static=frozenset(self.static))

    def _operation(self, o: Operation) -> Operation:
        match o:
            case Repeat():
                inner = inner_names(o)
                return replace(o, body=tuple(replace(let, value=self._expr(let.value, let.name, inner)) for let in o.body))
            case Gemm():
                return o
            case Let():
                return replace(o, value=self._expr(o.value, o.name, set()))
        return replace(o, value=self._expr(o.value, o.state, set()))

    def _expr(self, expr: Expr, stem: str, inner: set[str]) -> Expr:
        """An expression with the largest parts that weights alone make under names; `inner` are those that the rounds of a repeat bind."""
        if not isinstance(expr, Apply):
            return expr
        if expr.op not in _KEPT and self._is_weighed(expr, inner) and not of_params(expr):
            if expr not in self.made:
                name = fresh(f"{own_name(stem).split('.')[0]}.const", self.taken)
                self.static.add(name)
                self.constants.append(Let(name, expr))
                self.made[expr] = Ref(name, "local", expr.type)
            return self.made[expr]
        return replace(expr, args=tuple(self._expr(a, stem, inner) for a in expr.args))

    def _is_weighed(self, expr: Expr, inner: set[str]) -> bool:
        """Whether weights have a part in it, or what no step computes, and nothing that changes has."""
        refs = [n for n in walk(expr) if isinstance(n, Ref)]
        fixed = all(r.role in ("param", "const", "size", "hyper") or (r.role == "local" and r.name in self.static and r.name not in inner) for r in refs)
        return fixed and (any(r.role in ("param", "const", "local") for r in refs) or any(isinstance(n, Apply) and n.op == "expm" for n in walk(expr)))


def _apart(o: Operation) -> list[Operation]:
    """A merged product as products."""
    if not isinstance(o, Gemm):
        return [o]
    return [Let(name, product, span=product.span) for name, product in zip(o.results, o.products, strict=True)]
