"""Interval analysis: a box that each state never leaves once inside, where one can be proven, and a bound on |∂s'/∂s|.

Expressions are evaluated in interval arithmetic. A value that is read several times would lose its identity there (1 - z and z
both in [0, 1] sum to [0, 2]), so an expression that is affine in such a value is evaluated at the value's two ends instead,
which is exact: so a convex combination stays in the hull of its parts.
"""

import math
from dataclasses import dataclass

from rnndsl.check.cell import Apply, Expr, Let, Number, Ref, Repeat, Update, walk
from rnndsl.check.shapes import fold
from rnndsl.plan.ir import Plan, Scan

_ROUNDS = 6


@dataclass(frozen=True)
class Interval:
    """[low, high], ends possibly infinite."""

    low: float
    high: float

    def hull(self, other: "Interval") -> "Interval":
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def holds(self, other: "Interval") -> bool:
        return self.low <= other.low and other.high <= self.high

    @property
    def finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


ALL = Interval(-math.inf, math.inf)


@dataclass(frozen=True)
class Bounds:
    """box: where the state stays, if its initial value and the state that a call is given lie inside; infinite ends if unknown.

    assumes: hyperparameters whose default values the box depends on.
    """

    box: Interval
    assumes: tuple[str, ...] = ()


def _growth(old: Interval, new: Interval) -> float:
    """How far an interval has grown; an end that was infinite already has not."""
    low = 0.0 if old.low == new.low else old.low - new.low
    high = 0.0 if old.high == new.high else new.high - old.high
    return max(low, high)


def point(value: float) -> Interval:
    return Interval(value, value)


def bounds_of(scan: Scan, plan: Plan) -> dict[str, Bounds]:
    """A box for each state of a component."""
    analysis = _Analysis(scan, plan)
    boxes = analysis.fixpoint()
    return {s: Bounds(b, tuple(sorted(analysis.hypers))) for s, b in boxes.items()}


class _Analysis:
    """Intervals of everything that a component reads, and the iteration to a box that its step maps into itself."""

    def __init__(self, scan: Scan, plan: Plan):
        self.scan, self.plan = scan, plan
        self.defaults = {h.name: h.default for h in plan.cell.hypers}
        self.hypers: set[str] = set()
        self.definitions: dict[str, Expr] = {}
        for let in [*plan.constants, *(o for s in plan.stages for o in getattr(s, "body", ()))]:
            if isinstance(let, Let) and let.name not in self.definitions:
                self.definitions[let.name] = let.value
        for stage in plan.stages:
            for o in stage.body:
                if isinstance(o, Repeat):  # a name that is bound again has no one value
                    for let in o.body:
                        self.definitions.pop(let.name, None)
        self.updates = {o.state: o.value for o in scan.body if isinstance(o, Update)}
        self.repeated = any(isinstance(o, Repeat) for o in scan.body)

    def fixpoint(self) -> dict[str, Interval]:
        """Grows the initial values until the step maps the box into itself.

        Where that does not end, the state that grows fastest is unbounded, and the others start again.
        """
        unbounded: set[str] = set()
        while True:
            boxes = {s: ALL if s in unbounded else self._initial(s) for s in self.scan.states}
            for _ in range(_ROUNDS):
                old = boxes
                boxes = {s: old[s].hull(self.interval(self.updates[s], old)) for s in old}
                if boxes == old:
                    return boxes
            unbounded.add(max((s for s in boxes if s not in unbounded), key=lambda s: _growth(old[s], boxes[s])))

    def _initial(self, state: str) -> Interval:
        v = self.plan.variable(state)
        if v.type.is_complex:
            return ALL
        return self.interval(v.value, {}) if v.value is not None else point(0.0)

    def interval(self, expr: Expr, boxes: dict[str, Interval]) -> Interval:
        """An interval that holds every value of an expression."""
        inlined = self._inline(expr, boxes, {})
        return _evaluate(inlined, self._leaf_interval(boxes))

    def _inline(self, expr: Expr, boxes: dict, seen: dict) -> Expr:
        """The expression with locals replaced, up to those that are bounded by themselves."""
        if isinstance(expr, Ref) and expr.role == "local" and expr.name in self.definitions:
            if expr.name not in seen:
                value = self.definitions[expr.name]
                whole = self._inline(value, boxes, seen)
                seen[expr.name] = whole if _transparent(whole) and _size(whole) < 200 else expr
            return seen[expr.name]
        if isinstance(expr, Ref) and expr.role == "state" and expr.lag == 0 and expr.name in self.updates:
            value = self._inline(self.updates[expr.name], boxes, seen)
            return value if _size(value) < 200 else expr
        if isinstance(expr, Apply):
            return Apply(expr.op, tuple(self._inline(a, boxes, seen) for a in expr.args), expr.type, expr.static)
        return expr

    def _leaf_interval(self, boxes: dict[str, Interval]):
        memo: dict[Ref, Interval] = {}

        def leaf(ref: Ref) -> Interval:
            if ref in memo:
                return memo[ref]
            memo[ref] = ALL  # a name that leads back to itself
            memo[ref] = compute(ref)
            return memo[ref]

        def compute(ref: Ref) -> Interval:
            if ref.type.is_complex:
                return ALL
            match ref.role:
                case "hyper":
                    self.hypers.add(ref.name)
                    return point(self.defaults[ref.name])
                case "size":
                    return Interval(1.0, math.inf)
                case "counter" | "clock":
                    return Interval(0.0, math.inf)
                case "param":
                    return self._param(ref.name)
                case "state" if ref.name in boxes:
                    return boxes[ref.name]
                case "local" if ref.name in self.definitions:
                    return _evaluate(self._inline(self.definitions[ref.name], boxes, {}), leaf)
                case "noise":
                    v = self.plan.variable(ref.name)
                    return self._noise(v.draw, leaf) if v.draw else ALL
            return ALL

        return leaf

    def _param(self, name: str) -> Interval:
        v = self.plan.variable(name)
        if v.interval is None:
            return ALL
        low = fold(v.interval.low)
        high = fold(v.interval.high) if v.interval.high is not None else math.inf
        if not isinstance(low, float) or not isinstance(high, float):
            return ALL
        return Interval(low, high)

    def _noise(self, draw, leaf) -> Interval:
        if draw.name == "bernoulli":
            return Interval(0.0, 1.0)  # 0 or 1 in training, its mean in evaluation
        if draw.name == "uniform":
            return _evaluate(draw.args[0], leaf).hull(_evaluate(draw.args[1], leaf))
        return ALL


