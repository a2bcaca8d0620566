"""Takes out of a recurrence what does not depend on its states: computed for all steps at once, or once a call."""

from dataclasses import dataclass, field, replace

from rnndsl.checks.cell import Apply, Expr, Let, Number, Ref, Repeat, Update, walk
from rnndsl.checks.shapes.rules import elementwise
from rnndsl.diagnostics import Span
from rnndsl.functions import ENTRIES
from rnndsl.plan.dependence import STATIC, Dependence
from rnndsl.plan.ir import inner_names
from rnndsl.plan.single import own_name


@dataclass
class Hoister:
    """Rewrites the equations of component `place`, collecting what can be computed before it."""

    dependence: Dependence
    place: int
    taken: set[str]  # names in use
    constants: list[Let] = field(default_factory=list)
    streams: list[Let] = field(default_factory=list)
    known: dict[Expr, Ref] = field(default_factory=dict)

    def statement(self, s: Let | Update | Repeat) -> Let | Update | Repeat:
        """The statement with its hoisted parts replaced by names."""
        if isinstance(s, Repeat):
            bound = inner_names(s)
            return replace(
                s, body=tuple(replace(let, value=self.expr(let.value, let.name, bound, let.span)) for let in s.body)
            )
        name = s.name if isinstance(s, Let) else s.state
        return replace(s, value=self.expr(s.value, name, set(), s.span))

    def expr(self, expr: Expr, stem: str, bound: set[str], span: Span) -> Expr:
        """The expression with every maximal part that can be computed earlier replaced by a name."""
        if not isinstance(expr, Apply):
            return expr
        kept = of_params(expr) if self.dependence.level(expr) == STATIC else spreads(expr)
        if self._early(expr, bound) and not kept:
            return self._take(expr, stem, span)
        if expr.op in ("+", "-") and (regrouped := self._regroup(expr, stem, bound, span)) is not None:
            return regrouped
        return replace(expr, args=tuple(self._argument(expr, a, stem, bound, span) for a in expr.args))

    def _argument(self, expr: Apply, a: Expr, stem: str, bound: set[str], span: Span) -> Expr:
        """`diag(a)` as a factor stays where it is: it scales, and a matrix for every step would be waste."""
        if expr.op == "@" and isinstance(a, Apply) and a.op == "diag":
            return replace(a, args=(self.expr(a.args[0], stem, bound, span),))
        return self.expr(a, stem, bound, span)

    def _early(self, expr: Expr, bound: set[str]) -> bool:
        """Whether an expression depends on neither the component's states nor the round of a repeat."""
        return self.dependence.level(expr) < self.place and not (
            bound and any(isinstance(n, Ref) and n.name in bound for n in walk(expr))
        )

    def _take(self, expr: Apply, stem: str, span: Span) -> Expr:
        if expr in self.known:
            return self.known[expr]
        static = self.dependence.level(expr) == STATIC
        if (
            static
            and all(isinstance(n, Apply | Number) or n.role in ("size", "hyper") for n in walk(expr))
            and not expr.type.axes
        ):
            return expr  # arithmetic on plain numbers
        name = fresh(f"{own_name(stem)}.{'const' if static else 'in'}", self.taken)
        (self.constants if static else self.streams).append(Let(name, expr, span=span))
        self.dependence.levels[name] = self.dependence.level(expr)
        ref = Ref(name, "local", expr.type, span=expr.span)
        self.known[expr] = ref
        return ref

    def _regroup(self, expr: Apply, stem: str, bound: set[str], span: Span) -> Expr | None:
        """(W x + a h) + b as (W x + b) + a h, so that what can be computed early is one term; None if there is no gain."""
        terms = list(_terms(expr, 1))
        early = [(sign, e) for sign, e in terms if self._early(e, bound)]
        late = [(sign, e) for sign, e in terms if not self._early(e, bound)]
        if len(early) < 2 or not late:
            return None
        total = self.expr(_total(early, expr.span), stem, bound, span)
        for sign, e in late:
            total = _binary("+" if sign > 0 else "-", total, self.expr(e, stem, bound, span), expr.span)
        return total


def fresh(name: str, taken: set[str]) -> str:
    """A name that is not in use, from now on in use."""
    unique, n = name, 2
    while unique in taken:
        unique, n = f"{name}{n}", n + 1
    taken.add(unique)
    return unique


def spreads(expr: Expr) -> bool:
    """Whether it makes a matrix of vectors, of outer products and diagonals: what is given the vectors need not be given the matrix."""
    if not isinstance(expr, Apply) or expr.type.rank < 2:
        return False
    if expr.op == "@":
        return all(spreads(a) for a in expr.args)
    return expr.op in ("outer", "diag", "eye") or ((expr.op in ENTRIES or expr.op == "transpose") and any(spreads(a) for a in expr.args))


def scales(expr: Expr) -> bool:
    """Whether it is a product by a diagonal matrix, which is elementwise."""
    return isinstance(expr, Apply) and expr.op == "@" and expr.type.rank > 0 and any(isinstance(a, Apply) and a.op == "diag" for a in expr.args)


def of_params(expr: Expr) -> bool:
    """Whether it makes a matrix of params that are vectors, and of no matrix."""
    if not (spreads(expr) and any(isinstance(n, Ref) and n.role not in ("size", "hyper") for n in walk(expr))):
        return False
    return all(n.type.rank < 2 or (isinstance(n, Apply) and spreads(n)) for n in walk(expr))


def _terms(expr: Expr, sign: int):
    if isinstance(expr, Apply) and expr.op in ("+", "-"):
        yield from _terms(expr.args[0], sign)
        yield from _terms(expr.args[1], sign if expr.op == "+" else -sign)
    else:
        yield sign, expr


def _binary(op: str, left: Expr, right: Expr, span: Span) -> Apply:
    return Apply(op, (left, right), elementwise((left.type, right.type)), span=span)


def _total(terms: list[tuple[int, Expr]], span: Span) -> Expr:
    (sign, first), *rest = sorted(terms, key=lambda t: -t[0])  # one with a plus first, if there is one
    total = first if sign > 0 else Apply("neg", (first,), first.type, span=span)
    for sign, e in rest:
        total = _binary("+" if sign > 0 else "-", total, e, span)
    return total
