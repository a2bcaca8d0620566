"""What one step costs: operations, special functions and bytes, as formulas in the cell's sizes.

Counts are for one step of one sequence, as the plan's equations are written: a backend that shares subexpressions does less.
An elementwise operation on n values counts n, a product of an [m, n] matrix with a vector 2*m*n. Bytes are those that must move
whatever the schedule: params are left out, since they are read once for many steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from operator import add

from rnndsl.checks.cell import Apply, Expr, Let, Number, Ref, Repeat, Type, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.folding import fold
from rnndsl.checks.prelude import body_of
from rnndsl.functions import FUNCTIONS
from rnndsl.plan.hoist import scales
from rnndsl.plan.ir import Gemm, Map, Operation, Plan, Scan

NONE = Dim.of(0)
BYTES = 4  # of a real value in float32

_FREE = frozenset(("broadcast", "transpose", "slice", "rows", "surrogate"))  # operations of a plan that compute nothing


@dataclass(frozen=True)
class Cost:
    """Of one step of one sequence. `special` are the special functions; they are not among `flops`."""

    flops: Dim = NONE
    special: Dim = NONE
    forward_bytes: Dim = NONE
    backward_bytes: Dim = NONE

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops,
            self.special + other.special,
            self.forward_bytes + other.forward_bytes,
            self.backward_bytes + other.backward_bytes,
        )

    def intensity(self, sizes: dict[str, int] | None = None) -> Fraction | Dim | None:
        """Operations, special functions among them, for each byte of the forward pass; None where it is no plain formula."""
        work = self.flops + self.special
        if not self.forward_bytes.terms:
            return None
        if sizes is not None and (work.names | self.forward_bytes.names) <= sizes.keys():
            below = self.forward_bytes.evaluate(sizes)
            return work.evaluate(sizes) / below if below else None
        if len(self.forward_bytes.terms) > 1:
            return None
        ratio = work / self.forward_bytes
        return ratio.number if ratio.number is not None else ratio


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of several costs."""
    return reduce(add, costs, Cost())


def cost_of_scan(scan: Scan) -> Cost:
    """One step of a component: streams read and states written; backward both are read again, with the states' gradients, and
    the streams' gradients are written."""
    streams, states = bytes_of_scan(scan)
    flops, special = _of_body(scan.body)
    return Cost(flops, special, streams + states, streams + states + states + streams)


def bytes_of_scan(scan: Scan) -> tuple[Dim, Dim]:
    """What a step of a component reads of streams, and writes of states."""
    types = {o.state: o.value.type for o in scan.body if isinstance(o, Update)}
    return bytes_of(s.type for s in scan.streams), bytes_of(types[s] for s in scan.states)


def asked_of_scan(scan: Scan) -> tuple[Dim, Dim, Dim, Dim]:
    """What a step asks of a device, as `costs.Load` has it: operations, special functions, bytes of streams and of states."""
    cost = cost_of_scan(scan)
    return cost.flops, cost.special, *bytes_of_scan(scan)


def cost_of_map(stage: Map, plan: Plan) -> Cost:
    """One step of what is computed for all steps at once: what it reads from elsewhere, and the results that are read later."""
    bound = {n for o in stage.body for n in _names(o)}
    inside = {id(n) for o in stage.body for e in _values(o) for n in walk(e)}
    refs = [n for o in stage.body for e in _values(o) for n in walk(e) if isinstance(n, Ref)]
    read = {n: n.type for n in refs if n.role != "clock" and n.moves(plan.static) and n.name not in bound}
    elsewhere = {n.name for e in _everything(plan) for n in walk(e) if isinstance(n, Ref) and id(n) not in inside}
    written = [t for o in stage.body for n, t in _names(o).items() if n in elsewhere]
    flops, special = _of_body(stage.body)
    reads, writes = bytes_of(read.values()), bytes_of(written)
    return Cost(flops, special, reads + writes, reads + reads + writes)


def bytes_of(types: Iterable[Type]) -> Dim:
    """The bytes of one step of values of these types, in float32 or complex64."""
    return reduce(add, (size_of(t) * Dim.of(2 * BYTES if t.is_complex else BYTES) for t in types), NONE)


def size_of(t: Type) -> Dim:
    """The values of one step of a type."""
    size = Dim.of(1)
    for d in t.heads + t.axes:
        size = size * d
    return size


def _names(operation: Operation) -> dict[str, Type]:
    match operation:
        case Let():
            return {operation.name: operation.value.type}
        case Update():
            return {operation.state: operation.value.type}
        case Repeat():
            return {let.name: let.value.type for let in operation.body if let.name in operation.results}
        case Gemm():
            return {r: p.type for r, p in zip(operation.results, operation.products, strict=True)}