def _size(expr: Expr) -> int:
    return sum(1 for _ in walk(expr))


def _transparent(expr: Expr) -> bool:
    """Whether replacing a name by this keeps what is known: arithmetic does, since its parts may cancel; a bounded function
    of something else is better kept whole, as one value that several places read."""
    return isinstance(expr, Ref | Number) or (isinstance(expr, Apply) and expr.op in ("+", "-", "*", "neg", "/"))


def _atoms(expr: Expr) -> list[Expr]:
    """The parts of an arithmetic expression that are not arithmetic, as often as they are read."""
    if isinstance(expr, Apply) and expr.op in ("+", "-", "*", "neg"):
        return [a for arg in expr.args for a in _atoms(arg)]
    return [expr]


def _degree(expr: Expr, atom: Expr) -> int:
    """The degree of an arithmetic expression in one of its atoms; 2 stands for more than one."""
    if expr == atom:
        return 1
    if isinstance(expr, Apply) and expr.op in ("+", "-", "neg"):
        return max(_degree(a, atom) for a in expr.args)
    if isinstance(expr, Apply) and expr.op == "*":
        return min(2, sum(_degree(a, atom) for a in expr.args))
    return 0


def _replace(expr: Expr, atom: Expr, value: Expr) -> Expr:
    if expr == atom:
        return value
    if isinstance(expr, Apply) and expr.op in ("+", "-", "*", "neg"):
        return Apply(expr.op, tuple(_replace(a, atom, value) for a in expr.args), expr.type, expr.static)
    return expr


def _evaluate(expr: Expr, leaf, depth: int = 0) -> Interval:
    """Interval arithmetic, with atoms that are read twice held at their ends."""
    if isinstance(expr, Number):
        return ALL if isinstance(expr.value, complex) else point(expr.value)
    if isinstance(expr, Ref):
        return leaf(expr)
    if expr.type.is_complex or any(a.type.is_complex for a in expr.args):
        return _of_complex(expr.op)
    if expr.op in ("+", "-", "*", "neg") and depth < 6:
        atoms = [a for a in _atoms(expr) if not isinstance(a, Number)]
        for atom in dict.fromkeys(atoms):
            if atoms.count(atom) > 1 and _degree(expr, atom) == 1:
                ends = _evaluate(atom, leaf, depth + 1)
                if ends.finite:
                    low, high = (_replace(expr, atom, Number(end)) for end in (ends.low, ends.high))
                    return _evaluate(low, leaf, depth + 1).hull(_evaluate(high, leaf, depth + 1))
    args = [_evaluate(a, leaf, depth) for a in expr.args]
    return _apply(expr, args)


def _of_complex(op: str) -> Interval:
    return Interval(0.0, math.inf) if op in ("abs", "norm") else ALL


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b  # an unbounded value is finite all the same


