"""Affine matrix states in normal form: what a chunk of steps is solved by, found from the equations of a step.

With the columns of a matrix state S apart from one another (rows, where its equations multiply from the right: then S stands for its transpose),

    S[t] = diag(a) S[t-1] + Σ u (q + wᵀ S[t-1])ᵀ

which is (diag(a) + Σ u wᵀ) S[t-1] + Σ u qᵀ. Several states of one shape are one state with more rows; a is then a matrix a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.bounds import BoxAnalysis
from rnndsl.calculus.family import AFFINE
from rnndsl.calculus.intervals import Interval, TooMuch
from rnndsl.calculus.structure import RIGHT
from rnndsl.checks.cell import SCALAR, Apply, Expr, Number, Repeat, walk
from rnndsl.kernel.changes import Change, changes
from rnndsl.kernel.graph import Map
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.linear_values import Linear, LinearValues, Rows, State
from rnndsl.kernel.lowering import Lowering, lowered
from rnndsl.kernel.outer import Product, Separation
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array
from rnndsl.plan.ir import Plan, expressions_of
from rnndsl.plan.recurrence import Recurrence

_TERMS = 16  # outer products that a step may add

Vectors = tuple[int | None, ...]  # nodes, one a state; None is zero


@dataclass(frozen=True)
class Term:
    """u (q + wᵀ S)ᵀ: `left` is u and `reads` is w, along the rows of each state, `right` is q, along columns."""

    left: Vectors
    right: int | None
    reads: Vectors


@dataclass(frozen=True)
class Read:
    """What follows reads of the states: old ones by `old`, new ones by `new`."""

    old: Vectors
    new: Vectors


@dataclass(frozen=True)
class ChunkForm:
    """The normal form, as nodes of `step`, whose last streams are what each of `reads` gives, [heads, columns].

    axis: along which axis of the states their rows run; decay: of each new and old state, [heads, rows] or, where rows is false, [heads]; outputs:
    what follows, of streams; whole: whether the states are asked for; bounded: whether the equations say that decays are in [-1, 1]. Where a step is
    several such changes of its states, behind one another, this is the last of them, behind `earlier`; those that are rounds have a `repeat`.
    """

    step: Step
    axis: int
    decay: tuple[Vectors, ...]
    rows: bool
    terms: tuple[Term, ...]
    reads: tuple[Read, ...]
    outputs: tuple[tuple[Array, int], ...]
    whole: bool
    bounded: bool
    recurrence: Recurrence
    earlier: tuple["ChunkForm", ...] = ()
    repeat: Repeat | None = None


def chunk_form(plan: Plan, recurrence: Recurrence, component: Component) -> ChunkForm:
    """The normal form of a recurrence. Raises Unsupported, with the reason."""
    types = [plan.variable(s).type for s in recurrence.scan.states]
    if any(t.rank != 2 for t in types):
        raise Unsupported("not all of its states are matrices")
    if any(t.is_complex for t in types):
        raise Unsupported("its states are complex")
    if component.family != AFFINE:
        raise Unsupported("its equations are not affine in its states")
    if len({(t.heads, t.axes) for t in types}) > 1:
        raise Unsupported("its states have different shapes")
    if any(lag > 1 for _, lag in recurrence.scan.carried):
        raise Unsupported("it reads states of more than a step ago")
    alone = replace(recurrence, exit=None)  # what follows is then computed of the states
    reasons = []
    for whole, axis in product([recurrence, alone] if recurrence.exit else [alone], (0, 1)):
        try:
            return _of_changes(plan, changes(plan, whole), axis)
        except Unsupported as e:
            reasons.append(str(e))
    raise Unsupported(reasons[-1 if component.structure.kind == RIGHT else -2])


def _of_changes(plan: Plan, made: Sequence[Change], axis: int) -> ChunkForm:
    """The form of the changes of a step, all of them with decays along rows where one has them."""
    forms = [_form(plan, c, axis, c is made[-1]) for c in made]
    if len({f.rows for f in forms}) > 1:
        forms = [_form(plan, c, axis, c is made[-1], rows=True) for c in made]
    bounded = all(f.bounded for f in forms)
    return replace(forms[-1], earlier=tuple(forms[:-1]), bounded=bounded)


def _form(plan: Plan, change: Change, axis: int, last: bool, rows: bool = False) -> ChunkForm:
    recurrence = change.recurrence
    lowering, step = lowered(plan, recurrence, unroll=True)
    b, states = step.builder, len(step.carries)
    shape = step.carries[0][0].shape
    heads = tuple(range(len(shape) - 2))
    row = len(heads) + axis
    separation = Separation(b, heads, row, len(shape) - 1 - axis, shape)
    values = LinearValues(step, separation)
    updates = [values.linear(n) for n in step.updates]
    decays: list[list[int | None]] = [[_decay(separation, new.states.get(State("old", j))) for j in range(states)] for new in updates]
    rows = rows or any(d is not None and len(b[d].shape) > len(heads) for r in decays for d in r)
    if rows:
        decays = [[d if d is None else separation.along_rows(d) for d in r] for r in decays]
    terms = _terms(separation, updates, values.rows)
    after = LinearValues(step, separation, {n: i for i, n in enumerate(step.updates)})
    outputs = tuple((array, after.value(n)) for array, n in step.outputs if last)
    column = shape[len(shape) - 1 - axis]
    olds, news = ([State(kind, i) for i in range(states)] for kind in ("old", "new"))
    reads = tuple(Read(tuple(map(r.get, olds)), tuple(map(r.get, news))) for r in after.rows)
    given = tuple(Array(f"read{i + 1}", "", (*shape[:-2], column)) for i in range(len(reads)))
    bounded = states == 1 and _Bounds(plan, lowering, step).holds(decays[0][0], change.repeat)
    whole = recurrence.exit is None or recurrence.exit.whole
    return ChunkForm(
        replace(step, streams=(*step.streams, *given)), axis, tuple(map(tuple, decays)), rows, terms, reads, outputs, whole, bounded, recurrence, (), change.repeat
    )  # fmt: skip


def _decay(separation: Separation, found: tuple[int, Map] | None) -> int | None:
    """What an old state is multiplied by, along rows or for all of them."""
    if found is None:
        return None
    coefficient, m = found
    if m != tuple(range(len(m))):
        raise Unsupported("a state is transposed")
    node = separation.in_heads(coefficient)
    if node is None:
        node = separation.left(coefficient)
    if node is None:
        raise Unsupported("columns of a state decay apart from one another, as well as rows")
    return node


Products = list[Product | None]  # one a state; None is zero


def _terms(separation: Separation, updates: list[Linear], rows: list[Rows]) -> tuple[Term, ...]:
    """The outer products of a step: those that read old states, with what is added along the same rows; then those that do not."""
    added = _added(separation, updates)
    terms = []
    for k, reads in enumerate(rows):
        lefts = [separation.of_row(new.rows.get(k)) for new in updates]
        numbers = {p.number for p in lefts if p}
        if not numbers:
            continue
        common = numbers.pop() if len(numbers) == 1 else 1.0  # a number that all have goes to what is read
        lefts = [p and p.times(1 / common) for p in lefts]
        right: int | None = None
        for same in [a for a in added if _ratio(a[0], lefts) is not None]:
            added.remove(same)
            more = separation.right_vector(same[1].times(_ratio(same[0], lefts) or 0.0))
            right = more if right is None else separation.builder.pointwise("+", right, more)
        read = tuple(None if (w := reads.get(State("old", j))) is None else separation.scaled(w, common) for j in range(len(updates)))
        terms.append(Term(_vectors(separation, lefts), right, read))
    terms += [Term(_vectors(separation, lefts), separation.right_vector(right), (None,) * len(updates)) for lefts, right in added]
    if len(terms) > _TERMS:
        raise Unsupported(f"a step adds {len(terms)} outer products, at most {_TERMS}")
    return tuple(terms)


def _vectors(separation: Separation, products: Products) -> Vectors:
    return tuple(None if p is None else separation.left_vector(p) for p in products)


def _added(separation: Separation, updates: list[Linear]) -> list[tuple[Products, Product]]:
    """What is added to the states without being read of them: what stands along rows, and along columns."""
    found: list[tuple[Products, Product]] = []
    for i, new in enumerate(updates):
        for left, right in separation.outer_products(new.constant):
            same = next((lefts for lefts, r in found if r.key == right.key and lefts[i] is None), None)
            if same is None:
                same = [None] * len(updates)
                found.append((same, right))
            same[i] = left
    return found


def _ratio(added: Products, products: Products) -> float | None:
    """What the products are to be multiplied by to be those that are added; None where there is no such number."""
    ratios = set()
    for a, p in zip(added, products, strict=True):
        if (a is None) != (p is None):
            return None
        if a is not None and p is not None:
            if a.key != p.key or p.number == 0:
                return None
            ratios.add(a.number / p.number)
    return ratios.pop() if len(ratios) == 1 else None


_ARITHMETIC = frozenset(("+", "-", "*", "neg", "/"))


@dataclass
class _Bounds:
    """What the intervals of the calculus say of nodes that are values of the program."""

    plan: Plan
    lowering: Lowering
    step: Step
    known: dict[int, Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        r = self.lowering.recurrence
        for operation in r.operations:
            for expr in (e for whole in expressions_of(operation) for e in walk(whole)):
                for value in self.lowering.made.get(id(expr), []):
                    if len(value.parts) == 1:
                        self.known.setdefault(value.parts[0], expr)
        for ref in (*r.streams, *r.statics):
            kind = "stream" if ref in r.streams else "static"
            place = self.lowering.places[(kind, ref.name, ref.role, ref.lag if kind == "stream" else 0)]
            for n, node in enumerate(self.step.builder.nodes):
                if node.op == kind and node.leaf.index == place and node.leaf.select is None:
                    self.known[n] = ref

    def holds(self, n: int | None, repeat: Repeat | None = None) -> bool:
        """Whether a value is in [-1, 1]; of one that a round makes that is known of numbers alone."""
        if n is not None and repeat is not None:
            return self.expression(n) == Number(1.0)
        expr = None if n is None else self.expression(n)
        if expr is None:
            return n is None
        try:
            return Interval(-1.0, 1.0).holds(BoxAnalysis(self.lowering.recurrence.scan, self.plan).interval(expr, {}))
        except TooMuch:
            return False

    def expression(self, n: int) -> Expr | None:
        """An expression with the values of a node."""
        if n in self.known:
            return self.known[n]
        node = self.step.builder[n]
        if node.op == "number":
            return Number(node.of(float))
        if node.op == "copy":
            return self.expression(node.args[0])
        if node.op not in _ARITHMETIC:
            return None
        args = [self.expression(a) for a in node.args]
        return None if None in args else Apply(node.op, tuple(args), SCALAR)  # type: ignore[arg-type]