def _values(operation: Operation) -> list[Expr]:
    match operation:
        case Repeat():
            return [let.value for let in operation.body]
        case Gemm():
            return [operation.operand]
    return [operation.value]


def _everything(plan: Plan) -> list[Expr]:
    found = [e for s in plan.stages for o in s.body for e in _values(o)]
    found += [value for _, value, _ in plan.outputs]
    found += [ref for s in plan.scans for ref in s.streams]
    return found


def _of_body(body: Iterable[Operation]) -> tuple[Dim, Dim]:
    flops, special = NONE, NONE
    for operation in body:
        match operation:
            case Repeat():
                inner = _of_body(operation.body)
                rounds = operation.high - operation.low + Dim.of(1)
                found = (inner[0] * rounds, inner[1] * rounds)
            case Gemm():
                parts = [_of_expr(p) for p in operation.products]
                again = _of_expr(operation.operand)  # the operand is computed once, not once a product
                repeated = Dim.of(len(parts) - 1)
                found = tuple(reduce(add, (p[i] for p in parts), NONE) - again[i] * repeated for i in (0, 1))  # type: ignore[assignment]
            case _:
                found = _of_expr(operation.value)
        flops, special = flops + found[0], special + found[1]
    return flops, special


def _of_expr(expr: Expr) -> tuple[Dim, Dim]:
    """Operations and special functions of an expression; a surrogate counts the value that it stands for."""
    if not isinstance(expr, Apply):
        return NONE, NONE
    args = expr.args[1:2] if expr.op == "surrogate" else expr.args
    flops, special = _of_operation(expr)
    for a in args:
        inner = _of_expr(a)
        flops, special = flops + inner[0], special + inner[1]
    return flops, special


def _of_operation(expr: Apply) -> tuple[Dim, Dim]:
    op, n = expr.op, size_of(expr.type)
    if op in _FREE or (not expr.type.axes and all(_plain(a) for a in expr.args)):
        return NONE, NONE
    row = FUNCTIONS.get(op)
    if row is not None and row.definition:
        return _of_expr(body_of(expr))
    if row is not None and row.cost == (0, 0):
        return NONE, NONE
    factor = Dim.of(_complex_factor(expr))
    if scales(expr):
        return n * Dim.of(_complex_factor(replace(expr, op="*"))), NONE
    if op == "@":
        return _product(expr) * factor, NONE
    if op in ("sum", "mean", "cumsum"):
        return size_of(expr.args[0].type) * factor, NONE
    if op == "dot":
        heads = Type(expr.type.heads)
        return size_of(heads) * size_of(Type((), expr.args[0].type.axes)) * Dim.of(2) * factor, NONE
    if op == "norm":
        return size_of(expr.args[0].type) * Dim.of(2), n
    if op == "abs" and expr.args[0].type.is_complex:
        return n * Dim.of(3), n
    if op == "^":
        return _power(expr, n)
    if row is None or row.cost == (1, 0):
        return n * factor, NONE
    flops, special = (n * Dim.of(k) for k in row.cost)
    return flops, special + size_of(Type(expr.type.heads)) * Dim.of(row.roots)


def _plain(expr: Expr) -> bool:
    """Whether an expression is arithmetic on numbers, sizes and hyperparameters: done once, not every step."""
    return all(isinstance(e, Apply | Number) or e.role in ("size", "hyper", "counter") for e in walk(expr))


def _product(expr: Apply) -> Dim:
    summed = expr.args[0].type.axes[-1]
    return size_of(expr.type) * summed * Dim.of(2)


def _complex_factor(expr: Apply) -> int:
    """Real operations in one complex operation of this kind."""
    many = sum(a.type.is_complex for a in expr.args)
    if not many:
        return 1
    if expr.op in ("*", "@", "dot", "outer"):
        return {"@": 4, "dot": 4}.get(expr.op, 6) if many == 2 else 2
    return 11 if expr.op == "/" and expr.args[1].type.is_complex else 2


def _power(expr: Apply, n: Dim) -> tuple[Dim, Dim]:
    """A small whole power is repeated products; another is an exp and a log."""
    exponent = fold(expr.args[1])
    if isinstance(exponent, float) and exponent.is_integer() and 1 <= abs(exponent) <= 16:
        k = int(abs(exponent))
        return n * Dim.of(k.bit_length() - 1 + k.bit_count() - 1 + (exponent < 0)), NONE
    return n, n * Dim.of(2)