def _times(a: Interval, b: Interval) -> Interval:
    ends = [_product(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(min(ends), max(ends))


def _plus(a: Interval, b: Interval) -> Interval:
    low = -math.inf if -math.inf in (a.low, b.low) else a.low + b.low
    high = math.inf if math.inf in (a.high, b.high) else a.high + b.high
    return Interval(low, high)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _exp(x: float) -> float:
    return math.inf if x > 709 else math.exp(x)


def _softplus(x: float) -> float:
    return x if x > 40 else math.log1p(math.exp(x))


def _log(x: float) -> float:
    return -math.inf if x <= 0 else math.log(x)


def _gelu(x: float) -> float:
    return 0.0 if x == -math.inf else x if x == math.inf else 0.5 * x * (1 + math.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


# Functions that never fall.
_RISING = {
    "tanh": math.tanh, "sigmoid": _sigmoid, "exp": _exp, "relu": lambda x: max(x, 0.0), "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x), "log": _log, "sqrt": lambda x: math.sqrt(max(x, 0.0)),
    "sign": lambda x: float((x > 0) - (x < 0)), "heaviside": lambda x: float(x > 0), "elu": lambda x: x if x > 0 else math.expm1(x),
    "floor": lambda x: x if math.isinf(x) else float(math.floor(x)),
}  # fmt: skip
_FIXED = {"sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "softmax": (0.0, 1.0), "normalize": (-1.0, 1.0), "norm": (0.0, math.inf)}
_COMPARES = frozenset(("<", "<=", ">", ">=", "==", "!="))
_KEEPS = frozenset(("split", "merge", "heads", "reshape", "transpose", "broadcast", "slice", "mean", "re", "conj"))


def _apply(expr: Apply, args: list[Interval]) -> Interval:
    op = expr.op
    if op in _FIXED:
        return Interval(*_FIXED[op])
    if op in _COMPARES:
        return Interval(0.0, 1.0)
    if op in _RISING:
        return Interval(_RISING[op](args[0].low), _RISING[op](args[0].high))
    match op:
        case "+":
            return _plus(*args)
        case "-":
            return _plus(args[0], Interval(-args[1].high, -args[1].low))
        case "neg":
            return Interval(-args[0].high, -args[0].low)
        case "*":
            if expr.args[0] == expr.args[1]:
                return _square(args[0])
            return _times(*args)
        case "/":
            return _quotient(*args)
        case "^":
            return _power(expr, args)
        case "max":
            return Interval(max(args[0].low, args[1].low), max(args[0].high, args[1].high))
        case "min":
            return Interval(min(args[0].low, args[1].low), min(args[0].high, args[1].high))
        case "abs":
            low = 0.0 if args[0].low <= 0 <= args[0].high else min(abs(args[0].low), abs(args[0].high))
            return Interval(low, max(abs(args[0].low), abs(args[0].high)))
        case "where":
            return args[1].hull(args[2])
        case "logaddexp":
            return Interval(max(args[0].low, args[1].low), math.inf if math.inf in (args[0].high, args[1].high) else _lae(args))
        case "silu" | "gelu":
            return Interval(-0.279 if args[0].low < 0 else 0.0, max(args[0].high, 0.0))
        case "mod" if args[1].low > 0:
            return Interval(0.0, args[1].high)
        case "outer":
            return _times(*args)
        case "diag":
            return args[0].hull(point(0.0))
        case "concat":
            return Interval(min(a.low for a in args), max(a.high for a in args))
        case "surrogate":
            return args[1]
        case "eye":
            return Interval(0.0, 1.0)
        case "ones":
            return point(1.0)
        case "im":
            return point(0.0)
    if op in _KEEPS:
        return args[0]
    return ALL


def _lae(args: list[Interval]) -> float:
    top = max(args[0].high, args[1].high)
    return top if top == -math.inf else top + math.log1p(math.exp(-abs(args[0].high - args[1].high))) if math.isfinite(min(args[0].high, args[1].high)) else top  # fmt: skip


def _square(a: Interval) -> Interval:
    low = 0.0 if a.low <= 0 <= a.high else min(a.low * a.low, a.high * a.high)
    return Interval(low, max(a.low * a.low, a.high * a.high))


def _quotient(a: Interval, b: Interval) -> Interval:
    if b.low <= 0 <= b.high:
        return ALL
    inverse = Interval(1 / b.high if math.isfinite(b.high) else 0.0, 1 / b.low if math.isfinite(b.low) else 0.0)
    inverse = Interval(min(inverse.low, inverse.high), max(inverse.low, inverse.high))
    return _times(a, inverse)


def _power(expr: Apply, args: list[Interval]) -> Interval:
    exponent = fold(expr.args[1])
    base = args[0]
    if isinstance(exponent, float) and exponent == int(exponent) and 0 < exponent <= 16:
        n = int(exponent)
        ends = (_raised(base.low, n), _raised(base.high, n))
        if n % 2 == 1:
            return Interval(*ends)
        return Interval(0.0 if base.low <= 0 <= base.high else min(ends), max(ends))
    if base.low >= 0:
        return Interval(0.0, math.inf)
    return ALL


def _raised(x: float, n: int) -> float:
    try:
        return x**n
    except OverflowError:
        return math.copysign(math.inf, x) if n % 2 else math.inf


