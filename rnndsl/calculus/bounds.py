"""Interval analysis: a box that each state never leaves once inside, where one can be proven, and a bound on |∂s'/∂s|.

The box is grown from the initial value until the step maps it into itself, in the interval arithmetic of `intervals`.
"""

import math
from dataclasses import dataclass

from rnndsl.calculus.intervals import ALL, Evaluation, Interval, TooMuch, Work, evaluate, is_short, point, transparent
from rnndsl.checks.cell import Apply, Expr, Let, Ref, Update
from rnndsl.checks.folding import fold
from rnndsl.plan.ir import Plan, Scan

_ROUNDS = 6


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


def bounds_of(scan: Scan, plan: Plan) -> dict[str, Bounds]:
    """A box for each state of a component; an infinite one where it takes too long to find."""
    analysis = BoxAnalysis(scan, plan)
    try:
        boxes = analysis.fixpoint()
    except TooMuch:
        return {s: Bounds(ALL) for s in scan.states}
    return {s: Bounds(b, tuple(sorted(analysis.hypers))) for s, b in boxes.items()}


class BoxAnalysis:
    """Intervals of everything that a component reads, and the iteration to a box that its step maps into itself."""

    def __init__(self, scan: Scan, plan: Plan):
        self.scan, self.plan = scan, plan
        self.defaults = {h.name: h.default for h in plan.cell.hypers}
        self.hypers: set[str] = set()
        self.definitions: dict[str, Expr] = {}
        for let in [*plan.constants, *(o for s in plan.stages for o in getattr(s, "body", ()))]:
            if isinstance(let, Let) and let.name not in self.definitions:
                self.definitions[let.name] = let.value
        self.updates = {o.state: o.value for o in scan.body if isinstance(o, Update)}
        self.inlined: dict[str, Expr] = {}
        self.seen: dict[str, Expr] = {}
        self.work = Work()

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
        values = Evaluation(leaf, self.work)
        return {s: boxes[s].hull(values.of(self._update(s))) for s in boxes}

    def _stays(self, boxes: dict[str, Interval]) -> bool:
        """Whether the step maps a box into itself, up to rounding."""
        return all(_close(grown, boxes[s]) for s, grown in self._grown(boxes).items())

    def _update(self, state: str) -> Expr:
        if state not in self.inlined:
            self.inlined[state] = self.inline(self.updates[state])
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
        return evaluate(self.inline(expr), self._leaf_interval(boxes), self.work)

    def inline(self, expr: Expr) -> Expr:
        """The expression with locals replaced, up to those that are bounded by themselves."""
        if isinstance(expr, Ref) and expr.role == "local" and expr.name in self.definitions:
            if expr.name not in self.seen:
                whole = self.inline(self.definitions[expr.name])
                self.seen[expr.name] = whole if transparent(whole) and is_short(whole) else expr
            return self.seen[expr.name]
        if isinstance(expr, Ref) and expr.role == "state" and expr.lag == 0 and expr.name in self.updates:
            value = self._update(expr.name)
            return value if transparent(value) and is_short(value) else expr
        if isinstance(expr, Apply):
            return Apply(expr.op, tuple(self.inline(a) for a in expr.args), expr.type, expr.static)
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
                    return values.of(self.inline(self.definitions[ref.name]))
                case "noise":
                    v = self.plan.variable(ref.name)
                    return self._noise(v.draw, leaf) if v.draw else ALL
            return ALL

        values = Evaluation(leaf, self.work)
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
            return evaluate(draw.args[0], leaf).hull(Interval(0.0, 1.0))  # 0 or 1 in training, its mean in evaluation
        if draw.name == "uniform":
            return evaluate(draw.args[0], leaf).hull(evaluate(draw.args[1], leaf))
        return ALL
