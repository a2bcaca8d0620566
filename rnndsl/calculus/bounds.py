"""Interval analysis: a box that each state never leaves once inside, where one can be proven, and a bound on |∂s'/∂s|.

Expressions are evaluated in interval arithmetic. A value that is read several times would lose its identity there (1 - z and z
both in [0, 1] sum to [0, 2]), so an expression that is affine in such a value is evaluated at the value's two ends instead,
which is exact: a convex combination stays in the hull of its parts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rnndsl.check.cell import Apply, Expr, Let, Number, Ref, Repeat, Update, walk
from rnndsl.check.shapes import fold
from rnndsl.plan.ir import Plan, Scan

_ROUNDS = 6
_LONG = 100  # nodes of an expression from which its name is kept
_SPLITS = 6  # values held at their ends at once


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


def _growth(old: Interval, new: Interval, upper: bool) -> float:
    """How far one end of an interval has moved; one that was infinite already has not."""
    if upper:
        return 0.0 if old.high == new.high else new.high - old.high
    return 0.0 if old.low == new.low else old.low - new.low


def _limit(first: Interval, second: Interval, third: Interval, margin: float) -> Interval:
    """Where three intervals that grow by a constant ratio end, with a relative margin; the last itself if they do not slow down."""

    def end(a: float, b: float, c: float) -> float:
        if b == a or not math.isfinite(a + b + c) or not 0 < (ratio := (c - b) / (b - a)) < 1:
            return c
        limit = float(f"{c + (c - b) * ratio / (1 - ratio):.9g}")
        return limit + math.copysign(margin * abs(limit), c - b)

    return Interval(end(first.low, second.low, third.low), end(first.high, second.high, third.high))


def _close(inner: Interval, outer: Interval) -> bool:
    """Whether an interval lies inside another, up to rounding."""
    slack = 1e-15 * (1 + max((abs(e) for e in (outer.low, outer.high) if math.isfinite(e)), default=0.0))
    return Interval(outer.low - slack, outer.high + slack).holds(inner)


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
        for o in [*plan.constants, *(o for s in plan.stages for o in s.body)]:
            if isinstance(o, Repeat):  # a name that is bound again has no one value
                for inner in o.body:
                    self.definitions.pop(inner.name, None)
        self.updates = {o.state: o.value for o in scan.body if isinstance(o, Update)}
        self.inlined: dict[str, Expr] = {}

    def fixpoint(self) -> dict[str, Interval]:
        """Grows the initial values until the step maps the box into itself.

        Where that does not end, a guess at its limit is tried. Where that fails too, the end that grows fastest is infinite, and
        the others start again.
        """
        infinite: set[tuple[str, bool]] = set()
        while True:
            boxes = {s: self._opened(self._initial(s), (s, False) in infinite, (s, True) in infinite) for s in self.scan.states}
            rounds = [boxes]
            for _ in range(_ROUNDS):
                rounds.append(self._grown(rounds[-1]))
                if rounds[-1] == rounds[-2]:
                    return rounds[-1]
            *_, before, old, boxes = rounds
            for margin in (0.0, 1e-6):
                guess = {s: _limit(before[s], old[s], boxes[s], margin) for s in boxes}
                if guess != boxes and self._stays(guess):
                    return guess
            ends = [(s, upper) for s in boxes for upper in (False, True) if (s, upper) not in infinite]
            infinite.add(max(ends, key=lambda e: _growth(old[e[0]], boxes[e[0]], e[1])))

    @staticmethod
    def _opened(box: Interval, below: bool, above: bool) -> Interval:
        return Interval(-math.inf if below else box.low, math.inf if above else box.high)

    def _grown(self, boxes: dict[str, Interval]) -> dict[str, Interval]:
        leaf = self._leaf_interval(boxes)
        values = _Intervals(leaf)
        return {s: boxes[s].hull(values.of(self._update(s))) for s in boxes}

    def _stays(self, boxes: dict[str, Interval]) -> bool:
        """Whether the step maps a box into itself, up to rounding."""
        return all(_close(grown, boxes[s]) for s, grown in self._grown(boxes).items())

    def _update(self, state: str) -> Expr:
        if state not in self.inlined:
            self.inlined[state] = self._inline(self.updates[state], {}, {})
        return self.inlined[state]

    def _initial(self, state: str) -> Interval:
        """Where a state starts; zero where nothing is known of that (a box is promised only if the start lies inside)."""
        v = self.plan.variable(state)
        if v.type.is_complex:
            return ALL
        start = self.interval(v.value, {}) if v.value is not None else point(0.0)
        return point(0.0) if start == ALL else start

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
                seen[expr.name] = whole if _transparent(whole) and _size(whole) < _LONG else expr
            return seen[expr.name]
        if isinstance(expr, Ref) and expr.role == "state" and expr.lag == 0 and expr.name in self.updates:
            value = self._update(expr.name)
            return value if _transparent(value) and _size(value) < _LONG else expr
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
                case "state" if ref.lag == 0 and ref.name in boxes:
                    return values.of(self._update(ref.name))
                case "state" if ref.name in boxes:
                    return boxes[ref.name]
                case "local" if ref.name in self.definitions:
                    return values.of(self._inline(self.definitions[ref.name], boxes, {}))
                case "noise":
                    v = self.plan.variable(ref.name)
                    return self._noise(v.draw, leaf) if v.draw else ALL
            return ALL

        values = _Intervals(leaf)
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
            return _evaluate(draw.args[0], leaf).hull(Interval(0.0, 1.0))  # 0 or 1 in training, its mean in evaluation
        if draw.name == "uniform":
            return _evaluate(draw.args[0], leaf).hull(_evaluate(draw.args[1], leaf))
        return ALL


def _size(expr: Expr) -> int:
    return sum(1 for _ in walk(expr))


def _transparent(expr: Expr) -> bool:
    """Whether replacing a name by this keeps what is known: arithmetic does, since its parts may cancel; a bounded function
    of something else is better kept whole, as one value that several places read."""
    return isinstance(expr, Ref | Number) or (isinstance(expr, Apply) and expr.op in ("+", "-", "*", "neg", "/"))


def _evaluate(expr: Expr, leaf: Callable[[Ref], Interval]) -> Interval:
    """Interval arithmetic, with values that are read twice held at their ends."""
    return _Intervals(leaf).of(expr)


class _Node:
    """Arithmetic over atoms (the parts that are not arithmetic), with what each atom does to it."""

    __slots__ = ("args", "degrees", "key", "op", "reads", "repeated")

    def __init__(self, op: str, args: tuple["_Node", ...], key: int):
        self.op, self.args, self.key = op, args, key
        if op == "atom":
            self.degrees, self.reads = {key: 1}, {key: 1}
        else:
            self.degrees, self.reads = {}, {}
            for a in args:
                for k, d in a.degrees.items():
                    known = self.degrees.get(k, 0)
                    self.degrees[k] = known + d if op == "*" else max(known, d)
                    self.reads[k] = self.reads.get(k, 0) + a.reads[k]
        # affine in each of these, and reading it more than once
        self.repeated = tuple(k for k, d in self.degrees.items() if d == 1 and self.reads[k] > 1)


class _Intervals:
    """Intervals of expressions, given those of names. Equal expressions have one key and are evaluated once."""

    def __init__(self, leaf: Callable[[Ref], Interval]):
        self.leaf = leaf
        self.keys: dict[tuple, int] = {}
        self.seen: dict[int, tuple[Expr, int]] = {}  # by id, the expression kept alive
        self.known: dict[int, Interval] = {}

    def key(self, expr: Expr) -> int:
        if id(expr) not in self.seen:
            match expr:
                case Number():
                    parts: tuple = ("number", repr(expr.value))
                case Ref():
                    parts = (expr.role, expr.name, expr.lag)
                case _:
                    parts = (expr.op, expr.static, *(self.key(a) for a in expr.args))
            self.seen[id(expr)] = expr, self.keys.setdefault(parts, len(self.keys))
        return self.seen[id(expr)][1]

    def of(self, expr: Expr) -> Interval:
        """An interval that holds every value of an expression."""
        key = self.key(expr)
        if key not in self.known:
            self.known[key] = self._compute(expr)
        return self.known[key]

    def _compute(self, expr: Expr) -> Interval:
        if isinstance(expr, Number):
            return ALL if isinstance(expr.value, complex) else point(expr.value)
        if isinstance(expr, Ref):
            return self.leaf(expr)
        if expr.type.is_complex or any(a.type.is_complex for a in expr.args):
            return _of_complex(expr.op)
        if expr.op in _ARITHMETIC:
            atoms: dict[int, Interval] = {}
            return self._at_ends(self._node(expr, atoms), atoms, frozenset(), _SPLITS)
        return _apply(expr, [self.of(a) for a in expr.args])

    def _node(self, expr: Expr, atoms: dict[int, Interval]) -> _Node:
        key = self.key(expr)
        if isinstance(expr, Apply) and expr.op in _ARITHMETIC and not expr.type.is_complex:
            return _Node(expr.op, tuple(self._node(a, atoms) for a in expr.args), key)
        if key not in atoms:
            atoms[key] = self.of(expr)
        if isinstance(expr, Number):
            return _Node("number", (), key)
        return _Node("atom", (), key)

    def _at_ends(self, node: _Node, atoms: dict[int, Interval], held: frozenset[int], splits: int) -> Interval:
        """A node's interval; an atom that it is affine in and reads more than once takes both of its ends in turn."""
        if not node.args:
            return atoms[node.key]
        for k in node.repeated if splits else ():
            if k not in held and atoms[k].finite:
                ends = {point(atoms[k].low), point(atoms[k].high)}
                low, *high = (self._at_ends(node, atoms | {k: end}, held | {k}, splits - 1) for end in ends)
                return low.hull(high[0]) if high else low
        args = [self._at_ends(a, atoms, held, splits) for a in node.args]
        match node.op:
            case "+":
                return _plus(*args)
            case "-":
                return _plus(args[0], Interval(-args[1].high, -args[1].low))
            case "neg":
                return Interval(-args[0].high, -args[0].low)
        return _square(args[0]) if node.args[0].key == node.args[1].key else _times(*args)


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
_ARITHMETIC = frozenset(("+", "-", "*", "neg"))
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


